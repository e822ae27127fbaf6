"""What a chart of so many pixels shows of a series of any length: of each bucket the least, greatest, mean and last.

In: points by ascending x. Out: arrays on one x-axis that all lines of the chart share. No point is sampled at random:
each lies within its bucket's extremes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from disttrack.index.chunks import Floats, Ints

__all__ = ["Bucketed", "Extent", "Grid", "Points", "bucketed", "extent_of", "grid_of", "smoothed"]

VIEWPORT = 1_000.0
"""Units that the whole of x is long when points are smoothed, so that a weight means the same for any x.
Source: wandb's time-weighted exponential moving average (facts/ui.md)."""
_EXPONENTS = 300.0  # e to this is far from the ends of float64
_ENOUGH = 1 << 16  # points whose percentiles are those of all, for the range of a y-axis


@dataclass(frozen=True)
class Points:
    """One line: x ascending, y beside it; neither has NaN in x, y may."""

    x: Floats
    y: Floats

    def within(self, start: float, end: float) -> Points:
        """Return the points of a window, both ends included."""
        first, last = np.searchsorted(self.x, [start, np.nextafter(end, math.inf)])
        return Points(self.x[first:last], self.y[first:last])


@dataclass(frozen=True)
class Grid:
    """The x that all lines of a chart share: those that were logged, or the middles of buckets."""

    x: Floats  # [places]
    edges: Floats | None  # [buckets + 1]; None: x are the logged ones
    kept: Ints | None = None  # [places] which buckets have a point of any line; None: exact


@dataclass(frozen=True)
class Bucketed:
    """One line on a grid, each [places], NaN where it has no point; of an exact grid only last."""

    last: Floats
    min: Floats | None = None
    max: Floats | None = None
    mean: Floats | None = None
    smooth: Floats | None = None


