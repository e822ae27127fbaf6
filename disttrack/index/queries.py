"""What is read from the tables: runs, what is known of their sources, and their sealed rows."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote

from disttrack.index.blocks import MIXED, Block, Places, columns_together, unmix
from disttrack.index.chunks import Bundle, Column, decode_column, decode_ints
from disttrack.index.facts import RunFacts, SourceFacts, unsqueeze
from disttrack.index.sqlite import is_damaged
from disttrack.records.codec import decode
from disttrack.records.types import RowSchema

__all__ = [
    "Damaged",
    "RunRecord",
    "Vanished",
    "answering",
    "damage_of",
    "not_filed",
    "numbered",
    "records",
    "schemas",
    "sealed_blocks",
]


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
        RunRecord(run, project, directory, decode(facts, RunFacts), tuple(sources.get(run, ())))
        for run, project, directory, facts in runs
    ]


def numbered(connection: sqlite3.Connection, runs: Collection[int]) -> list[RunRecord]:
    """Return the runs with these numbers: those of them that are there."""
    return records(connection, f"run.id IN ({','.join(map(str, runs))})") if runs else []


def not_filed(connection: sqlite3.Connection) -> list[int]:
    """Return the numbers of the runs that lists look at one by one."""
    return [run for (run,) in connection.execute("SELECT id FROM run WHERE is_filed = 0")]


def answering(connection: sqlite3.Connection, name: str) -> dict[int, bool]:
    """Return the numbers of the runs that answer to an id, and whether it is but an alias of theirs."""
    rows = connection.execute("SELECT run, alias FROM answer WHERE name = ?", (name,))
    return {run: bool(alias) for run, alias in rows}


def schemas(connection: sqlite3.Connection, run: int) -> list[RowSchema]:
    """Return the schemas of a run by their numbers."""
    rows = connection.execute("SELECT keys, kinds FROM schema WHERE run = ? ORDER BY sid", (run,)).fetchall()
    numbers: list[list[int]] = [decode(keys, list) for keys, _ in rows]
    find = "SELECT name FROM key WHERE id = ?"
    names: dict[int, str] = {
        number: connection.execute(find, (number,)).fetchone()[0]
        for number in {key for keys in numbers for key in keys}
    }
    return [(tuple(names[number] for number in keys), kinds) for keys, (_, kinds) in zip(numbers, rows, strict=True)]


@dataclasses.dataclass(frozen=True)
class StoredBlock:
    """A block in the index: each of its columns is fetched when asked for, with the index's lock held."""

    connection: sqlite3.Connection
    lock: threading.RLock
    run: int
    ax: int
    keys: tuple[str, ...]
    kinds: str
    n: int
    damaged: threading.Event
    latest: dict[tuple[int, int], Bundle]  # of all blocks of a snapshot the bundle decoded last: keys are asked in turn

    def places(self) -> Places:
        """Return where the rows belong; raise Vanished where the run is gone."""
        row = self._fetch("SELECT src, step, at, time FROM axis WHERE run = ? AND ax = ?", self.run, self.ax)
        return Places(*(decode_ints(blob, self.n) for blob in row))

    def column(self, key: str) -> Column:
        """Return the values of one of the keys; raise Vanished where the run is gone."""
        index, together = self.keys.index(key), columns_together(self.n)
        part = index // together
        kinds = self.kinds[part * together : (part + 1) * together]
        bundle = self.latest.get((self.ax, part))
        if bundle is None:
            (data,) = self._fetch(
                "SELECT data FROM chunk WHERE run = ? AND ax = ? AND part = ?", self.run, self.ax, part
            )
            if together == 1:
                return decode_column(kinds, data, self.n)
            bundle = Bundle(kinds, data, self.n)
            self.latest.clear()
            self.latest[self.ax, part] = bundle
        return bundle.column(index % together)

    def _fetch(self, query: str, *values: object) -> tuple[bytes, ...]:
        with self.lock:
            try:
                row: tuple[bytes, ...] | None = self.connection.execute(query, values).fetchone()
            except sqlite3.ProgrammingError:  # closed: the index was deleted and opened anew
                row = None
            except sqlite3.DatabaseError as error:
                if not is_damaged(error):
                    raise
                self.damaged.set()  # the next catch_up builds another
                row = None
        if row is None:
            raise Vanished
        return row


def sealed_blocks(
    connection: sqlite3.Connection, lock: threading.RLock, run: int, damaged: threading.Event
) -> list[Block]:
    """Return the sealed rows of a run. damaged is set where the index proves to be."""
    known = schemas(connection, run)
    query = "SELECT ax, sid, n FROM axis WHERE run = ? ORDER BY ax"
    rows: list[tuple[int, int, int]] = connection.execute(query, (run,)).fetchall()
    found: list[Block] = []
    latest: dict[tuple[int, int], Bundle] = {}
    for ax, sid, n in rows:
        keys, kinds = known[sid]
        block = StoredBlock(connection, lock, run, ax, keys, kinds, n, damaged, latest)
        found += unmix(block) if (keys, kinds) == MIXED else [block]
    return found
