"""What is read from the tables: runs, what is known of their sources, and their sealed rows."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import zlib
from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from disttrack.index.blocks import Block, StoredPlaces, columns_together, unmixed
from disttrack.index.checksums import IndexDamaged, verified
from disttrack.index.chunks import Bundle, Column, decode_column
from disttrack.index.facts import RunFacts, SourceFacts, pack, unsqueeze
from disttrack.index.sqlite import is_damaged
from disttrack.records.codec import decode
from disttrack.records.types import RowSchema

__all__ = [
    "Damaged",
    "RunRecord",
    "StoredBlock",
    "Vanished",
    "answering",
    "damage_of",
    "not_filed",
    "numbered",
    "records",
    "schema_sum",
    "schemas",
    "schemas_of",
    "sealed_blocks",
    "versions",
]


_AXES = ("src", "step", "at", "time")


class Vanished(Exception):
    """The run was removed or replaced while it was being read."""


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """All that the index knows of a run but its rows."""

    number: int
    project_directory: str
    directory: str
    facts: RunFacts
    sources: tuple[SourceFacts, ...]

    @property
    def project(self) -> str:
        """The project's name."""
        return _names_of(self.facts, self.project_directory, self.directory)[0]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return _names_of(self.facts, self.project_directory, self.directory)[1]

    @property
    def path(self) -> str:
        """The run's name among all runs of a root: project/id."""
        return "/".join(_names_of(self.facts, self.project_directory, self.directory))


def _names_of(facts: RunFacts, project_directory: str, directory: str) -> tuple[str, str]:
    """Return the true names of a project and a run; from their directories' where no header can be read."""
    if facts.header is not None:
        return facts.header.project, facts.header.run_id
    return unquote(project_directory), unquote(directory)


class Damaged(NamedTuple):
    """Bytes of a run that could not be read."""

    path: str  # of the segment, from the run's directory on; of a source: "journal of rank N (HOST)"
    start: int
    end: int
    why: str


def damage_of(record: RunRecord) -> tuple[int, list[Damaged]]:
    """Return how many damaged places the index met in a run, and which they are: those it remembers.

    Bytes of a journal of which another copy turned out well are left out of the places.
    """
    count = record.facts.damage + sum(source.damage for source in record.sources)
    places = [
        Damaged(f"log/{place.segment:06d}.dtl", place.start, place.end, place.why) for place in record.facts.damaged
    ]
    for source in record.sources:
        host = f" ({source.join.host})" if source.join is not None else ""
        rank = source.join.rank.rank if source.join is not None else source.rank_hint
        for place in source.damaged:
            whole = not source.cover.missing(place.start, place.end)
            if not (whole and place.why.startswith("no record")):
                places.append(Damaged(f"journal of rank {rank}{host}", place.start, place.end, place.why))
    return count, places


def records(connection: sqlite3.Connection, where: str = "1 = 1", *values: object) -> list[RunRecord]:
    """Return the runs for which a condition over the tables run and project holds."""
    runs = connection.execute(
        "SELECT run.id, project.directory, run.directory, run.facts"
        f" FROM run JOIN project ON project.id = run.project WHERE {where} ORDER BY run.id",
        values,
    ).fetchall()
    sources: dict[int, list[SourceFacts]] = {}
    for run, facts in connection.execute(
        "SELECT source.run, source.facts FROM source JOIN run ON run.id = source.run"
        f" JOIN project ON project.id = run.project WHERE {where} ORDER BY source.run, source.src",
        values,
    ):
        sources.setdefault(run, []).append(unsqueeze(facts))
    return [
        RunRecord(run, project, directory, decode(verified(facts), RunFacts), tuple(sources.get(run, ())))
        for run, project, directory, facts in runs
    ]


def numbered(connection: sqlite3.Connection, runs: Collection[int]) -> list[RunRecord]:
    """Return the runs with these numbers: those of them that are there."""
    return records(connection, f"run.id IN ({','.join(map(str, runs))})") if runs else []


def versions(connection: sqlite3.Connection, runs: Collection[int] | None = None) -> dict[int, int]:
    """Return by the number of each run (runs: of these) what changes whenever something is applied of its log.

    It is another one for another run, too: an index that is built anew gives other numbers.
    """
    where = "" if runs is None else f" WHERE id IN ({','.join(map(str, runs))})"
    found = connection.execute(
        "SELECT id, directory, inode, generation, log_ns, is_filed,"
        f" CASE WHEN is_filed THEN length(facts) ELSE facts END FROM run{where}"
    )
    return {row[0]: hash(row[1:]) for row in found}


def not_filed(connection: sqlite3.Connection) -> list[int]:
    """Return the numbers of the runs that lists look at one by one."""
    return [run for (run,) in connection.execute("SELECT id FROM run WHERE is_filed = 0")]


def answering(connection: sqlite3.Connection, name: str) -> dict[int, bool]:
    """Return the numbers of the runs that answer to an id, and whether it is but an alias of theirs."""
    rows = connection.execute("SELECT run, alias FROM answer WHERE name = ?", (name,))
    return {run: bool(alias) for run, alias in rows}


def schemas(connection: sqlite3.Connection, run: int) -> list[RowSchema]:
    """Return the schemas of a run by their numbers."""
    return schemas_of(connection, [run])[run]


