"""What became of a run's records: stored, still in a journal, or dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from disttrack.index.cover import Cover
from disttrack.index.facts import SourceFacts
from disttrack.journal.outbox import StoredOutbox, newest_join
from disttrack.query.members import Observer
from disttrack.records.codec import HEADER, records
from disttrack.records.types import USER_KINDS, Join

__all__ = ["RunReceipt", "receipt_of"]

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class RunReceipt:
    """In records: logged = stored + pending + dropped; unreachable: of the pending, on nodes that do not answer."""

    logged: int
    stored: int
    pending: int
    dropped: int
    unreachable: int


def receipt_of(sources: Iterable[SourceFacts], observer: Observer, answers: Callable[[], bool]) -> RunReceipt:
    """Return the receipt of these sources; answers: says whether the run's writer does (its marker is fresh)."""
    stored = pending = dropped = unreachable = 0
    for source in sources:
        waits = _pending(source, observer)
        stored += source.stored
        pending += waits
        dropped += source.ended.dropped if source.ended is not None else 0
        if waits and not _is_here(source.join, observer) and not answers():
            unreachable += waits
    return RunReceipt(stored + pending + dropped, stored, pending, dropped, unreachable)


def _is_here(join: Join | None, observer: Observer) -> bool:
    """Say whether the disk of the node where a process ran is the disk of this one: a boot later it still is."""
    return join is not None and (join.boot_id == observer.boot_id or join.host == observer.hostname)


def _pending(source: SourceFacts, observer: Observer) -> int:
    """Return how many records a source made that are neither stored nor dropped, as far as can be known."""
    if source.ended is not None:
        return max(0, source.ended.logged - source.ended.dropped - source.stored)
    if source.join is None or not _is_here(source.join, observer):
        return 0
    return records_beyond(Path(source.join.journal), source.join, source.cover)


def records_beyond(journal: Path, join: Join, cover: Cover) -> int:
    """Return how many user records a journal holds that are not covered; 0 where there is no such journal any more."""
    there = newest_join(journal)
    if there is None or there.incarnation != join.incarnation:
        return 0
    try:
        stored = StoredOutbox(journal)
        offset, count = cover.gaps[0][0] if cover.gaps else cover.end, 0
        while data := stored.read(offset, READ_BYTES):
            count += sum(
                record.kind in USER_KINDS
                and bool(cover.missing(offset + record.start - HEADER.size, offset + record.end))
                for record in records(data, check=False)
            )
            offset += len(data)
        return count
    except (OSError, ValueError):
        return 0  # removed just now
