"""What became of a run's records: stored, still in a journal, or dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from disttrack.index.cover import Cover
from disttrack.index.facts import DroppedFacts, SourceFacts
from disttrack.journal.stored import StoredOutbox, newest_join
from disttrack.query.members import Member, Observer
from disttrack.records.classes import CAPTURED, Dropped, DropReason
from disttrack.records.codec import HEADER, records
from disttrack.records.payloads import CAPTURED_KINDS, USER_KINDS, RecordKind
from disttrack.records.types import Join

__all__ = ["DropRow", "PendingPlace", "RunReceipt", "captured_of", "drop_rows", "receipt_of"]

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class PendingPlace:
    """Records that only a journal has yet, and where that lies."""

    rank: int
    records: int
    host: str
    journal: str


@dataclass(frozen=True)
class RunReceipt:
    """In records: logged = stored + pending + dropped; unreachable: of the pending, on nodes that do not answer."""

    logged: int
    stored: int
    pending: int
    dropped: int
    unreachable: int
    drops: tuple[Dropped, ...] = field(default=(), compare=False)  # the dropped, by class and reason
    places: tuple[PendingPlace, ...] = field(default=(), compare=False)  # of the pending


@dataclass(frozen=True)
class DropRow:
    """Records of one class that one rank, or one node's process, dropped for one reason.

    first_step and last_step are those of rows; null where none is known. Times are unix seconds.
    """

    rank: int | None  # None for a node's process
    attempt: int
    record_class: str | None  # None where no drop record tells
    reason: str
    count: int
    first_step: int | None = None
    last_step: int | None = None
    first_at: float | None = None
    last_at: float | None = None
    node: str | None = None  # where that process ran


def drop_rows(
    everybody: Iterable[Member], nodes: Iterable[SourceFacts], observer: Observer, *, over: bool
) -> list[DropRow]:
    """Return what members and nodes' processes dropped, by class and reason; over: whether the run has ended."""
    rows: list[DropRow] = []
    for member in everybody:
        damaged = _damaged(member.source, observer, over=over)
        rows += _drops_of(member.source, member.rank, None, damaged)
    for source in nodes:
        host = source.join.host if source.join is not None else None
        rows += _drops_of(source, None, host, _damaged(source, observer, over=over))
    return rows


def _drops_of(source: SourceFacts, rank: int | None, node: str | None, damaged: int) -> list[DropRow]:
    untold = _untold(source, damaged)
    return [
        *(
            DropRow(
                rank,
                source.attempt,
                drop.record_class,
                drop.reason,
                drop.count,
                drop.first_step,
                drop.last_step,
                drop.first_us / 1e6,
                drop.last_us / 1e6,
                node,
            )
            for drop in source.drops
        ),
        *(DropRow(rank, source.attempt, None, lost.reason, lost.count, node=node) for lost in untold),
    ]


def _untold(source: SourceFacts, damaged: int) -> list[Dropped]:
    """Return what a source lost that none of its Drop records tells; damaged: what it lost to damage."""
    reasons: list[tuple[DropReason, int]] = [
        ("unknown", _dropped(source) - sum(drop.count for drop in _user_drops(source))),
        ("damaged", damaged),
    ]
    return [Dropped("records", reason, count) for reason, count in reasons if count]


def _user_drops(source: SourceFacts) -> list[DroppedFacts]:
    return [drop for drop in source.drops if drop.record_class not in CAPTURED]


def _dropped(source: SourceFacts) -> int:
    """Return how many records a source dropped: as its End says, or while there is none its Drop records."""
    told = sum(drop.count for drop in _user_drops(source))
    return max(told, source.ended.dropped) if source.ended is not None else told


def _missing(source: SourceFacts) -> int:
    """Return how many records of a source that ended are neither stored nor dropped by it."""
    return max(0, source.ended.logged - _dropped(source) - source.stored) if source.ended is not None else 0


def _damaged(source: SourceFacts, observer: Observer, *, over: bool) -> int:
    """Return how many records of a source that ended are lost: it all arrived, and a part of it is damaged.

    What lay in a damaged frame of the log comes home again as long as the source's journal has it. A journal goes when
    its run is over, and all of it is stored.
    """
    missing = _missing(source)
    if not missing or source.cover.end <= source.ended_at:
        return 0
    named = [(place.start, place.end) for place in source.damaged]
    if all(any(low <= a and b <= high for low, high in named) for a, b in source.cover.gaps):
        return missing if source.damage else 0  # it is the journal that was damaged: its bytes are stored as they are
    if source.join is not None and _is_here(source.join, observer):
        return max(0, missing - records_beyond(Path(source.join.journal), source.join, source.cover))
    return missing if over or source.join is None else 0


