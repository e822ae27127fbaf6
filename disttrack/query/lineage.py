"""Where a run, or an attempt of one, began: behind a step of its own run or of another, whose points are its past."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from disttrack.errors import RunNotFound
from disttrack.index.queries import RunRecord
from disttrack.query.members import Member
from disttrack.records.types import Lineage

__all__ = ["Origin", "ancestors", "begun_behind", "forked_from", "resumed_from"]

MAX_FORKS = 100  # of forks: more are a circle that somebody made by hand


class Origin(NamedTuple):
    """A run and a step of it; None where the run had logged none."""

    id: str
    step: int | None


def _lineages(everybody: list[Member]) -> list[tuple[int, Lineage]]:
    """Return the lineages that ranks said, with their attempts, the newest first."""
    found = [
        (member.attempt, member.source.join.lineage)
        for member in everybody
        if member.source.join is not None and member.source.join.lineage is not None and member.source.role != "helper"
    ]
    return sorted(found, key=lambda each: -each[0])


def resumed_from(everybody: list[Member]) -> Origin | None:
    """Return the step behind which the newest attempt that was resumed goes on."""
    kinds = ("resumed", "rewound")
    found = [Origin(lineage.run_id, lineage.step) for _, lineage in _lineages(everybody) if lineage.kind in kinds]
    return found[0] if found else None


def forked_from(everybody: list[Member]) -> Origin | None:
    """Return the run that this one is a fork of, and the last step of it that is part of this one."""
    found = [Origin(lineage.run_id, lineage.step) for _, lineage in _lineages(everybody) if lineage.kind == "forked"]
    return found[-1] if found else None


def begun_behind(everybody: list[Member], attempt: int) -> int | None:
    """Return the step behind which an attempt was told to go on, whatever it logged; None where it was not."""
    found = [lineage.step for at, lineage in _lineages(everybody) if at == attempt and lineage.kind == "rewound"]
    return found[0] if found else None


def ancestors(
    everybody: list[Member],
    project: str,
    find: Callable[[str], RunRecord],
    members: Callable[[RunRecord], list[Member]],
) -> list[tuple[RunRecord, int]]:
    """Return the runs that this one is a fork of, the oldest first, each with the step from which on it is not.

    find: the run that answers to `project/id`, or it raises RunNotFound: of a deleted parent no point is left.
    """
    found: list[tuple[RunRecord, int]] = []
    until: int | None = None
    while (origin := forked_from(everybody)) is not None and origin.step is not None and len(found) < MAX_FORKS:
        try:
            record = find(f"{project}/{origin.id}")
        except RunNotFound:
            break
        until = origin.step + 1 if until is None else min(until, origin.step + 1)
        found.insert(0, (record, until))
        everybody = members(record)
    return found
