"""Runs at one moment: what is known of each, and all its rows, those that lie in no chunk yet included.

In: records of runs, the tables, and the ends of their logs. Out: Snapshots, for query. The rows of a live run that lie
in no chunk yet are decoded by each reader for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from disttrack.index.aggregates import Aggregates
from disttrack.index.blocks import Block, unmixed
from disttrack.index.console import StoredConsole, consoles
from disttrack.index.decoder import Replaced, RunDecoder
from disttrack.index.decoders import Decoders
from disttrack.index.facts import RunFacts, SourceFacts, pack
from disttrack.index.plan import log_of
from disttrack.index.queries import RunRecord, StoredBlock, numbered, sealed_blocks
from disttrack.index.store import RunRow, Store, is_same
from disttrack.index.survey import segments
from disttrack.records.codec import decode

__all__ = ["Snapshot", "Snapshots"]


class Snapshot(NamedTuple):
    """A run at one moment: what is known of it, and all its rows. Blocks may be read as long as the index is open."""

    record: RunRecord
    blocks: list[Block]
    console: StoredConsole = StoredConsole()

    def checked(self) -> Snapshot:
        """Return it after reading all of it once; raise Vanished where the run is gone, or the index damaged."""
        for block in self.blocks:
            if isinstance(block, StoredBlock):
                block.check()
        return self


class Snapshots:
    """Takes snapshots of runs of one root. lock: of the index's connection; is_damaged: set where a block proves so."""

    def __init__(
        self,
        root: Path,
        decoders: Decoders,
        aggregates: Aggregates,
        lock: threading.RLock,
        is_damaged: threading.Event,
    ) -> None:
        self._root = root
        self._decoders, self._aggregates = decoders, aggregates
        self._lock, self._is_damaged = lock, is_damaged

    def take(self, store: Store, wanted: Sequence[RunRecord]) -> list[Snapshot]:
        """Return the runs that are still there with all their rows, within a transaction."""
        connection = store.connection
        rows = store.numbered([record.number for record in wanted])
        there = [record for record in wanted if record.number in rows]
        stale = [record.number for record in there if not is_same(record, rows[record.number])]
        fresh = {record.number: record for record in numbered(connection, stale)}
        known = [fresh.get(record.number, record) for record in there]
        blocks = sealed_blocks(connection, self._lock, known, self._is_damaged)
        printed = consoles(connection, self._lock, known, self._is_damaged)
        return [
            self._with_tail(store, Snapshot(record, blocks[record.number], printed[record.number]), rows[record.number])
            for record in known
        ]

    def _with_tail(self, store: Store, sealed: Snapshot, row: RunRow) -> Snapshot:
        """Return a run with the rows of its log that lie in no chunk yet."""
        if row.is_over:
            return sealed
        record = sealed.record
        decoder = self._decoders.of(row, store)
        log = log_of(self._root, record.project_directory, record.directory)
        try:
            for _ in decoder.read(log, segments(log)):
                pass
        except (Replaced, OSError):
            self._decoders.drop(record.number)  # the next catch_up sees to it
            return sealed
        self._decoders.keep(record.number, row.generation, decoder)
        known = _copy(record, decoder)
        self._aggregates.note(store, known, decoder)
        blocks = sealed.blocks + [part for _, block in decoder.tail() for part in unmixed(block)]
        return Snapshot(known, blocks, sealed.console.with_tail(decoder.printed))


def _copy(record: RunRecord, decoder: RunDecoder) -> RunRecord:
    """Return a record of what a decoder knows now: it will go on changing its own facts."""
    sources = tuple(decode(pack(source), SourceFacts) for source in decoder.sources)
    facts = decode(pack(decoder.facts), RunFacts)
    return RunRecord(record.number, record.project_directory, record.directory, facts, sources)