@dataclass(frozen=True)
class Extent:
    """How far all points of a chart reach; p01 and p99: 98 % of them lie between, above and below count the others."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float
    y_p01: float
    y_p99: float
    above: int
    below: int


def extent_of(lines: Sequence[Points]) -> Extent | None:
    """Return the extent of lines; None where no line has a finite point."""
    ys = [line.y for line in lines if len(line.y)]
    if not ys:
        return None
    stride = max(1, sum(map(len, ys)) // _ENOUGH)
    sample = np.concatenate([y[::stride] for y in ys])
    sample = sample[np.isfinite(sample)]
    finite = [y if np.isfinite(y).all() else y[np.isfinite(y)] for y in ys]
    finite = [y for y in finite if len(y)]
    xs = [line.x for line in lines if len(line.x)]
    x_min, x_max = min(float(x[0]) for x in xs), max(float(x[-1]) for x in xs)
    if not finite:
        return Extent(x_min, x_max, math.nan, math.nan, math.nan, math.nan, 0, 0)
    y_min, y_max = min(float(y.min()) for y in finite), max(float(y.max()) for y in finite)
    p01, p99 = np.percentile(sample, [1, 99]).tolist() if len(sample) else (y_min, y_max)
    above = sum(int(np.count_nonzero(y > p99)) for y in finite)
    below = sum(int(np.count_nonzero(y < p01)) for y in finite)
    return Extent(x_min, x_max, y_min, y_max, p01, p99, above, below)


def grid_of(lines: Sequence[Points], buckets: int, *, log: bool = False) -> Grid:
    """Return the x that lines share: their own where these are at most so many, else the middles of buckets.

    log: buckets whose ends have one ratio, where all x are above 0.
    """
    xs = [line.x for line in lines if len(line.x)]
    if not xs:
        return Grid(np.zeros(0), None)
    if max(map(len, xs)) <= buckets:  # a line with as many x of its own would not fit
        own = np.unique(np.concatenate(xs))
        if len(own) <= buckets and all((x[1:] > x[:-1]).all() for x in xs):
            return Grid(own, None)
    low, high = min(float(x[0]) for x in xs), max(float(x[-1]) for x in xs)
    if not high > low:
        return Grid(np.array([low]), np.array([low, np.nextafter(high, math.inf)]), np.zeros(1, np.int64))
    edges = np.geomspace(low, high, buckets + 1) if log and low > 0 else np.linspace(low, high, buckets + 1)
    edges[0], edges[-1] = low, np.nextafter(high, math.inf)
    filled = np.zeros(buckets, bool)
    for x in xs:
        filled |= np.diff(np.searchsorted(x, edges)) > 0
    kept = np.flatnonzero(filled).astype(np.int64)
    middles = np.sqrt(edges[1:] * edges[:-1]) if log and low > 0 else (edges[1:] + edges[:-1]) / 2
    return Grid(middles[kept], edges, kept)


def bucketed(line: Points, grid: Grid, smooth: Floats | None = None) -> Bucketed:
    """Return a line on a grid; smooth: its smoothed values, beside its points."""
    if grid.edges is None or grid.kept is None:
        at = np.searchsorted(grid.x, line.x)
        return Bucketed(_spread(line.y, at, len(grid.x)), smooth=_placed(smooth, at, len(grid.x)))
    n = len(grid.kept)
    nan = np.isnan(line.y)
    known = line if not nan.any() else Points(line.x[~nan], line.y[~nan])
    if smooth is not None and known is not line:
        smooth = smooth[~nan]
    bounds = np.searchsorted(known.x, grid.edges)
    starts, ends = bounds[:-1][grid.kept], bounds[1:][grid.kept]
    there = np.flatnonzero(ends > starts)
    if not len(there):
        nothing = np.full(n, np.nan)
        return Bucketed(nothing, nothing, nothing, nothing, None if smooth is None else nothing)
    first = starts[there]
    y = known.y
    with np.errstate(invalid="ignore"):  # both infinities
        sums = np.add.reduceat(y, first)
        return Bucketed(
            _spread(y[ends[there] - 1], there, n),
            _spread(np.minimum.reduceat(y, first), there, n),
            _spread(np.maximum.reduceat(y, first), there, n),
            _spread(sums / (ends[there] - first), there, n),
            None if smooth is None else _spread(smooth[ends[there] - 1], there, n),
        )


def _placed(values: Floats | None, at: Ints, n: int) -> Floats | None:
    return None if values is None else _spread(values, at, n)


def _spread(values: Floats, at: Ints, n: int) -> Floats:
    spread = np.full(n, np.nan)
    spread[at] = values
    return spread


def smoothed(line: Points, weight: float) -> Floats:
    """Return the time-weighted exponential moving average of a line, NaN where y is.

    y'(i) is the mean of all y(j), j <= i, each weighing w^((x(i) - x(j)) * VIEWPORT / span), where w is the square root
    of weight, at most 0.999. weight: from 0 (none) to below 1. Source: wandb's formula; here without its loop, by sums
    of blocks whose exponents stay small.
    """
    found = np.full(len(line.y), np.nan)
    known = np.flatnonzero(np.isfinite(line.y))
    if not len(known) or weight <= 0:
        found[known] = line.y[known]
        return found
    x, y = line.x[known], line.y[known]
    span = float(x[-1] - x[0])
    rate = -math.log(min(math.sqrt(weight), 0.999)) * VIEWPORT / span if span > 0 else 0.0
    exponents = (x - x[0]) * rate
    result = np.empty(len(y))
    sum_y = sum_w = 0.0  # as of the block's first x
    first = 0
    while first < len(y):
        until = float(exponents[first]) + _EXPONENTS
        end = max(first + 1, int(np.searchsorted(exponents, until, side="right")))
        grown = np.exp(exponents[first:end] - exponents[first])
        total_y, total_w = sum_y + np.cumsum(y[first:end] * grown), sum_w + np.cumsum(grown)
        result[first:end] = total_y / total_w
        if end < len(y):
            decay = math.exp(-min(float(exponents[end] - exponents[first]), 700.0))
            sum_y, sum_w = float(total_y[-1]) * decay, float(total_w[-1]) * decay
        first = end
    found[known] = result
    return found
