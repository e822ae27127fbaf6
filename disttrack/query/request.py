"""What a history is asked for with: the same for one run and for many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, overload

from disttrack.errors import UsageError
from disttrack.query.alignment import AGGREGATES, RankAggregate
from disttrack.query.frames import FrameKind, as_frame
from disttrack.query.selection import RankChoice
from disttrack.query.wide import Array

__all__ = ["HistoryRequest", "WithHistory"]


@dataclass(frozen=True)
class HistoryRequest:
    """The arguments of WithHistory.history; raises UsageError where it cannot be asked like this."""

    keys: Collection[str] | None = None
    ranks: RankChoice = "all"
    x: str | None = None
    rank_agg: RankAggregate | None = None
    points: int | None = None
    superseded: bool = False

    def __post_init__(self) -> None:
        given: Any = self  # what a notebook hands in need not be of these types
        if isinstance(self.ranks, str) and self.ranks not in ("all", "primary"):
            raise UsageError(
                f"ranks={self.ranks!r}", "there is no such choice", 'Use "all", "primary" or ranks, as [0, 3].'
            )
        if given.x is not None and (not isinstance(given.x, str) or not given.x):
            raise UsageError(f"x={self.x!r}", "it names no column", 'Use "step", "time" or a metric.')
        if self.rank_agg is not None and self.rank_agg not in AGGREGATES:
            raise UsageError(
                f"rank_agg={self.rank_agg!r}", "there is no such aggregate", f"Use None or one of {AGGREGATES}."
            )
        if self.rank_agg is not None and self.x == "time":
            raise UsageError(
                f"rank_agg={self.rank_agg!r} with x='time'",
                "no two ranks log at the same microsecond, so there is nothing to lay over each other",
                "Use x='step' or a metric that ranks share, such as an epoch.",
            )
        if given.points is not None and (not isinstance(given.points, int) or given.points < 2):
            raise UsageError(
                f"points={self.points!r}", "a series keeps at least its first and its last", "Use 2 or more."
            )


class WithHistory(ABC):
    """Whatever has a history: a run, or many."""

    @overload
    def history(
        self,
        keys: Collection[str] | None = None,
        ranks: RankChoice = "all",
        x: str | None = None,
        rank_agg: RankAggregate | None = None,
        points: int | None = None,
        superseded: bool = False,
        as_: Literal["numpy"] = "numpy",
    ) -> dict[str, Array]: ...
    @overload
    def history(
        self,
        keys: Collection[str] | None = None,
        ranks: RankChoice = "all",
        x: str | None = None,
        rank_agg: RankAggregate | None = None,
        points: int | None = None,
        superseded: bool = False,
        *,
        as_: FrameKind,
    ) -> Any: ...  # noqa: ANN401 - other libraries' types
    def history(
        self,
        keys: Collection[str] | None = None,
        ranks: RankChoice = "all",
        x: str | None = None,
        rank_agg: RankAggregate | None = None,
        points: int | None = None,
        superseded: bool = False,
        as_: FrameKind = "numpy",
    ) -> Any:
        """Return what was logged so far as columns: rank, attempt, step, time (unix s), and one for each key.

        Of many runs: their histories below each other, with the run's id as first column, `run`.

        keys: None for all; `_step`, `_timestamp` and `_runtime` (s since the run began) may be among them.
        ranks: "all", "primary" (the lowest that joined) or a sequence of ranks.
        x: what each rank's rows are ordered by: "step", "time", or a metric, whose missing rows are left out; where it
        was defined with step_sync they get its last value before them. Default: the step_metric on which the
        definitions of all these keys agree, else "step".
        rank_agg: one row for each x instead of one for each rank too: the columns are x, `ranks` (how many have a row
        there), and for each key that has numbers the "mean" over ranks under its own name, or its "minmax" as key_min
        and key_max, or its "quantiles" as key_p05, key_p50 and key_p95. Missing values and NaN are left out.
        points: None for all rows; else only those that a chart needs: at most so many of each rank for each key, with
        the extremes of equal parts, the first and the last.
        superseded: also the rows that a later attempt has gone over again.
        as_: "numpy" (a dict of arrays), or where these are installed "pandas", "polars" or "arrow" (a Table).

        A column is float64 with NaN where a key is missing, int64 where all are ints, else object with None. A key that
        is named like one of the first columns has "_logged" after its name. Raises UsageError where it cannot be asked
        for like this, and RunNotFound where the run is gone; of many runs, those that are gone are left out.
        """
        return as_frame(self._columns(HistoryRequest(keys, ranks, x, rank_agg, points, superseded)), as_)

    @abstractmethod
    def _columns(self, request: HistoryRequest) -> dict[str, Array]:
        """Return a history as columns."""
