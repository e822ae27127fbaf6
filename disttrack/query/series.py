"""The series of runs as one table: chosen, ordered along x, ranks laid over each other, thinned out for a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from disttrack.index.chunks import Ints
from disttrack.index.snapshots import Snapshot
from disttrack.query.alignment import aligned, as_numbers
from disttrack.query.downsample import kept
from disttrack.query.request import HistoryRequest
from disttrack.query.wide import Array, Wide, as_columns, wide_form

__all__ = ["series_of", "series_of_runs"]


def series_of(
    snapshot: Snapshot, request: HistoryRequest, past: Sequence[tuple[Snapshot, int]] = ()
) -> dict[str, Array]:
    """Return the table of one run that WithHistory.history describes.

    past: the runs that it is a fork of, the oldest first, each with the step from which on it is not.
    """
    _, first, columns = _series([*(parent for parent, _ in past), snapshot], request, [until for _, until in past])
    return as_columns(first, columns)


def series_of_runs(snapshots: Sequence[Snapshot], request: HistoryRequest) -> dict[str, Array]:
    """Return the same of many runs, below each other, with their ids as first column."""
    if not snapshots:
        return {}
    ids = np.array([snapshot.record.run_id for snapshot in snapshots], np.object_)
    run, first, columns = _series(snapshots, request)
    return as_columns({"run": ids[run], **first}, columns)


def _series(
    snapshots: Sequence[Snapshot], request: HistoryRequest, untils: Sequence[int] = ()
) -> tuple[Ints, Mapping[str, Array], Mapping[str, Array]]:
    """Return the numbers of the runs that rows are of, the first columns, and those of keys."""
    keys, x = request.keys, request.x
    by_metric = x not in ("step", "time")
    asked = keys if keys is None or not by_metric else [*dict.fromkeys([*keys, x])]
    wide = wide_form(snapshots, asked, request.ranks, superseded=request.superseded, untils=untils)
    if by_metric:
        wide = _along_metric(wide, x)
    elif x == "time":
        wide = wide.rows(np.lexsort((wide.time, wide.owner)).astype(np.int64))
    if request.rank_agg is None:
        if request.points is not None:
            wide = wide.rows(_thinned(wide.bounds(), wide.keys, request.points))
        return wide.run, wide.axes(), wide.keys
    run, first, columns = aligned(wide, x, request.rank_agg)
    if request.points is not None:
        rows = _thinned(_bounds(run), columns, request.points)
        run, first, columns = run[rows], _rows(first, rows), _rows(columns, rows)
    return run, first, columns


def _rows(columns: Mapping[str, Array], rows: Ints) -> dict[str, Array]:
    return {name: column[rows] for name, column in columns.items()}


def _along_metric(wide: Wide, x: str) -> Wide:
    """Return the rows that have a number for x, each source's by that."""
    wide.keys.setdefault(x, np.full(len(wide.step), np.nan))  # nobody logged it
    values = as_numbers(wide.keys[x])
    order = np.lexsort((values, wide.owner))
    return wide.rows(order[~np.isnan(values[order])].astype(np.int64))


def _bounds(run: Ints) -> list[int]:
    """Return where the rows of each run begin, and where the last one's end."""
    return [0, *(np.flatnonzero(run[1:] != run[:-1]) + 1).tolist(), len(run)]


def _thinned(bounds: Sequence[int], columns: Mapping[str, Array], points: int) -> Ints:
    """Return the rows that any of the columns needs, at most points of each series for each column.

    bounds: where the series begin, and where the last one ends.
    """
    needed = np.zeros(bounds[-1], bool)
    for column in columns.values():
        values = as_numbers(column)
        missing = np.isnan(values)
        if not missing.any():
            for first, end in pairwise(bounds):
                needed[first + kept(values[first:end], points)] = True
            continue
        there = np.flatnonzero(~missing)
        for first, end in zip(*np.searchsorted(there, [bounds[:-1], bounds[1:]]), strict=True):
            mine = there[first:end]
            needed[mine[kept(values[mine], points)]] = True
    for first, end in pairwise(bounds):
        if first < end:
            needed[[first, end - 1]] = True
    return np.flatnonzero(needed).astype(np.int64)
