"""Where every run stands, and the writing of what was read of it: all SQL that changes the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from disttrack.index.blocks import MemoryBlock
from disttrack.index.checksums import signed, verified
from disttrack.index.chunks import encode_ints
from disttrack.index.decoder import RunDecoder
from disttrack.index.facets import BLOCK_RUNS, Facets, file_block
from disttrack.index.facts import Cursor, RunFacts, pack, squeeze, unsqueeze
from disttrack.index.printed import Printed, pieces, signed_piece
from disttrack.index.queries import RunRecord, schema_sum, schemas
from disttrack.index.schema import RUN_TABLES
from disttrack.index.sqlite import writing
from disttrack.index.survey import NEVER, ProjectTimes
from disttrack.records.codec import decode

__all__ = ["Describe", "RunRow", "Store", "is_same", "look_at_all"]

Describe = Callable[[RunRecord], Facets | None]
"""Returns what lists ask of a run that is over: None where they must look at it, nothing where they do not show it."""


def look_at_all(_: RunRecord) -> Facets | None:
    """Describe no run: lists look at each."""
    return None


class RunRow(NamedTuple):
    """Where a run stands in the index."""

    number: int
    inode: int
    generation: int
    log_ns: int
    is_over: bool
    facts: bytes


def is_same(record: RunRecord, row: RunRow) -> bool:
    """Say whether all that is known of a run is what is stored of it: how far its log was read is part of that."""
    return signed(pack(record.facts)) == row.facts


_NOTHING = signed(pack(RunFacts()))


class Store:
    """The tables, through one connection that is used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, describe: Describe) -> None:
        self.connection = connection
        self._describe = describe
        self._keys: dict[str, int] = {}
        # Until the transaction ends:
        self._to_file: dict[int, dict[int, Facets | None]] = {}  # by block and run
        self._runs: int | None = None  # how many were ever given a number, where one was given one now

    @contextmanager
    def transaction(self, wait_s: float) -> Generator[None]:
        """Be the one who writes, or raise Busy after wait_s; what is stored in here is kept whole or not at all."""
        with writing(self.connection, wait_s):
            yield
            for block, runs in self._to_file.items():
                file_block(self.connection, block, runs, self._key)
            if self._runs is not None:
                self.connection.execute("UPDATE counter SET runs = ?", (self._runs,))
            self._to_file.clear()
            self._runs = None

    def forget(self) -> None:
        """Forget what a transaction that was undone may have taught."""
        self._keys.clear()
        self._to_file.clear()
        self._runs = None

    # Projects

    def projects(self) -> dict[str, tuple[int, ProjectTimes]]:
        """Return every known project's directory with its number and times."""
        rows = self.connection.execute("SELECT directory, id, listed_ns, live_ns, deleted_ns, edits FROM project")
        return {directory: (number, ProjectTimes(*times)) for directory, number, *times in rows}

    def project(self, directory: str) -> int:
        """Return a project's number, given now if it has none."""
        self.connection.execute(
            "INSERT INTO project (directory, listed_ns, live_ns, deleted_ns, edits) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (directory) DO NOTHING",
            (directory, *NEVER),
        )
        return int(self.connection.execute("SELECT id FROM project WHERE directory = ?", (directory,)).fetchone()[0])

    def remember(self, directory: str, times: ProjectTimes) -> None:
        """Remember when a project changed last: everything that was seen in it has been applied."""
        self.connection.execute(
            "UPDATE project SET listed_ns = ?, live_ns = ?, deleted_ns = ?, edits = ? WHERE id = ?",
            (*times, self.project(directory)),
        )

    def drop_project(self, number: int) -> None:
        """Drop a project and all its runs."""
        for (run,) in self.connection.execute("SELECT id FROM run WHERE project = ?", (number,)).fetchall():
            self.drop(run)
        self.connection.execute("DELETE FROM project WHERE id = ?", (number,))

    # Runs

    def rows(self, project: int, *, only_live: bool = False) -> dict[str, RunRow]:
        """Return where the runs of a project stand, by their directories; only_live: those that are not over."""
        rows = self.connection.execute(
            "SELECT directory, id, inode, generation, log_ns, is_over, facts FROM run WHERE project = ?"
            + (" AND is_filed = 0 AND is_over = 0" if only_live else ""),
            (project,),
        )
        return {directory: RunRow(*row) for directory, *row in rows}

    def row(self, project: int, directory: str) -> RunRow | None:
        """Return where a run stands."""
        row = self.connection.execute(
            "SELECT id, inode, generation, log_ns, is_over, facts FROM run WHERE project = ? AND directory = ?",
            (project, directory),
        ).fetchone()
        return RunRow(*row) if row is not None else None

    def numbered(self, runs: Sequence[int]) -> dict[int, RunRow]:
        """Return where runs stand, by their numbers: those of them that are there."""
        found = self.connection.execute(
            f"SELECT id, inode, generation, log_ns, is_over, facts FROM run WHERE id IN ({','.join(map(str, runs))})"
        )
        return {row[0]: RunRow(*row) for row in found}

    def create(self, project: int, directory: str, inode: int) -> RunRow:
        """Make a run of which nothing is known."""
        if self._runs is None:
            self._runs = int(self.connection.execute("SELECT runs FROM counter").fetchone()[0])
        self._runs += 1
        self.connection.execute(
            "INSERT INTO run (id, project, directory, inode, log_ns, is_over, is_filed, generation, facts)"
            " VALUES (?, ?, ?, ?, -1, 0, 0, 0, ?)",
            (self._runs, project, directory, inode, _NOTHING),
        )
        return RunRow(self._runs, inode, 0, -1, False, _NOTHING)

    def drop(self, run: int) -> None:
        """Drop all that is known of a run."""
        self._note(run, None)
        for table in RUN_TABLES:
            self.connection.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
        self.connection.execute("DELETE FROM run WHERE id = ?", (run,))

    def load(self, row: RunRow) -> RunDecoder:
        """Return a decoder that goes on from what is sealed."""
        if row.generation == 0:
            return RunDecoder()
        facts, sealed = self.connection.execute("SELECT facts, sealed FROM run WHERE id = ?", (row.number,)).fetchone()
        sources = self.connection.execute(
            "SELECT facts, sealed, cursor FROM source WHERE run = ? AND cursor IS NOT NULL ORDER BY src", (row.number,)
        )
        return RunDecoder(
            decode(verified(sealed or facts), RunFacts),
            [(unsqueeze(sealed or facts), decode(verified(cursor), Cursor)) for facts, sealed, cursor in sources],
            schemas(self.connection, row.number),
        )

    def save(self, run: int, decoder: RunDecoder, place: tuple[str, str], log_ns: int) -> None:
        """Store what is known up to where the decoder has read; its rows stay in the tail. Arguments as for seal."""
        names, is_filed = self._described(run, decoder, place)
        self.connection.execute(
            "UPDATE run SET sealed = COALESCE(sealed, facts), facts = ?, is_over = ?, is_filed = ?, log_ns = ?"
            " WHERE id = ?",
            (signed(pack(decoder.facts)), _is_over(decoder), is_filed, log_ns, run),
        )
        self.connection.executemany(
            "INSERT INTO source (run, src, facts) VALUES (?, ?, ?) ON CONFLICT (run, src) DO UPDATE SET"
            " sealed = CASE WHEN cursor IS NULL THEN NULL ELSE COALESCE(sealed, source.facts) END,"
            " facts = excluded.facts",
            [(run, src, squeeze(decoder.streams[src].facts)) for src in decoder.touched],
        )
        self._answers(run, decoder, names)

    def seal(self, run: int, decoder: RunDecoder, place: tuple[str, str], log_ns: int = -1) -> None:
        """Store what the decoder has read, rows and all, and drain it.

        place: the project's and the run's directory.
        log_ns: when the log had changed, where every segment there was then was read to its end.
        """
        names, is_filed = self._described(run, decoder, place)
        self._schemas(run, decoder)
        self._answers(run, decoder, names)
        self.connection.executemany(
            "INSERT INTO source (run, src, facts, cursor) VALUES (?, ?, ?, ?) ON CONFLICT (run, src) DO UPDATE SET"
            " facts = excluded.facts, sealed = NULL, cursor = excluded.cursor",
            [
                (run, src, squeeze(decoder.streams[src].facts), signed(pack(decoder.streams[src].cursor)))
                for src in decoder.touched
            ],
        )
        for src, texts in decoder.printed.items():
            for piece in pieces(texts):
                self._print(run, src, piece)
                decoder.facts.prints += 1
        for sid, block in decoder.drain():
            for part in block.split():
                self._insert(run, decoder.facts.blocks, sid, part)
                decoder.facts.blocks += 1
        self.connection.execute(
            "UPDATE run SET facts = ?, sealed = NULL, generation = generation + 1, is_over = ?, is_filed = ?,"
            " log_ns = ? WHERE id = ?",
            (signed(pack(decoder.facts)), _is_over(decoder), is_filed, log_ns, run),
        )

    def _described(self, run: int, decoder: RunDecoder, place: tuple[str, str]) -> tuple[tuple[str, str], bool]:
        """See to what lists ask of a run; return its project's and its own true name, and whether it is filed."""
        record = RunRecord(run, *place, decoder.facts, decoder.sources)
        facets = self._describe(record) if _is_over(decoder) else None
        self._note(run, facets)
        return (record.project, record.run_id), facets is not None

    def _note(self, run: int, facets: Facets | None) -> None:
        """Note what lists ask of a run, instead of what was noted before; None: they must look at it."""
        if facets is None:
            (was_filed,) = self.connection.execute("SELECT is_filed FROM run WHERE id = ?", (run,)).fetchone()
            if not was_filed:
                return
        self._to_file.setdefault(run // BLOCK_RUNS, {})[run] = facets

    def _insert(self, run: int, ax: int, sid: int, block: MemoryBlock) -> None:
        rows, n = block.rows, len(block.rows.src)
        self.connection.execute(
            "INSERT INTO axis (run, ax, sid, n, min_step, max_step, src, step, at, time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(run, ax, sid, n, int(rows.step.min()), int(rows.step.max())),
                *(signed(encode_ints(axis), run, ax, sid, n, number) for number, axis in enumerate(rows)),
            ),
        )
        self.connection.executemany(
            "INSERT INTO chunk (run, ax, part, data) VALUES (?, ?, ?, ?)",
            ((run, ax, part, signed(data, run, ax, part, 0)) for part, data in enumerate(block.parts())),
        )

    def _print(self, run: int, src: int, piece: Sequence[Printed]) -> None:
        self.connection.execute(
            "INSERT INTO console (run, src, at, data) VALUES (?, ?, ?, ?)",
            (run, src, piece[0].at, signed_piece(piece, run, src)),
        )

    def _key(self, name: str) -> int:
        known = self._keys.get(name)
        if known is None:
            self.connection.execute("INSERT INTO key (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
            (known,) = self.connection.execute("SELECT id FROM key WHERE name = ?", (name,)).fetchone()
            self._keys[name] = known
        return known

    def _schemas(self, run: int, decoder: RunDecoder) -> None:
        self.connection.executemany(
            "INSERT INTO schema (run, sid, keys, kinds) VALUES (?, ?, ?, ?)",
            [
                (run, sid, signed(pack([[self._key(key) for key in keys], schema_sum((keys, kinds))]), run, sid), kinds)
                for sid, (keys, kinds) in enumerate(
                    decoder.schemas.all[decoder.stored_schemas :], decoder.stored_schemas
                )
            ],
        )
        decoder.stored_schemas = len(decoder.schemas.all)

    def _answers(self, run: int, decoder: RunDecoder, names: tuple[str, str]) -> None:
        """Note the ids that lead to a run."""
        joins = [decoder.streams[src].facts.join for src in decoder.touched]
        aliases = {join.own_id for join in joins if join is not None} - {names[1]}
        self.connection.executemany(
            "INSERT INTO answer (run, name, alias) VALUES (?, ?, ?)"
            " ON CONFLICT (run, name) DO UPDATE SET alias = min(alias, excluded.alias)",
            [(run, names[1], 0), *((run, alias, 1) for alias in aliases)],
        )


def _is_over(decoder: RunDecoder) -> bool:
    return decoder.facts.over_us is not None and decoder.facts.newer is None
