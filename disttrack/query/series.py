"""The series of runs as one table: chosen, ordered along x, ranks laid over each other, thinned out for a chart."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np

from disttrack.index.chunks import Ints
from disttrack.index.snapshots import Snapshot
from disttrack.query.alignment import aligned, as_numbers
from disttrack.query.downsample import kept
from disttrack.query.members import members
from disttrack.query.metrics import definitions_of
from disttrack.query.request import HistoryRequest
from disttrack.query.runs import created_s
from disttrack.query.wide import Array, Wide, as_columns, wide_form
from disttrack.records.metrics import Definitions

__all__ = ["along_metric", "is_filled", "series_of", "series_of_runs"]

_AUTO = ("_step", "_runtime", "_timestamp")


def series_of(
    snapshot: Snapshot, request: HistoryRequest, past: Sequence[tuple[Snapshot, int]] = ()
) -> dict[str, Array]:
    """Return the table of one run that WithHistory.history describes.

    past: the runs that it is a fork of, the oldest first, each with the step from which on it is not.
    """
    _, first, columns = _with_auto([*(parent for parent, _ in past), snapshot], request, [until for _, until in past])
    return as_columns(first, columns)


def series_of_runs(snapshots: Sequence[Snapshot], request: HistoryRequest) -> dict[str, Array]:
    """Return the same of many runs, below each other, with their ids as first column."""
    if not snapshots:
        return {}
    ids = np.array([snapshot.record.run_id for snapshot in snapshots], np.object_)
    run, first, columns = _with_auto(snapshots, request)
    return as_columns({"run": ids[run], **first}, columns)


def _with_auto(
    snapshots: Sequence[Snapshot], request: HistoryRequest, untils: Sequence[int] = ()
) -> tuple[Ints, Mapping[str, Array], Mapping[str, Array]]:
    """Return what _series does, with those columns that the original has in every row, where they are asked for."""
    x = {"_step": "step", "_timestamp": "time"}.get(request.x or "", request.x)
    asked = [key for key in request.keys or () if key in _AUTO and not _is_logged(key, snapshots)]
    keys = request.keys
    if asked:
        keys = [key for key in keys or () if key not in asked] or None
    run, first, columns = _series(snapshots, dataclasses.replace(request, x=x, keys=keys), untils)
    if not asked:
        return run, first, columns
    found: dict[str, Array] = {}
    if "step" in first:
        found["_step"] = first["step"]
    if "time" in first:
        begun_s = np.array([created_s(snapshot.record) for snapshot in snapshots])
        found["_timestamp"] = first["time"]
        found["_runtime"] = np.asarray(first["time"], np.float64) - begun_s[run]
    return run, first, {**(columns if keys else {}), **{key: found[key] for key in asked if key in found}}


def _is_logged(key: str, snapshots: Sequence[Snapshot]) -> bool:
    return any(key in block.keys for snapshot in snapshots for block in snapshot.blocks)


def _series(
    snapshots: Sequence[Snapshot], request: HistoryRequest, untils: Sequence[int] = ()
) -> tuple[Ints, Mapping[str, Array], Mapping[str, Array]]:
    """Return the numbers of the runs that rows are of, the first columns, and those of keys."""
    keys = request.keys
    definitions = [definitions_of(members(snapshot.record)) for snapshot in snapshots]
    x = request.x or _step_metric(definitions, keys)
    by_metric = x not in ("step", "time")
    asked = keys if keys is None or not by_metric else [*dict.fromkeys([*keys, x])]
    wide = wide_form(snapshots, asked, request.ranks, superseded=request.superseded, untils=untils)
    if by_metric:
        wide = along_metric(wide, x, fills=any(is_filled(one, x, keys) for one in definitions))
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


def _step_metric(definitions: Sequence[Definitions], keys: Collection[str] | None) -> str:
    """Return over which metric all these keys are drawn; "step" where they do not agree."""
    found = {one.of(key).step_metric for one in definitions for key in keys or ()}
    return (found.pop() if len(found) == 1 else None) or "step"


def is_filled(definitions: Definitions, x: str, keys: Collection[str] | None) -> bool:
    """Say whether rows that lack the metric x get its last value: where any of the keys is defined so."""
    said = definitions.by_name.values() if keys is None else [definitions.of(key) for key in keys]
    return any(one.step_metric == x and one.step_sync for one in said)


def along_metric(wide: Wide, x: str, *, fills: bool) -> Wide:
    """Return the rows that have a number for x, each source's by that; fills: where it lacks, with the one before."""
    wide.keys.setdefault(x, np.full(len(wide.step), np.nan))  # nobody logged it
    values, owner = as_numbers(wide.keys[x]), wide.owner
    missing = np.isnan(values)
    if fills and missing.any():
        before = np.maximum.accumulate(np.where(missing, -1, np.arange(len(values))))
        here = (before >= 0) & (owner[before] == owner)
        wide.keys[x] = values = np.where(here, values[before], np.nan)
    order = np.lexsort((values, owner))
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
