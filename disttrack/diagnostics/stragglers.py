"""Which rank strays from the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["RankSkew", "skew"]


class RankSkew(NamedTuple):
    """One rank's samples against those of all: skew 1.3 is 30 % above the median rank."""

    median: float
    p95: float
    skew: float


def skew(samples: Mapping[int, NDArray[np.float64]]) -> dict[int, RankSkew]:
    """Return median, 95th percentile and skew of each rank that has a sample; NaN samples count as none.

    samples: by rank, in any unit and of any length. The skew is the rank's median divided by the median of the
    ranks' medians, each rank weighing the same: one slow rank of many moves neither (facts/ui.md has the
    difference instead, (rank - median) / median, which is this less 1). Where that median is negative the
    quotient would turn round, so it is 1 + difference / |median|: more is always above 1.
    """
    known = {rank: values[~np.isnan(values)] for rank, values in samples.items()}
    alike: dict[int, list[int]] = {}  # ranks by how many samples they have: those of one number are reduced at once
    for rank, values in known.items():
        if len(values):
            alike.setdefault(len(values), []).append(rank)
    figures: dict[int, tuple[float, float]] = {}
    with np.errstate(invalid="ignore"):  # between two infinities the percentile is NaN
        for ranks in alike.values():
            table = np.stack([known[rank] for rank in ranks])
            medians, p95s = np.median(table, axis=1), np.percentile(table, 95, axis=1)
            figures.update(zip(ranks, zip(medians.tolist(), p95s.tolist(), strict=True), strict=True))
        center = float(np.median([median for median, _ in figures.values()])) if figures else math.nan
    return {rank: RankSkew(*figures[rank], _against(center, figures[rank][0])) for rank in samples if rank in figures}


def _against(center: float, median: float) -> float:
    if median == center:
        return 1.0
    if center == 0:
        return math.copysign(math.inf, median)
    return median / center if center > 0 else 1 + (median - center) / abs(center)
