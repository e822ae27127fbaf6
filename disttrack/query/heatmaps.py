"""One metric by rank and time as a picture: a row a rank, a column a stretch of x, and what stands out in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from disttrack.index.chunks import Floats, Ints
from disttrack.index.snapshots import Snapshot
from disttrack.query.alignment import as_numbers
from disttrack.query.layout import laid_out
from disttrack.query.runs import created_s
from disttrack.query.selection import RankChoice
from disttrack.query.wide import wide_form

__all__ = ["CellValue", "HeatMap", "Samples", "heat_map", "rank_samples"]

CellValue = Literal["mean", "max", "min", "last"]


@dataclass(frozen=True)
class Samples:
    """What rows of a heat-map are made of: each [samples], by line and x."""

    lines: list[int]  # the ranks, or numbers of other lines, ascending
    line: Ints  # places in lines
    x: Floats
    y: Floats


@dataclass(frozen=True)
class HeatMap:
    """lines: of each row the first and the last; x: [columns] middles; cells: [rows, columns], NaN where is nothing."""

    lines: list[tuple[int, int]]
    x: Floats
    cells: Floats
    median: Floats  # [columns] of the rows
    argmax: Ints  # [columns] the line with the greatest value; -1 where none stands out
    last_x: list[float | None]  # of each row
    v_min: float
    v_max: float
    v_p01: float
    v_p99: float
    skew_max: float  # the greatest share by which a cell strays from the median of its column


def rank_samples(
    snapshot: Snapshot, key: str | None, ranks: RankChoice, x: str, *, superseded: bool = False
) -> Samples | None:
    """Return what ranks logged as key, or for None the seconds between their rows; None where they logged none.

    x: step, relative (s since the run began) or wall (unix s).
    """
    if key is None:
        layout = laid_out([snapshot], None, ranks, superseded=superseded)
        owners, ends, step = layout.owners, layout.ends, layout.step
        time_s = np.empty(len(step))
        layout.fill_times(time_s)
        y = np.diff(time_s, prepend=np.nan)
        starts = np.append(0, ends[:-1])
        y[starts[starts < len(y)]] = np.nan  # of the first row of each source nobody knows how long it took
        y[y < 0] = np.nan  # a clock was set back
    else:
        wide = wide_form([snapshot], [key], ranks, superseded=superseded)
        owners, ends, step, y = wide.owners, wide.ends, wide.step, as_numbers(wide.keys[key])
        time_s = wide.time if x != "step" else np.zeros(0)
    begun_s = created_s(snapshot.record) if x == "relative" else 0.0
    along: Floats = step.astype(np.float64) if x == "step" else time_s - begun_s
    lines = sorted(set(owners.rank[np.diff(ends, prepend=0) > 0].tolist()))
    line = np.repeat(np.searchsorted(lines, owners.rank), np.diff(ends, prepend=0)).astype(np.int64)
    known = ~np.isnan(y)
    if not known.any():
        return None
    if not known.all():
        line, along, y = line[known], along[known], y[known]
    return Samples(lines, line, along, y)


def heat_map(
    samples: Samples, width: int, height: int, value: CellValue, start: float = -math.inf, end: float = math.inf
) -> HeatMap | None:
    """Return samples as at most height rows and width columns; None where the window [start, end] has none."""
    line, x, y = samples.line, samples.x, samples.y
    if math.isfinite(start) or math.isfinite(end):
        inside = (x >= start) & (x <= end)
        line, x, y = line[inside], x[inside], y[inside]
    if not len(x):
        return None
    low, high = float(x.min()), float(x.max())
    most = x[line == np.bincount(line).argmax()]  # where one line has too many x, to look at all takes half the time
    own = np.unique(x) if len(most) <= width or len(np.unique(most)) <= width else None
    middles: Floats
    if own is not None and len(own) <= width:
        middles = own
        column = np.searchsorted(own, x)
    else:
        columns = width
        scale = columns / (high - low)
        column = np.minimum(((x - low) * scale).astype(np.int64), columns - 1)
        middles = low + (np.arange(columns, dtype=np.float64) + 0.5) / scale
    n = len(middles)
    share = -(-len(samples.lines) // height)  # neighbouring lines in one row
    rows = -(-len(samples.lines) // share)
    cells = _cells((line // share) * n + column, y, rows * n, value).reshape(rows, n)
    median, argmax, skew_max = _across(cells, np.array(samples.lines, np.int64)[::share])
    last = np.full(rows, -np.inf)
    np.maximum.at(last, line // share, x)
    known = cells[np.isfinite(cells)]
    p01, p99 = np.percentile(known, [1, 99]).tolist() if len(known) else (math.nan, math.nan)
    firsts = samples.lines[::share]
    lasts = [samples.lines[min(at + share, len(samples.lines)) - 1] for at in range(0, len(samples.lines), share)]
    return HeatMap(
        lines=list(zip(firsts, lasts, strict=True)),
        x=middles,
        cells=cells,
        median=median,
        argmax=argmax,
        last_x=[None if math.isinf(each) else each for each in last.tolist()],
        v_min=float(known.min()) if len(known) else math.nan,
        v_max=float(known.max()) if len(known) else math.nan,
        v_p01=p01,
        v_p99=p99,
        skew_max=skew_max,
    )


def _cells(place: Ints, y: Floats, size: int, value: CellValue) -> Floats:
    """Return what the samples at each place come to."""
    cells = np.full(size, np.nan)
    if value == "mean":
        count = np.bincount(place, minlength=size)
        there = count > 0
        cells[there] = np.bincount(place, y, size)[there] / count[there]
        return cells
    if (place[1:] < place[:-1]).any():
        order = np.argsort(place, kind="stable")
        place, y = place[order], y[order]
    starts = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
    if value == "last":
        cells[place[starts]] = y[np.append(starts[1:], len(y)) - 1]
    else:
        cells[place[starts]] = (np.maximum if value == "max" else np.minimum).reduceat(y, starts)
    return cells


def _across(cells: Floats, lines: Ints) -> tuple[Floats, Ints, float]:
    """Return of each column the median and the line of its greatest value, and how far any cell strays."""
    ascending = np.sort(cells, axis=0)  # NaN last
    count = np.count_nonzero(~np.isnan(cells), axis=0)
    columns = np.arange(len(count))
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 0) // 2
    with np.errstate(invalid="ignore"):
        median = (ascending[low, columns] + ascending[np.minimum(high, np.maximum(count - 1, 0)), columns]) / 2
    greatest = ascending[np.maximum(count - 1, 0), columns]
    stands_out = (count > 1) & (greatest > ascending[0])
    argmax = np.full(cells.shape[1], -1, np.int64)
    if stands_out.any():
        argmax[stands_out] = lines[np.nanargmax(cells[:, stands_out], axis=0)]
    with np.errstate(invalid="ignore", divide="ignore"):
        strays = np.abs(cells - median) / np.abs(median)
    strays = strays[np.isfinite(strays)]
    return median, argmax, float(strays.max()) if len(strays) else 0.0
