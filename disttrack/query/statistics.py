"""One metric of a run in a few numbers, over all that was logged and not only the last of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disttrack.index.snapshots import Snapshot
from disttrack.query.alignment import as_numbers
from disttrack.query.members import members
from disttrack.query.metrics import definitions_of
from disttrack.query.selection import RankChoice
from disttrack.query.wide import wide_form

__all__ = ["KeySummary", "summary_of"]


@dataclass(frozen=True)
class KeySummary:
    """The numbers logged as one key. NaN is counted, and left out of min, max and mean unless all are.

    best is the one or the other, where the run says which (run.define_metric(..., goal=)); else None.
    """

    count: int
    first: float
    first_step: int
    last: float
    last_step: int
    min: float
    min_step: int
    max: float
    max_step: int
    mean: float
    best: float | None = None
    best_step: int | None = None


def summary_of(snapshot: Snapshot, key: str, ranks: RankChoice = None) -> KeySummary | None:
    """Return the summary of a key over ranks (None: the lowest that logged a number); None where there is no number.

    first and last are those of the lowest and the highest step, of several ranks the lowest one's. Superseded rows
    are left out.
    """
    wide = wide_form([snapshot], [key], ranks)
    column = wide.keys[key]
    there = (
        np.array([isinstance(value, int | float) for value in column.tolist()], bool)
        if column.dtype == np.object_
        else np.ones(len(column), bool)
    )
    if not there.any():
        return None
    rank = wide.rank
    if ranks is None:
        there &= rank == rank[there][0]
    values, step, rank = as_numbers(column)[there], wide.step[there], rank[there]
    known = np.flatnonzero(~np.isnan(values))
    order = np.lexsort((rank, step))
    first, last = int(order[0]), int(np.lexsort((-rank, step))[-1])
    low = int(known[values[known].argmin()]) if len(known) else first
    high = int(known[values[known].argmax()]) if len(known) else first
    with np.errstate(invalid="ignore"):  # both infinities
        mean = float(values[known].mean()) if len(known) else float("nan")
    goal = definitions_of(members(snapshot.record)).goal(key)
    best = {None: None, "minimize": low, "maximize": high}[goal]
    return KeySummary(
        count=len(values),
        first=float(values[first]),
        first_step=int(step[first]),
        last=float(values[last]),
        last_step=int(step[last]),
        min=float(values[low]),
        min_step=int(step[low]),
        max=float(values[high]),
        max_step=int(step[high]),
        mean=mean,
        best=None if best is None else float(values[best]),
        best_step=None if best is None else int(step[best]),
    )
