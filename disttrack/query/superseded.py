"""Which rows a later attempt has gone over again: decided when reading, by nothing but what was logged."""

from __future__ import annotations

from disttrack.index.queries import RunRecord
from disttrack.query.lineage import begun_behind
from disttrack.query.members import members

__all__ = ["cuts", "ends_of"]


def cuts(record: RunRecord, until: int | None = None) -> dict[int, int]:
    """Return the cut of each attempt that has one: rows of it from that step on are superseded.

    It is the lowest step that any source of a later attempt logged first: in the order of its calls, so a late step
    that it goes back to later supersedes nothing; or the step behind which a later attempt was told to go on.
    until: rows from this step on are not wanted of any attempt.
    """
    everybody = members(record)
    found: dict[int, int] = {}
    lowest = until
    for attempt in sorted({member.attempt for member in everybody}, reverse=True):
        if lowest is not None:
            found[attempt] = lowest
        mine = [member.source.first_step for member in everybody if member.attempt == attempt]
        behind = begun_behind(everybody, attempt)
        if behind is not None:
            mine.append(behind + 1)
        lowest = min([step for step in (lowest, *mine) if step is not None], default=None)
    return found


def ends_of(record: RunRecord, until: int | None, *, superseded: bool) -> dict[int, int]:
    """Return up to which step the rows of each attempt are wanted, where not all are; superseded: cuts are ignored."""
    if not superseded:
        return cuts(record, until)
    return {} if until is None else {member.attempt: until for member in members(record)}
