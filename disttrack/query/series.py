"""The series of a run as one table: chosen, ordered along x, ranks laid over each other, thinned out for a chart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np

from disttrack.errors import UsageError
from disttrack.index.chunks import Ints
from disttrack.index.indexer import Snapshot
from disttrack.query.alignment import RankAggregate, aligned, as_numbers
from disttrack.query.downsample import kept
from disttrack.query.selection import RankChoice
from disttrack.query.wide import EXACT, Array, Wide, as_columns, wide_rows

__all__ = ["check_request", "joined", "series_of"]

_HOW = ("mean", "minmax", "quantiles")


def check_request(ranks: object, x: object, rank_agg: object, points: object) -> None:
    """Raise UsageError where history cannot be asked like this; before anything is read."""
    if isinstance(ranks, str) and ranks not in ("all", "primary"):
        raise UsageError(f"ranks={ranks!r}", "there is no such choice", 'Use "all", "primary" or ranks, as [0, 3].')
    if not isinstance(x, str) or not x:
        raise UsageError(f"x={x!r}", "it names no column", 'Use "step", "time" or a metric.')
    if rank_agg is not None and rank_agg not in _HOW:
        raise UsageError(f"rank_agg={rank_agg!r}", "there is no such aggregate", f"Use None or one of {_HOW}.")
    if rank_agg is not None and x == "time":
        raise UsageError(
            f"rank_agg={rank_agg!r} with x='time'",
            "no two ranks log at the same microsecond, so there is nothing to lay over each other",
            "Use x='step' or a metric that ranks share, such as an epoch.",
        )
    if points is not None and (not isinstance(points, int) or points < 2):
        raise UsageError(f"points={points!r}", "a series keeps at least its first and its last", "Use 2 or more.")


def series_of(
    snapshot: Snapshot,
    keys: Collection[str] | None,
    ranks: RankChoice,
    x: str,
    rank_agg: RankAggregate | None,
    points: int | None,
    superseded: bool,
) -> dict[str, Array]:
    """Return the table that RunView.history describes."""
    check_request(ranks, x, rank_agg, points)
    by_metric = x not in ("step", "time")
    asked = keys if keys is None or not by_metric else [*dict.fromkeys([*keys, x])]
    wide = wide_rows(snapshot, asked, ranks, superseded=superseded)
    if by_metric:
        wide = _along_metric(wide, x)
    elif x == "time":
        wide = wide.rows(np.lexsort((wide.axes["time"], wide.owner)).astype(np.int64))
    if rank_agg is None:
        first, columns = wide.axes, wide.keys
        series = wide.owner
    else:
        first, columns = aligned(wide, x, rank_agg)
        series = np.zeros(len(first[x]), np.int64)
    if points is not None:
        rows = _thinned(series, columns, points)
        first, columns = _rows(first, rows), _rows(columns, rows)
    return as_columns(first, columns)


def _rows(columns: Mapping[str, Array], rows: Ints) -> dict[str, Array]:
    return {name: column[rows] for name, column in columns.items()}


def _along_metric(wide: Wide, x: str) -> Wide:
    """Return the rows that have a number for x, each source's by that."""
    wide.keys.setdefault(x, np.full(len(wide.owner), np.nan))  # nobody logged it
    values = as_numbers(wide.keys[x])
    order = np.lexsort((values, wide.owner))
    return wide.rows(order[~np.isnan(values[order])].astype(np.int64))


def _thinned(series: Ints, columns: Mapping[str, Array], points: int) -> Ints:
    """Return the rows that any of the columns needs, at most points of each series for each column."""
    bounds = [0, *(np.flatnonzero(series[1:] != series[:-1]) + 1).tolist(), len(series)]
    needed = np.zeros(len(series), bool)
    for column in columns.values():
        values = as_numbers(column)
        there = np.flatnonzero(~np.isnan(values))
        for first, end in zip(*np.searchsorted(there, [bounds[:-1], bounds[1:]]), strict=True):
            mine = there[first:end]
            needed[mine[kept(values[mine], points)]] = True
    for first, end in pairwise(bounds):
        if first < end:
            needed[[first, end - 1]] = True
    return np.flatnonzero(needed).astype(np.int64)


def joined(tables: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return tables below each other; what one of them lacks is missing there: NaN, or None in a column of objects."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    sizes = [len(next(iter(table.values()))) for table in tables]
    return {name: _stacked([table.get(name) for table in tables], sizes) for name in names}


def _stacked(parts: Sequence[Array | None], sizes: Sequence[int]) -> Array:
    there = [part for part in parts if part is not None and len(part)]
    whole = all(part is not None or not size for part, size in zip(parts, sizes, strict=True))
    kinds = {part.dtype for part in there}
    if len(kinds) == 1 and whole:
        column: Array = np.concatenate(there)  # type: ignore[assignment] # of one of Array's types, as all parts are
        return column
    if np.dtype(np.object_) in kinds or not all(_is_exact(part) for part in there):
        filled = [
            np.full(size, None, np.object_) if part is None or _is_missing(part) else part.astype(np.object_)
            for part, size in zip(parts, sizes, strict=True)
        ]
        return np.concatenate(filled)
    return np.concatenate(
        [
            np.full(size, np.nan) if part is None else part.astype(np.float64)
            for part, size in zip(parts, sizes, strict=True)
        ]
    )


def _is_missing(part: Array) -> bool:
    """Say whether a key that was asked for by name is in none of a table's rows."""
    return part.dtype == np.float64 and bool(np.isnan(as_numbers(part)).all())


def _is_exact(part: Array) -> bool:
    return part.dtype != np.int64 or bool((np.abs(part.astype(np.float64)) <= EXACT).all())
