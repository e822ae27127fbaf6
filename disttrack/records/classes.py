"""Which records give way to which when a journal runs out of room, and what is written down about those that did."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from typing import Literal

from disttrack.records.payloads import RecordKind

__all__ = [
    "CAPTURED",
    "CLASS_OF",
    "LOWEST_SHARE",
    "DropReason",
    "Dropped",
    "RecordClass",
    "captured_told",
    "receipt_told",
    "share",
]

DropReason = Literal["quota", "disk full", "disk error", "no journal", "invalid", "removed", "damaged", "unknown"]
"""Why records are not in the store: the journal's quota or its disk was full, or it could not be written at all;
no directory could hold one; what was given is no record; the run's log was lost after their journal file had made room
for newer ones; a disk lost them; nobody can tell."""


class RecordClass(enum.StrEnum):
    """What a record is worth when not all can be kept."""

    SYSTEM = "system"  # samples of the host and its devices
    CONSOLE = "console"
    MEDIA = "media"
    METRICS = "metrics"
    CONFIG = "config"
    FACTS = "facts"  # what a process found out about itself


_SHARES = {
    RecordClass.SYSTEM: 0.6,
    RecordClass.CONSOLE: 0.7,
    RecordClass.MEDIA: 0.8,
    RecordClass.METRICS: 1.0,
    RecordClass.CONFIG: 1.0,
    RecordClass.FACTS: 0.8,
}
CLASS_OF = {
    RecordKind.ROW: RecordClass.METRICS,
    RecordKind.MSGPACK_ROW: RecordClass.METRICS,
    RecordKind.CONFIG: RecordClass.CONFIG,
    RecordKind.SUMMARY: RecordClass.METRICS,
    RecordKind.METRIC: RecordClass.CONFIG,
    RecordKind.LABELS: RecordClass.CONFIG,
    RecordKind.ALERT: RecordClass.METRICS,
    RecordKind.ABOUT: RecordClass.FACTS,
    RecordKind.CONSOLE: RecordClass.CONSOLE,
    RecordKind.FILE: RecordClass.MEDIA,
    RecordKind.PREEMPTING: RecordClass.CONFIG,
}
"""The class of each kind that may be refused. The others are needed to read these, or to tell what became of them."""
CAPTURED = frozenset({RecordClass.CONSOLE, RecordClass.FACTS})
"""What disttrack notes by itself beside what a script says: no receipt counts it, but a tally of its own.

SYSTEM is not among them: samples have journals of their own."""
LOWEST_SHARE = min(_SHARES.values())


def share(record_class: RecordClass) -> float:
    """Return up to which part of the quota records of this class are accepted."""
    return _SHARES[record_class]


@dataclasses.dataclass(frozen=True)
class Dropped:
    """How many records of one class were dropped for one reason."""

    record_class: str
    reason: str
    count: int


def _drops_told(drops: Iterable[Dropped]) -> str:
    """Return drops as text: `3 metrics: quota, 2 config: disk full`."""
    return ", ".join(f"{drop.count:,} {drop.record_class}: {drop.reason}" for drop in drops)


def captured_told(pending: int, drops: Iterable[Dropped]) -> str:
    """Return what became of records that disttrack made by itself: nothing where all are stored."""
    told = ([f"{pending:,} pending"] if pending else []) + ([_drops_told(drops)] if (drops := tuple(drops)) else [])
    return f"; not stored of what was captured: {', '.join(told)}" if told else ""


def receipt_told(logged: int, stored: int, pending: int, dropped: int, drops: Iterable[Dropped]) -> str:
    """Return what became of records as text."""
    told = f"{logged:,} record{'' if logged == 1 else 's'} logged: {stored:,} stored, {pending:,} pending, "
    named = _drops_told(drops)
    return f"{told}{dropped:,} dropped" + (f" ({named})" if named else "")
