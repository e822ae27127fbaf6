"""Aggregates of a run's metrics, kept in its facts: so that no list has to look into rows.

In: what query makes of a run's definitions, and all its rows. Out: RunFacts.aggregates. A run that defines no metric
costs nothing here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from disttrack.index.blocks import Block
from disttrack.index.checksums import IndexDamaged
from disttrack.index.decoder import RunDecoder
from disttrack.index.queries import RunRecord, Vanished, sealed_blocks
from disttrack.index.store import Store

__all__ = ["Aggregate", "Aggregates", "none_at_all"]

Aggregate = Callable[[RunRecord, Callable[[], list[Block]]], dict[str, object]]
"""Returns what a run that defines metrics keeps of them, by name; it is handed what returns all its rows."""


def none_at_all(_record: RunRecord, _blocks: Callable[[], list[Block]]) -> dict[str, object]:
    """Keep nothing of any metric."""
    return {}


class Aggregates:
    """Computes what is kept of metrics. lock: of the index's connection; is_damaged: set where a block proves so."""

    def __init__(self, aggregate: Aggregate, lock: threading.RLock, is_damaged: threading.Event) -> None:
        self._aggregate = aggregate
        self._lock, self._is_damaged = lock, is_damaged

    def note(self, store: Store, record: RunRecord, decoder: RunDecoder) -> None:
        """Note them in a run's facts, up to where the decoder has read; raise IndexDamaged."""
        if not any(source.definitions for source in record.sources):
            return

        def blocks() -> list[Block]:
            tail = [block for _, block in decoder.tail()]
            if not record.facts.blocks:  # as of most runs, which are taken in at once
                return [*tail]
            return [*sealed_blocks(store.connection, self._lock, [record], self._is_damaged)[record.number], *tail]

        try:
            record.facts.aggregates = self._aggregate(record, blocks)
        except Vanished:
            raise IndexDamaged(f"the rows of run {record.number}") from None
