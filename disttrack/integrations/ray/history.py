"""Histories of many runs as a ray.data.Dataset, read in parallel by run: read_history()."""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import ray.data
from ray.data import Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from disttrack.errors import UsageError
from disttrack.query.scan import Scan, ScannedRun, plan_scan, read_scan
from disttrack.query.selection import RankChoice
from disttrack.settings import root_of

__all__ = ["read_history"]


def read_history(
    project_or_dir: str | os.PathLike[str] | None = None,
    keys: Collection[str] | None = None,
    ranks: RankChoice = "all",
    *,
    dir: str | os.PathLike[str] | None = None,
    filters: str = "",
    config: Collection[str] = (),
    superseded: bool = False,
    **read_args: Any,
) -> Dataset:
    """Return what many runs logged as a Dataset: a row for each run, rank, attempt and step, a column for each key.

    project_or_dir: a project's name, or a directory where `disttrack-runs` lies, for all projects in it: a path object,
    or text with a slash in it. Default: all that lies in the default directory. dir: where the project lies.
    keys: only these; None for all. ranks: "all", "primary", or some, as [0, 3]. superseded: also the rows that a later
    attempt has gone over again. filters: only runs that pass, as `state:finished config.lr<1` (docs/filters.md).
    config: keys of the runs' config to have as columns `config.KEY`, to group by.
    read_args: as for ray.data.read_datasource: override_num_blocks, concurrency, num_cpus, ...

    The columns are project, run, rank, attempt, step, time (unix s), those of config, and the keys: int64, bool or
    double where all runs' values are that, else text. What was not logged is null; a NaN that was logged is NaN.

    Which runs and which columns there are is found out now, by the index of this host; the rows are read where the
    tasks run. On this host they take them from the same index, on others from the runs' logs, so the directory has to
    have the same path everywhere. Small runs are read many to a task; one run is never split.
    Raises UsageError or FilterError where it cannot be asked like this.
    """
    project, directory = _place(project_or_dir, dir)
    scan = plan_scan(root_of(directory), project, filters, keys, ranks, config=config, superseded=superseded)
    reads: Any = ray.data  # its signature is not fully typed
    dataset: Dataset = reads.read_datasource(HistoryDatasource(scan), **read_args)
    return dataset


def _place(
    project_or_dir: str | os.PathLike[str] | None, dir: str | os.PathLike[str] | None
) -> tuple[str | None, str | os.PathLike[str] | None]:
    """Return the project and the directory that are meant."""
    if project_or_dir is None:
        return None, dir
    is_path = not isinstance(project_or_dir, str) or os.sep in project_or_dir or project_or_dir in (".", "..")
    if dir is None:
        return (None, project_or_dir) if is_path else (str(project_or_dir), None)
    if not isinstance(project_or_dir, str):
        raise UsageError(
            f"read_history({project_or_dir!r}, dir={dir!r})",
            "both are directories",
            "Name the project, or leave one of them out.",
        )
    return project_or_dir, dir


class HistoryDatasource(Datasource):
    """What ray.data asks of a source: how large it is, and tasks that read it."""

    def __init__(self, scan: Scan) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # ray annotates not all of it
        self._scan = scan
        self._schema = scan.schema()

    def get_name(self) -> str:
        """Return what the tasks are called in Ray's dashboard."""
        return "History"

    def estimate_inmemory_data_size(self) -> int:
        """Return about how many bytes all rows take."""
        return self._scan.size_bytes

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """Return at most so many tasks, each with runs that follow each other, and about as many rows in each."""
        return [self._task(runs, per_task_row_limit) for runs in _shares(self._scan.runs, parallelism)]

    def _task(self, runs: Sequence[ScannedRun], row_limit: int | None) -> ReadTask:
        scan = self._scan.of(runs)
        known: dict[str, Any] = {"size_bytes": scan.size_bytes, "schema": self._schema, "per_task_row_limit": row_limit}
        # Which of them takes what has changed several times since Ray 2.9.
        described = {name: known.get(name) for name in _parameters(BlockMetadata)}
        others = {name: known[name] for name in _parameters(ReadTask) if name in known}
        return ReadTask(partial(read_scan, scan), BlockMetadata(**described), **others)


def _parameters(of: type) -> Iterable[str]:
    return inspect.signature(of).parameters


def _shares(runs: Sequence[ScannedRun], count: int) -> Iterable[Sequence[ScannedRun]]:
    """Cut runs into at most so many pieces of about as many rows."""
    ends = list(accumulate(run.rows + 1 for run in runs))  # an empty run costs a look, too
    shares: dict[int, list[ScannedRun]] = {}
    for run, end in zip(runs, ends, strict=True):
        middle = end - (run.rows + 1) / 2
        shares.setdefault(int(middle * count / ends[-1]), []).append(run)
    return shares.values()
