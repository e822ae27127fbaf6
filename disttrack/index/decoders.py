"""Decoders of runs that this process has read from and may read on in, so that no row is decoded twice.

In: where a run stands in the tables. Out: a decoder that goes on from there. Called by index.upkeep, which seals what
they hold, and by index.snapshots, which reads the rows that lie in no chunk yet.
"""

from __future__ import annotations

from collections import OrderedDict

from disttrack.index.decoder import RunDecoder
from disttrack.index.store import RunRow, Store

__all__ = ["Decoders"]

MAX_DECODERS = 64


class Decoders:
    """The decoders used last, of at most MAX_DECODERS runs."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[int, RunDecoder]] = OrderedDict()  # by run: generation, decoder

    def of(self, row: RunRow, store: Store) -> RunDecoder:
        """Return the decoder of a run: this process's own if it goes on from what is sealed, else a new one."""
        kept = self._kept.get(row.number)
        if kept is not None and kept[0] == row.generation:
            return kept[1]
        return store.load(row)

    def keep(self, run: int, generation: int, decoder: RunDecoder) -> None:
        """Keep the decoder of a run whose chunks are of this generation, as long as more may come of it."""
        self._kept[run] = (generation, decoder)
        self._kept.move_to_end(run)
        if decoder.facts.over_us is not None and decoder.drained:
            del self._kept[run]
        while len(self._kept) > MAX_DECODERS:
            self._kept.popitem(last=False)

    def drop(self, run: int) -> None:
        """Forget the decoder of a run that is to be read anew."""
        self._kept.pop(run, None)

    def clear(self) -> None:
        """Forget all: of a transaction that was undone, or of another index."""
        self._kept.clear()
