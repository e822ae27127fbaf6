"""What damage to a run's log cost: nothing where the log, or a journal on this host, has the same bytes once more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from disttrack.doctor.damage import BAD_RECORD, NO_HEADER, DamagedRange, Found, Held, LogCheck, Loss, Place
from disttrack.records.types import Incarnation

__all__ = ["judge"]


def judge(found: LogCheck, lost: Sequence[Held], pending: Sequence[Held], journals: Collection[Incarnation]) -> None:
    """Note of each damaged range of a log what it cost.

    lost, pending: the holes of the log, those that no journal on this host has and those that one has; journals: the
    incarnations whose journal is on this host.
    """
    for damage in found.damage:
        damage.lost = _loss(damage, found, lost, pending, journals)


def _loss(
    damage: DamagedRange,
    found: LogCheck,
    lost: Sequence[Held],
    pending: Sequence[Held],
    journals: Collection[Incarnation],
) -> Loss:
    if _overlap(damage.held, lost):
        return "records"
    if not _is_told(damage, found, journals):
        return "unknown"
    return "pending" if _overlap(damage.held, pending) else "nothing"


def _overlap(some: Sequence[Held], others: Sequence[Held]) -> bool:
    return any(
        one.incarnation == other.incarnation and one.start < other.end and other.start < one.end
        for one in some
        for other in others
    )


def _is_told(damage: DamagedRange, found: LogCheck, journals: Collection[Incarnation]) -> bool:
    """Say whether all that the damaged bytes can have held is known from elsewhere, but for the holes of the log."""
    if damage.why == BAD_RECORD:
        return True  # which bytes it held is known
    path = Path(damage.path)
    if path.suffix != ".dtl":
        return False  # a segment or an admission is missing
    place = int(path.stem), damage.start
    if not found.has_header or not all(source.admitted for source in found.sources.values()):
        return False
    if damage.kind == "header" or damage.why == NO_HEADER:
        return True
    if damage.kind in ("alias", "edit") or (damage.kind is None and place[0] not in found.written):
        return False  # a person's edit, or the word that this run belongs to another: both are said once
    sources = found.sources
    return bool(sources) and all(
        _has_said_all(source, place) or incarnation in journals for incarnation, source in sources.items()
    )


def _has_said_all(source: Found, place: Place) -> bool:
    """Say whether an incarnation's bytes at a place of the log lie elsewhere in it, or leave a hole between others.

    Its bytes come in their order: what lies behind the place tells what is missing before. Behind its End, and once its
    process was seen to have ended, there is nothing.
    """
    return source.ended or source.last > place or (source.over is not None and source.over < place)
