"""The ranks of a run laid over each other: one row a step, and what they agree and differ on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from disttrack.index.chunks import Floats, Ints
from disttrack.query.wide import Array, Wide

__all__ = ["QUANTILES", "RankAggregate", "aligned", "as_numbers"]

RankAggregate = Literal["mean", "minmax", "quantiles"]
QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def aligned(wide: Wide, x: str, how: RankAggregate) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the columns x and ranks (how many have a row there), and those that aggregate each key over ranks.

    mean: a column of the key's name. minmax: key_min and key_max. quantiles: key_p05, key_p50 and key_p95, between
    two ranks linearly. Where a rank has several rows at x, that of its newest attempt counts, and of a rank and its
    helpers the rank's own. Missing values and NaN are left out; where no rank has any, NaN. Text is no column.
    """
    place: Array = wide.axes["step"] if x == "step" else as_numbers(wide.keys[x])
    rank, attempt = wide.axes["rank"], wide.axes["attempt"]
    order = _order(place, rank, attempt, wide.owner)
    place, rank = place[order], rank[order]
    begins = _begins(place)
    starts = np.flatnonzero(begins)
    first: dict[str, Array] = {x: place[starts], "ranks": _counted(begins | _begins(rank), starts)}
    group = np.cumsum(begins) - 1
    columns: dict[str, Array] = {}
    for key, column in wide.keys.items():
        if key == x or not _has_numbers(column):
            continue
        values = as_numbers(column)[order]
        there = np.flatnonzero(~np.isnan(values))
        again = np.zeros(len(there), bool)  # of a rank at one place, its first row here has the value that counts
        again[1:] = (group[there][1:] == group[there][:-1]) & (rank[there][1:] == rank[there][:-1])
        there = there[~again]
        columns.update(_aggregated(key, values[there], group[there], len(starts), how))
    return first, columns


def _order(place: Array, rank: Array, attempt: Array, owner: Ints) -> Ints:
    """Return how to sort rows by place and rank; of one rank the newest attempt's first, and in it the oldest source's.

    Rows come by owner, that is by rank, attempt and source: of one attempt, they have but to be sorted by place.
    """
    if not len(place) or (attempt != attempt[0]).any():
        return np.lexsort((owner, -attempt, rank, place)).astype(np.int64)
    if place.dtype == np.int64 and int(place.max()) - int(place.min()) < 1 << 16:
        place = (place - place.min()).astype(np.uint16)  # a radix sort
    return np.argsort(place, kind="stable").astype(np.int64)


def as_numbers(column: Array) -> Floats:
    """Return a column as float64: booleans are 0 and 1, what is no number NaN, ints beyond floats infinite."""
    if column.dtype != np.object_:
        return column.astype(np.float64, copy=False)
    return np.fromiter((_number(value) for value in column.tolist()), np.float64, len(column))


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _has_numbers(column: Array) -> bool:
    return column.dtype != np.object_ or any(isinstance(value, int | float) for value in column.tolist())


def _begins(sorted_values: Array) -> NDArray[np.bool_]:
    begins = np.ones(len(sorted_values), bool)
    begins[1:] = sorted_values[1:] != sorted_values[:-1]
    return begins


def _counted(which: NDArray[np.bool_], starts: Ints) -> Ints:
    """Return how many there are in each group; starts: where the groups begin."""
    until = np.append(0, np.cumsum(which))[np.append(starts, len(which))]
    counts: Ints = (until[1:] - until[:-1]).astype(np.int64)
    return counts


def _aggregated(key: str, values: Floats, group: Ints, n: int, how: RankAggregate) -> Mapping[str, Array]:
    """Return the aggregates of values over groups 0 to n - 1, in whose order they are."""
    count = np.bincount(group, minlength=n)
    some = np.flatnonzero(count)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(count[some])[:-1]])[: len(some)]

    def spread(of_groups: Floats) -> Floats:
        column = np.full(n, np.nan)
        column[some] = of_groups
        return column

    if how == "mean":
        with np.errstate(invalid="ignore"):  # both infinities
            return {key: spread(_reduced(np.add, values, starts) / count[some])}
    if how == "minmax":
        return {
            f"{key}_min": spread(_reduced(np.minimum, values, starts)),
            f"{key}_max": spread(_reduced(np.maximum, values, starts)),
        }
    table = np.full((len(QUANTILES), len(some)), np.nan)
    for size in np.unique(count[some]).tolist():  # steps that equally many ranks reached, as one matrix
        mine = np.flatnonzero(count[some] == size)
        matrix = values[starts[mine][:, None] + np.arange(size)]
        with np.errstate(invalid="ignore"):
            table[:, mine] = np.quantile(matrix, list(QUANTILES.values()), axis=1)
    return {f"{key}_{name}": spread(row) for name, row in zip(QUANTILES, table, strict=True)}


def _reduced(how: np.ufunc, values: Floats, starts: Ints) -> Floats:
    return how.reduceat(values, starts) if len(starts) else np.zeros(0)
