"""disttrack.Api: runs and their series, from a script or a notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, overload

import numpy as np

from disttrack.errors import RunNotFound
from disttrack.index.queries import Vanished
from disttrack.query.alignment import RankAggregate
from disttrack.query.edits import delete_run, edit_run, new_edit, restore_run
from disttrack.query.finding import check_search, find_runs
from disttrack.query.frames import FrameKind, as_frame
from disttrack.query.listing import run_table
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, detail_of
from disttrack.query.selection import RankChoice
from disttrack.query.series import check_request, joined, series_of
from disttrack.query.statistics import KeySummary, summary_of
from disttrack.query.subjects import Subject
from disttrack.query.wide import Array, as_columns
from disttrack.settings import root_of

__all__ = ["Api", "RunView", "Runs"]


class Api:
    """Reads the runs below a directory; every call sees what was logged up to then.

    May be used by several threads. A with statement, or close(), lets go of the index; so does forgetting the Api.
    """

    def __init__(self, dir: str | os.PathLike[str] | None = None) -> None:
        """dir: where `disttrack-runs` lies; default DISTTRACK_DIR, else the current directory."""
        self._reader = Reader(root_of(dir))

    def runs(self, project: str | None = None, filters: str | None = None, order: str | None = None) -> Runs:
        """Return all runs, or those of one project, that pass the filters: newest first, or in the order of a field.

        filters: as `state:finished loss<1 lr:3e-4 -tag:bad` (docs/filters.md). order: a field, as "loss"; "-loss" for
        the greatest first. They are looked for once, when the first of them is asked for.
        Raises FilterError where filters or order cannot be read.
        """
        wanted = filters or ""
        check_search(wanted, order)
        return Runs(self._reader, lambda: find_runs(self._reader, project, wanted, order))

    def run(self, id: str) -> RunView:
        """Return the run that answers to `id` or `project/id`; raise RunNotFound where none or several do."""
        return _view(self._reader, Subject(self._reader.snapshot(id).record, Observer.here(self._reader.root)))

    def restore(self, id: str) -> RunView:
        """Undo the deletion of a run; raise RunNotFound where no such run was deleted."""
        return self.run(restore_run(self._reader.root, id))

    def close(self) -> None:
        """Let go of the index; nothing may be asked afterwards."""
        self._reader.close()

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class RunView(RunDetail):
    """A run as it was when it was asked for."""

    _reader: Reader = field(repr=False, compare=False)

    @overload
    def history(
        self,
        keys: Collection[str] | None = None,
        ranks: RankChoice = "all",
        x: str = "step",
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
        x: str = "step",
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
        x: str = "step",
        rank_agg: RankAggregate | None = None,
        points: int | None = None,
        superseded: bool = False,
        as_: FrameKind = "numpy",
    ) -> Any:
        """Return what was logged so far as columns: rank, attempt, step, time (unix s), and one for each key.

        keys: None for all. ranks: "all", "primary" (the lowest that joined) or a sequence of ranks.
        x: what each rank's rows are ordered by: "step", "time", or a metric, whose missing rows are left out.
        rank_agg: one row for each x instead of one for each rank too: the columns are x, `ranks` (how many have a row
        there), and for each key that has numbers the "mean" over ranks under its own name, or its "minmax" as key_min
        and key_max, or its "quantiles" as key_p05, key_p50 and key_p95. Missing values and NaN are left out.
        points: None for all rows; else only those that a chart needs: at most so many of each rank for each key, with
        the extremes of equal parts, the first and the last.
        superseded: also the rows that a later attempt has gone over again.
        as_: "numpy" (a dict of arrays), or where these are installed "pandas", "polars" or "arrow" (a Table).

        A column is float64 with NaN where a key is missing, int64 where all are ints, else object with None. A key that
        is named like one of the first columns has "_logged" after its name. Raises RunNotFound where the run is gone,
        UsageError where it cannot be asked for like this.
        """
        check_request(ranks, x, rank_agg, points)
        wanted = f"{self.project}/{self.id}"
        try:
            snapshot = self._reader.snapshot(wanted)
            return as_frame(series_of(snapshot, keys, ranks, x, rank_agg, points, superseded), as_)
        except Vanished:
            raise RunNotFound(wanted, self._reader.root) from None

    def summary_of(self, key: str, ranks: RankChoice = None) -> KeySummary | None:
        """Return the count, first, last, min, max and mean of the numbers logged as key; None where there is none.

        ranks: None for the lowest rank that logged it, as in `summary`; else as for history. Superseded rows are
        left out. Raises RunNotFound where the run is gone.
        """
        wanted = f"{self.project}/{self.id}"
        try:
            return summary_of(self._reader.snapshot(wanted), key, ranks)
        except Vanished:
            raise RunNotFound(wanted, self._reader.root) from None

    def edit(
        self,
        *,
        name: str | None = None,
        notes: str | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        archived: bool | None = None,
    ) -> RunView:
        """Change what the run is called, and return it as it is then. It beats the program's word from then on.

        None leaves a field as it is; notes="" clears them. archived: out of lists, or back into them.
        """
        change = new_edit(
            name=name, notes=notes, add_tags=tuple(add_tags), remove_tags=tuple(remove_tags), archived=archived
        )
        wanted = f"{self.project}/{self.id}"
        edit_run(self._reader.root, wanted, change)
        return _view(self._reader, Subject(self._reader.snapshot(wanted).record, Observer.here(self._reader.root)))

    def delete(self) -> None:
        """Delete the run (Api.restore undoes it); raise UsageError while it is still running."""
        delete_run(self._reader.root, f"{self.project}/{self.id}", do=True)


class Runs(Sequence[RunView]):
    """Runs in their order: found once, when they are first asked for; each is looked into when it is."""

    def __init__(self, reader: Reader, find: Callable[[], Sequence[Subject]]) -> None:
        self._reader = reader
        self._find = find

    @cached_property
    def _found(self) -> Sequence[Subject]:
        return self._find()

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> RunView: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> RunView | Runs:
        if isinstance(index, slice):
            return Runs(self._reader, lambda: self._found[index])
        return _view(self._reader, self._found[index])

    def __iter__(self) -> Iterator[RunView]:
        return (_view(self._reader, run) for run in self._found)

    def __repr__(self) -> str:
        return f"<{len(self)} runs in {self._reader.root}>"

    @overload
    def table(self, as_: Literal["numpy"] = "numpy") -> dict[str, Array]: ...
    @overload
    def table(self, as_: FrameKind) -> Any: ...  # noqa: ANN401 - other libraries' types
    def table(self, as_: FrameKind = "numpy") -> Any:
        """Return a row for each run: its fields, then config.KEY and summary.KEY for each key that any of them has.

        as_: as for RunView.history.
        """
        return as_frame(run_table(self._found), as_)

    @overload
    def history(
        self,
        keys: Collection[str] | None = None,
        ranks: RankChoice = "all",
        x: str = "step",
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
        x: str = "step",
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
        x: str = "step",
        rank_agg: RankAggregate | None = None,
        points: int | None = None,
        superseded: bool = False,
        as_: FrameKind = "numpy",
    ) -> Any:
        """Return the histories of all these runs below each other, with the run's id as first column, `run`.

        Arguments as for RunView.history; runs that are gone meanwhile are left out.
        """
        check_request(ranks, x, rank_agg, points)
        self._reader.catch_up()
        tables: list[dict[str, Array]] = []
        for run in self._found:
            try:
                snapshot = self._reader.snapshot_of(run.record)
                table = series_of(snapshot, keys, ranks, x, rank_agg, points, superseded)
            except Vanished:
                continue
            ids = np.full(len(next(iter(table.values()))), run.record.run_id, np.object_)
            tables.append(as_columns({"run": ids}, table))
        return as_frame(joined(tables), as_)


def _view(reader: Reader, run: Subject) -> RunView:
    return RunView(**vars(detail_of(run.record, Observer.here(reader.root))), _reader=reader)
