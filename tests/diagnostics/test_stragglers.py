"""How far each rank strays from the median rank."""

from __future__ import annotations

import math

import numpy as np
import pytest

from disttrack.diagnostics.stragglers import RankSkew, skew


def test_a_slow_rank_stands_out_and_does_not_move_the_others() -> None:
    times = {rank: np.full(100, 0.1) for rank in range(8)}
    times[5] = np.full(100, 0.13)
    found = skew(times)
    assert found[5].median == 0.13
    assert found[5].skew == pytest.approx(1.3)
    assert all(found[rank].skew == 1.0 for rank in range(8) if rank != 5)


def test_the_95th_percentile_shows_what_the_median_hides() -> None:
    found = skew({0: np.array([1.0] * 90 + [9.0] * 10)})
    assert (found[0].median, found[0].p95, found[0].skew) == (1.0, 9.0, 1.0)


def test_ranks_without_samples_are_left_out() -> None:
    assert skew({}) == {}
    found = skew({0: np.array([]), 1: np.array([math.nan]), 2: np.array([math.nan, 4.0])})
    assert found == {2: RankSkew(4.0, 4.0, 1.0)}


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        ([0.0, 0.0, 2.0], [1.0, 1.0, math.inf]),
        ([-1.0, 0.0, 0.0], [-math.inf, 1.0, 1.0]),
        ([-2.0, -2.0, -1.0, -3.0], [1.0, 1.0, 1.5, 0.5]),
        ([math.inf, 1.0, 1.0], [math.inf, 1.0, 1.0]),
    ],
)
def test_more_than_the_median_rank_is_above_1_whatever_its_sign(medians: list[float], expected: list[float]) -> None:
    found = skew({rank: np.array([median]) for rank, median in enumerate(medians)})
    assert [figures.skew for figures in found.values()] == expected


def test_infinite_samples_are_no_error() -> None:
    found = skew({0: np.array([-math.inf, math.inf]), 1: np.array([math.inf])})
    assert found[1].median == math.inf
