"""What one metric of many runs comes to, for columns such as min(loss) of a table of 10,000 runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from disttrack.index.facets import Facet, as_list
from disttrack.query.reader import Reader

__all__ = ["Reduced", "simply_reduced"]

_ATTEMPT: Facet = ("run", "attempt")


class Reduced(NamedTuple):
    """The same of query.statistics.KeySummary."""

    min: float
    max: float
    mean: float
    last: float


def simply_reduced(reader: Reader, key: str, runs: Sequence[int]) -> dict[int, Reduced | None]:
    """Return by the numbers of runs what summary_of says of a key, where nothing of it needs to be sorted out.

    That is in runs that never logged it, and in those of one attempt, of which no row is superseded, where one source
    alone logged it. Whether that speaks for a rank, and not for a node, their summaries tell. 10,000 runs of 100 rows:
    0.7 s of processor time instead of 2.5.
    """
    summary: Facet = ("summary", key)
    columns = reader.facets([_ATTEMPT, summary], runs)
    attempts = columns.facets[_ATTEMPT]
    once = {run for run, attempt in zip(attempts.runs.tolist(), as_list(attempts.values), strict=True) if attempt == 0}
    once &= set(columns.facets[summary].runs.tolist())
    columns_of = reader.sole_columns(key, runs)
    reduced: dict[int, Reduced | None] = {run: None for run, pieces in columns_of.items() if not pieces}
    pieces = {run: mine for run, mine in columns_of.items() if mine and run in once}
    if not pieces:
        return reduced
    values = np.concatenate([np.asarray(piece, np.float64) for mine in pieces.values() for piece in mine])
    ends = np.cumsum([sum(map(len, mine)) for mine in pieces.values()])
    starts = np.append(0, ends[:-1])
    missing = np.isnan(values)
    known = np.add.reduceat(~missing, starts, dtype=np.int64)
    with np.errstate(invalid="ignore"):  # both infinities, or NaN alone
        means = np.add.reduceat(np.where(missing, 0.0, values), starts) / np.where(known, known, np.nan)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    figures = zip(low.tolist(), high.tolist(), means.tolist(), values[ends - 1].tolist(), strict=True)
    return reduced | dict(zip(pieces, map(Reduced._make, figures), strict=True))