def receipt_of(
    sources: Iterable[SourceFacts], observer: Observer, answers: Callable[[], bool], *, over: bool
) -> RunReceipt:
    """Return the receipt of these sources.

    answers: says whether the run's writer does (its marker is fresh); over: whether the run has ended.
    """
    stored = pending = unreachable = 0
    counts: dict[tuple[str, str], int] = {}
    places: list[PendingPlace] = []
    for source in sources:
        told = [Dropped(drop.record_class, drop.reason, drop.count) for drop in _user_drops(source)]
        damaged = _damaged(source, observer, over=over)
        for drop in (*told, *_untold(source, damaged)):
            key = drop.record_class, drop.reason
            counts[key] = counts.get(key, 0) + drop.count
        waits = _pending(source, observer, damaged)
        stored += source.stored
        pending += waits
        if waits and source.join is not None:
            join = source.join
            places.append(PendingPlace(join.rank.rank, waits, join.host, join.journal))
        if waits and not _is_here(source.join, observer) and not answers():
            unreachable += waits
    dropped = sum(counts.values())
    drops = tuple(Dropped(*key, count) for key, count in counts.items())
    return RunReceipt(stored + pending + dropped, stored, pending, dropped, unreachable, drops, tuple(places))


def _is_here(join: Join | None, observer: Observer) -> bool:
    """Say whether the disk of the node where a process ran is the disk of this one: a boot later it still is."""
    return join is not None and (join.boot_id == observer.boot_id or join.host == observer.hostname)


def _pending(source: SourceFacts, observer: Observer, damaged: int) -> int:
    """Return how many records a source made that are neither stored nor lost, as far as can be known."""
    if source.ended is not None:
        return _missing(source) - damaged
    if source.join is None or not _is_here(source.join, observer):
        return 0
    return records_beyond(Path(source.join.journal), source.join, source.cover)


def captured_of(of_nodes: RunReceipt, sources: Iterable[SourceFacts], observer: Observer) -> RunReceipt:
    """Return what became of all that disttrack noted by itself: of_nodes, and what these sources noted beside rows."""
    stored, pending = of_nodes.stored, of_nodes.pending
    counts = {(drop.record_class, drop.reason): drop.count for drop in of_nodes.drops}
    for source in sources:
        stored += source.captured
        waits, damaged, unknown = _captured_left(source, observer)
        pending += waits
        told = [Dropped(drop.record_class, drop.reason, drop.count) for drop in source.drops]
        left = [Dropped("captured", "damaged", damaged), Dropped("captured", "unknown", unknown)]
        for drop in [drop for drop in told if drop.record_class in CAPTURED] + [drop for drop in left if drop.count]:
            key = drop.record_class, drop.reason
            counts[key] = counts.get(key, 0) + drop.count
    dropped = sum(counts.values())
    drops = tuple(Dropped(*key, count) for key, count in counts.items())
    made = stored + pending + dropped
    return RunReceipt(made, stored, pending, dropped, of_nodes.unreachable, drops, of_nodes.places)


def _captured_left(source: SourceFacts, observer: Observer) -> tuple[int, int, int]:
    """Return how many records that disttrack made in a source are pending, lost to damage, and dropped untold."""
    here = source.join is not None and _is_here(source.join, observer)
    waits = 0
    if here and source.join is not None:
        waits = records_beyond(Path(source.join.journal), source.join, source.cover, CAPTURED_KINDS)
    if source.ended is None:
        return waits, 0, 0
    told = sum(drop.count for drop in source.drops if drop.record_class in CAPTURED)
    unknown = max(0, source.ended.captured_dropped - told)
    missing = max(0, source.ended.captured - told - unknown - source.captured)
    if source.cover.end <= source.ended_at:
        return missing, 0, unknown
    waits = min(waits, missing)
    return waits, missing - waits, unknown


def records_beyond(journal: Path, join: Join, cover: Cover, kinds: AbstractSet[RecordKind] = USER_KINDS) -> int:
    """Return how many records of these kinds a journal holds that are not covered; 0 where it is gone."""
    there = newest_join(journal)
    if there is None or there.incarnation != join.incarnation:
        return 0
    try:
        stored = StoredOutbox(journal)
        offset, count = cover.gaps[0][0] if cover.gaps else cover.end, 0
        while data := stored.read(offset, READ_BYTES):
            count += sum(
                record.kind in kinds and bool(cover.missing(offset + record.start - HEADER.size, offset + record.end))
                for record in records(data)
            )
            offset += len(data)
        return count
    except (OSError, ValueError):
        return 0  # removed just now
