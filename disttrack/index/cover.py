"""Which bytes of an incarnation's journal were taken: everything below an end, but for gaps."""

from __future__ import annotations

import msgspec

from disttrack.records.structs import prepare

__all__ = ["Cover"]


class Cover(msgspec.Struct, omit_defaults=True):
    """The taken offsets: [0, end) without the gaps, which are disjoint, ascending and below end."""

    end: int = 0
    gaps: list[tuple[int, int]] = []

    def missing(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges of [begin, end) that were not taken yet, ascending."""
        found = [(max(low, begin), min(high, end)) for low, high in self.gaps if low < end and begin < high]
        if end > self.end:
            found.append((max(begin, self.end), end))
        return found

    def add(self, begin: int, end: int) -> None:
        """Take [begin, end)."""
        if self.gaps:
            self.gaps = [
                (low, high)
                for first, last in self.gaps
                for low, high in ((first, min(last, begin)), (max(first, end), last))
                if low < high
            ]
        if begin > self.end:
            self.gaps.append((self.end, begin))
        self.end = max(self.end, end)

    def lose(self, begin: int, end: int) -> None:
        """Untake [begin, end), which was taken: what lay there was no record, a better copy may come."""
        if end < self.end:
            self.gaps = sorted([*self.gaps, (begin, end)])
            return
        self.end = begin
        while self.gaps and self.gaps[-1][1] == self.end:
            self.end = self.gaps.pop()[0]


prepare(globals())
