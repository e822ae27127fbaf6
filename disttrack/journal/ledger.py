"""The drop ledger of one incarnation: what could not be journaled, why, and what of that is written down already."""

from __future__ import annotations

import time

from disttrack.records.classes import CAPTURED, Dropped, DropReason, RecordClass
from disttrack.records.payloads import Drop
from disttrack.records.types import changed

__all__ = ["Ledger"]


class Ledger:
    """Counts drops. Not for two threads at once."""

    def __init__(self) -> None:
        self.total = 0  # of what the script said
        self.captured = 0  # of what disttrack made by itself
        self._counts: dict[tuple[str, str], int] = {}
        self._untold: dict[tuple[str, str], Drop] = {}

    def add(self, record_class: RecordClass, reason: DropReason, step: int | None = None, count: int = 1) -> None:
        """Note that records were dropped now; step: of a row."""
        if record_class in CAPTURED:
            self.captured += count
        else:
            self.total += count
        key = record_class.value, reason
        self._counts[key] = self._counts.get(key, 0) + count
        self.forget(record_class, reason, count, step)

    def forget(self, record_class: RecordClass, reason: DropReason, count: int, step: int | None = None) -> None:
        """Have it written down that records are lost which the journal has counted."""
        key = record_class.value, reason
        now_us = time.time_ns() // 1000
        drop = self._untold.get(key)
        if drop is None:
            self._untold[key] = Drop(
                record_class=record_class.value,
                reason=reason,
                count=count,
                first_step=step,
                last_step=step,
                first_us=now_us,
                last_us=now_us,
            )
        else:
            self._untold[key] = changed(
                drop,
                count=drop.count + count,
                first_step=step if drop.first_step is None else drop.first_step,
                last_step=drop.last_step if step is None else step,
                last_us=now_us,
            )

    @property
    def untold(self) -> bool:
        """Whether something was dropped that take did not return."""
        return bool(self._untold)

    def take(self) -> list[Drop]:
        """Return what was dropped since the last time, to be written down."""
        untold, self._untold = self._untold, {}
        return list(untold.values())

    def put_back(self, drops: list[Drop]) -> None:
        """Take back what could not be written down."""
        self._untold |= {(drop.record_class, drop.reason): drop for drop in drops}

    def counts(self) -> tuple[Dropped, ...]:
        """Return all that was dropped, by class and reason."""
        return tuple(Dropped(*key, count) for key, count in self._counts.items())
