"""What charts show of a series: every bucket's extremes, no matter how long the series, on one x for all lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.index.chunks import Floats
from disttrack.query.charts import Points, bucketed, extent_of, grid_of, smoothed

NUMBERS = st.floats(-1e6, 1e6) | st.just(math.nan)
LINES = st.lists(
    st.lists(st.tuples(st.integers(0, 200), NUMBERS), max_size=60).map(
        lambda pairs: sorted(pairs, key=lambda one: one[0])
    ),
    min_size=1,
    max_size=4,
)


def points(pairs: list[tuple[int, float]]) -> Points:
    return Points(np.array([x for x, _ in pairs], np.float64), np.array([y for _, y in pairs], np.float64))


@given(lines=LINES, buckets=st.integers(2, 50), log=st.booleans())
def test_every_point_lies_within_the_extremes_of_its_bucket(
    lines: list[list[tuple[int, float]]], buckets: int, log: bool
) -> None:
    given_points = [points(line) for line in lines]
    grid = grid_of(given_points, buckets, log=log)
    assert len(grid.x) <= buckets
    assert (np.diff(grid.x) > 0).all()
    for line in given_points:
        found = bucketed(line, grid)
        known = ~np.isnan(line.y)
        if grid.edges is None:  # exact: what was logged, where it was logged
            at = np.searchsorted(grid.x, line.x)
            assert (grid.x[at] == line.x).all()
            assert np.array_equal(found.last[at], line.y, equal_nan=True)
            assert found.min is found.max is found.mean is None
            continue
        assert found.min is not None
        assert found.max is not None
        assert found.mean is not None
        bucket = np.searchsorted(grid.edges, line.x, side="right") - 1
        for place, number in enumerate(grid.kept.tolist() if grid.kept is not None else []):
            mine = line.y[known & (bucket == number)]
            if not len(mine):
                assert np.isnan([found.last[place], found.min[place], found.max[place], found.mean[place]]).all()
                continue
            assert (found.min[place], found.max[place], found.last[place]) == (mine.min(), mine.max(), mine[-1])
            assert found.mean[place] == pytest.approx(mine.mean(), rel=1e-9, abs=1e-9)


@given(
    line=st.lists(st.tuples(st.integers(0, 200), NUMBERS), min_size=1, max_size=60).map(sorted),
    weight=st.floats(0.01, 0.99),
)
def test_smoothing_is_the_formula_it_names(line: list[tuple[int, float]], weight: float) -> None:
    given_points = points(line)
    found = smoothed(given_points, weight)
    known = np.flatnonzero(~np.isnan(given_points.y))
    span = given_points.x[known[-1]] - given_points.x[known[0]] if len(known) else 0.0
    y = debias = 0.0
    last_x: float | None = None
    for at in known.tolist():  # wandb's loop
        x = float(given_points.x[at])
        by = min(math.sqrt(weight), 0.999) ** ((x - (x if last_x is None else last_x)) / span * 1_000) if span else 1.0
        y, debias, last_x = y * by + given_points.y[at], debias * by + 1, x
        assert found[at] == pytest.approx(y / debias, rel=1e-6, abs=1e-3)
    assert (np.isnan(found) == np.isnan(given_points.y)).all()


def test_one_spike_in_a_million_points_is_seen_and_counted() -> None:
    y: Floats = np.sin(np.arange(1_000_000) / 1e5)
    y[617_000] = 1e9
    line = Points(np.arange(1_000_000, dtype=np.float64), y)
    found = bucketed(line, grid_of([line], 600))
    assert found.max is not None
    assert np.nanmax(found.max) == 1e9
    extent = extent_of([line])
    assert extent is not None
    assert (extent.y_max, extent.above > 0) == (1e9, True)
    assert extent.y_p99 <= 1.0  # the spike does not set the scale


def test_windows_hold_both_their_ends() -> None:
    line = points([(step, float(step)) for step in range(10)])
    assert line.within(3, 5).x.tolist() == [3, 4, 5]
    assert line.within(-math.inf, math.inf).x.tolist() == list(range(10))