def schemas_of(connection: sqlite3.Connection, runs: Sequence[int]) -> dict[int, list[RowSchema]]:
    """Return the schemas of each of these runs by their numbers; raise IndexDamaged."""
    query = f"SELECT run, sid, keys, kinds FROM schema WHERE run IN ({','.join(map(str, runs))}) ORDER BY run, sid"
    found: dict[int, list[RowSchema]] = {run: [] for run in runs}
    names: dict[int, str] = {}
    made: dict[tuple[bytes, str], RowSchema] = {}  # runs of one script have the same ones
    for run, sid, keys, kinds in connection.execute(query).fetchall():
        blob = bytes(verified(keys, run, sid))
        schema = made.get((blob, kinds))
        if schema is None:
            numbers, known = decode(blob, tuple[list[int], int])
            for number in set(numbers) - names.keys():
                found_name = connection.execute("SELECT name FROM key WHERE id = ?", (number,)).fetchone()
                (names[number],) = found_name or ("",)
            schema = (tuple(names[number] for number in numbers), kinds)
            if schema_sum(schema) != known:
                raise IndexDamaged(f"the keys of run {run}")
            made[blob, kinds] = schema
        found[run].append(schema)
    return found


def schema_sum(schema: RowSchema) -> int:
    """Return a checksum of a schema's keys and kinds."""
    return zlib.crc32(pack(list(schema)))


@dataclasses.dataclass(frozen=True)
class StoredBlock:
    """A block in the index: each of its columns is fetched when asked for, with the index's lock held."""

    connection: sqlite3.Connection
    lock: threading.RLock
    run: int
    ax: int
    sid: int
    keys: tuple[str, ...]
    kinds: str
    n: int
    damaged: threading.Event
    latest: dict[
        tuple[int, int, int], Bundle
    ]  # of all blocks of a snapshot the bundle decoded last: keys are asked in turn

    def places(self) -> StoredPlaces:
        """Return where the rows belong; to ask for any of it raises Vanished where the run is gone."""
        return StoredPlaces(self._axis, self.n)

    def _axis(self, number: int) -> memoryview:
        query = f"SELECT {_AXES[number]} FROM axis WHERE run = ? AND ax = ?"
        return self._fetch(query, (self.run, self.ax), (self.run, self.ax, self.sid, self.n, number))

    def column(self, key: str) -> Column:
        """Return the values of one of the keys; raise Vanished where the run is gone."""
        index, together = self.keys.index(key), columns_together(self.n)
        part = index // together
        kinds = self.kinds[part * together : (part + 1) * together]
        bundle = self.latest.get((self.run, self.ax, part))
        if bundle is None:
            data = self._part(part)
            if together == 1:
                return decode_column(kinds, data, self.n)
            bundle = Bundle(kinds, data, self.n)
            self.latest.clear()
            self.latest[self.run, self.ax, part] = bundle
        return bundle.column(index % together)

    def check(self) -> None:
        """Read all of it once; raise Vanished where the run is gone, or the index damaged."""
        for number in range(len(_AXES)):
            self._axis(number)
        for part in range(-(-len(self.keys) // columns_together(self.n))):
            self._part(part)

    def _part(self, part: int) -> memoryview:
        query = "SELECT data FROM chunk WHERE run = ? AND ax = ? AND part = ?"
        key = self.run, self.ax, part
        return self._fetch(query, key, (*key, 0))

    def _fetch(self, query: str, key: tuple[int, ...], place: tuple[int, ...]) -> memoryview:
        """Return the blob that a query finds by a key, as it was signed with its place."""
        with self.lock:
            try:
                row: tuple[bytes] | None = self.connection.execute(query, key).fetchone()
                if row is not None:
                    return verified(row[0], *place)
                if self.connection.execute("SELECT 1 FROM run WHERE id = ?", (self.run,)).fetchone():
                    self.damaged.set()  # what is sealed goes with its run only
            except sqlite3.ProgrammingError:  # closed: the index was deleted and opened anew
                pass
            except (sqlite3.DatabaseError, UnicodeDecodeError, IndexDamaged) as error:
                if not is_damaged(error):
                    raise
                self.damaged.set()  # the next catch_up builds another
        raise Vanished


def sealed_blocks(
    connection: sqlite3.Connection, lock: threading.RLock, runs: Sequence[RunRecord], damaged: threading.Event
) -> dict[int, list[Block]]:
    """Return the sealed rows of runs by their numbers; raise IndexDamaged.

    damaged: set where that shows only later, when a block is read.
    """
    numbers = [run.number for run in runs]
    known = schemas_of(connection, numbers)
    query = f"SELECT run, ax, sid, n FROM axis WHERE run IN ({','.join(map(str, numbers))}) ORDER BY run, ax"
    rows: dict[int, list[tuple[int, int, int]]] = {number: [] for number in numbers}
    for number, ax, sid, n in connection.execute(query).fetchall():
        rows[number].append((ax, sid, n))
    found: dict[int, list[Block]] = {number: [] for number in numbers}
    latest: dict[tuple[int, int, int], Bundle] = {}
    for run in runs:
        schemas, axes = known[run.number], rows[run.number]
        if len(axes) != run.facts.blocks or any(not 0 <= sid < len(schemas) or n < 1 for _, sid, n in axes):
            raise IndexDamaged(f"the blocks of run {run.number}")
        for ax, sid, n in axes:
            keys, kinds = schemas[sid]
            block = StoredBlock(connection, lock, run.number, ax, sid, keys, kinds, n, damaged, latest)
            found[run.number] += unmixed(block)
    return found
