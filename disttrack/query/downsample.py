"""Fewer points for a chart, with every peak kept: the extremes of equal parts of a series."""

from __future__ import annotations

import numpy as np

from disttrack.index.chunks import Floats, Ints

__all__ = ["kept"]


def kept(values: Floats, points: int) -> Ints:
    """Return which values of a series to draw, ascending: at most `points` of them, at least two where there are two.

    They are the first, the last, and the least and the greatest of each of (points - 2) // 2 parts of equal length
    (the last may be shorter), the earliest where several are equal. No value may be NaN.
    Source: min/max buckets by reshaping, as fast as any library's.
    """
    n = len(values)
    if n <= max(points, 2):
        return np.arange(n)
    parts = (points - 2) // 2
    size = -(-n // max(parts, 1))
    whole = n - n % size if parts else n
    found = [np.array([0, n - 1], np.int64)]
    for best in (np.argmin, np.argmax) if parts else ():
        table = values[:whole].reshape(-1, size)
        found.append(best(table, axis=1) + np.arange(len(table)) * size)
        if whole < n:
            found.append(whole + best(values[whole:], keepdims=True))
    return np.unique(np.concatenate(found)).astype(np.int64)
