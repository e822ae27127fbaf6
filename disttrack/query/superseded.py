"""Which rows a later attempt has gone over again: decided when reading, by nothing but what was logged."""

from __future__ import annotations

from disttrack.index.queries import RunRecord
from disttrack.query.members import members

__all__ = ["cuts"]


def cuts(record: RunRecord) -> dict[int, int]:
    """Return the cut of each attempt that has one: rows of it from that step on are superseded.

    It is the lowest step that any source of a later attempt logged first: in the order of its calls, so a late step
    that it goes back to later supersedes nothing.
    """
    everybody = members(record)
    found: dict[int, int] = {}
    lowest: int | None = None
    for attempt in sorted({member.attempt for member in everybody}, reverse=True):
        if lowest is not None:
            found[attempt] = lowest
        mine = [member.source.first_step for member in everybody if member.attempt == attempt]
        lowest = min([step for step in (lowest, *mine) if step is not None], default=None)
    return found
