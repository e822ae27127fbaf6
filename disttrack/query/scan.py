"""The histories of many runs as Arrow tables of one schema: planned in one place, read in many.

In: a root, and which runs and keys. Out: a Scan, which may be pickled and carried to other hosts; there, tables. Where
the index that the plan was made from lies on the reader's host, it is read; else the logs themselves are decoded.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disttrack.environments.host import boot_id
from disttrack.errors import UsageError
from disttrack.index.indexer import Index, IndexFile
from disttrack.index.logs import read_log
from disttrack.index.queries import RunRecord, Vanished
from disttrack.index.snapshots import Snapshot
from disttrack.query.arrow import ColumnType, arrow_array, arrow_schema, pyarrow, type_of_kinds, utf8
from disttrack.query.finding import find_runs
from disttrack.query.layout import Layout
from disttrack.query.reader import Reader
from disttrack.query.request import HistoryRequest
from disttrack.query.selection import RankChoice
from disttrack.query.subjects import Subject
from disttrack.query.wide import wide_form

__all__ = ["Scan", "ScannedRun", "plan_scan", "read_scan"]

TABLE_VALUES = 4_000_000  # of several runs read together: 32 MB
AXES: dict[str, ColumnType] = {
    "project": "string",
    "run": "string",
    "rank": "int64",
    "attempt": "int64",
    "step": "int64",
    "time": "double",
}
_AXIS_BYTES = 60  # of a row's first columns, two short names included


@dataclass(frozen=True)
class ScannedRun:
    """A run of a Scan: where it lies, how many rows its ranks logged, and its values of the config's columns."""

    project_directory: str
    directory: str
    number: int  # in the index
    rows: int
    config: tuple[object, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """The names of the directories it lies in."""
        return self.project_directory, self.directory


@dataclass(frozen=True)
class Scan:
    """What is to be read: the runs in their order, the columns, and of whom."""

    root: Path
    runs: Sequence[ScannedRun]
    keys: Mapping[str, ColumnType]
    config: Mapping[str, ColumnType]
    ranks: RankChoice = "all"
    superseded: bool = False
    index: IndexFile | None = None  # that it was planned from; None where that lives nowhere
    boot: str = field(default_factory=boot_id)  # of the host that has it

    @cached_property
    def columns(self) -> dict[str, ColumnType]:
        """The names of all columns and what is in them: a key named like one before it gets "_logged"."""
        found = dict(AXES)
        found.update((f"config.{key}", kind) for key, kind in self.config.items())
        for key, kind in self.keys.items():
            name = key
            while name in found:
                name += "_logged"
            found[name] = kind
        return found

    def of(self, runs: Sequence[ScannedRun]) -> Scan:
        """Return the scan of some of its runs."""
        return dataclasses.replace(self, runs=runs)

    @property
    def size_bytes(self) -> int:
        """About how many bytes its rows take in memory."""
        return sum(run.rows for run in self.runs) * (_AXIS_BYTES + 8 * (len(self.keys) + len(self.config)))

    def schema(self) -> Any:  # noqa: ANN401 - pyarrow's, which has no types
        """Return the columns as a pyarrow.Schema; raise UsageError where pyarrow is not installed."""
        return arrow_schema(self.columns)


def plan_scan(
    root: Path,
    project: str | None = None,
    filters: str = "",
    keys: Collection[str] | None = None,
    ranks: RankChoice = "all",
    *,
    config: Collection[str] = (),
    superseded: bool = False,
) -> Scan:
    """Find the runs of a root, or of one project, that pass the filters, and what type each column is in all of them.

    keys: None for all that any of them logged. config: keys of their config to have as columns `config.KEY`.
    A column is int64 or bool where all its values are that, double where all are numbers (a bool as 0 or 1), else
    text: strings as they are, anything else as JSON. What a live run logs under a new key later is not read.
    Raises FilterError, or UsageError where it cannot be asked like this.
    """
    HistoryRequest(keys, ranks)  # says what is wrong with them
    with Reader(root) as reader:
        found = list(find_runs(reader, project, filters, None))
        kinds = reader.asked_of_all([run.record for run in found], lambda snapshots: _kinds(snapshots, keys))
        index = reader.index_file
    values = [tuple(run.config.get(key) for key in config) for run in found]
    return Scan(
        root,
        [_scanned(run, mine) for run, mine in zip(found, values, strict=True)],
        {key: type_of_kinds(kinds.get(key, set())) for key in (kinds if keys is None else dict.fromkeys(keys))},
        {key: type_of_kinds({_letter(mine[at]) for mine in values} - {""}) for at, key in enumerate(config)},
        ranks,
        superseded,
        index,
    )


def _scanned(run: Subject, config: tuple[object, ...]) -> ScannedRun:
    record = run.record
    rows = sum(source.rows for source in record.sources)
    return ScannedRun(record.project_directory, record.directory, record.number, rows, config)


def _kinds(snapshots: Sequence[Snapshot], keys: Collection[str] | None) -> dict[str, set[str]]:
    """Return the kinds of values that any of the runs has under each of these keys, or under all."""
    wanted = None if keys is None else frozenset(keys)
    found: dict[str, set[str]] = {}
    schemas = dict.fromkeys((block.keys, block.kinds) for snapshot in snapshots for block in snapshot.blocks)
    for names, kinds in schemas:
        for key, kind in zip(names, kinds, strict=True):
            if wanted is None or key in wanted:
                found.setdefault(key, set()).add(kind)
    return found


def _letter(value: object) -> str:
    """Return the kind of a value of a config: nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "?"
    if isinstance(value, int):
        return "q" if -(2**63) <= value < 2**63 else "*"
    return "d" if isinstance(value, float) else "*"


# Reading


def read_scan(scan: Scan) -> Iterator[Any]:
    """Yield the rows of a scan as pyarrow Tables of its schema: small runs together, in their order.

    Runs that were removed meanwhile are left out. Raises UsageError where this host does not see the scan's root.
    """
    if not scan.root.is_dir():
        raise UsageError(
            f"The runs in {scan.root} cannot be read on {os.uname().nodename}",
            "there is no such directory here",
            "Read where it is, or keep runs in a directory that every node sees under this path.",
        )
    index = _index_of(scan)
    try:
        for some in _together(scan.runs, max(1, len(scan.keys))):
            yield _read(scan, some, index)
    finally:
        if index is not None:
            index.close()


def _together(runs: Sequence[ScannedRun], keys: int) -> Iterator[Sequence[ScannedRun]]:
    """Yield runs in turn, so many at a time as have TABLE_VALUES together."""
    some: list[ScannedRun] = []
    values = 0
    for run in runs:
        if some and values + run.rows * keys > TABLE_VALUES:
            yield some
            some, values = [], 0
        some.append(run)
        values += run.rows * keys
    if some:
        yield some


def _index_of(scan: Scan) -> Index | None:
    """Return the index that a scan was planned from, if it lies on this host and is still that one."""
    if scan.index is None or scan.boot != boot_id() or not scan.index.is_there():
        return None
    index = Index(scan.root, scan.index.environ)
    if index.file == scan.index:
        return index
    index.close()  # another one was made meanwhile, of which nobody knows whether it is up to date
    return None


def _read(scan: Scan, runs: Sequence[ScannedRun], index: Index | None) -> Any:  # noqa: ANN401
    """Return the rows of runs as one table."""
    if index is not None:
        places = {run.place: number for number, run in enumerate(runs)}
        known = [record for record in index.numbered([run.number for run in runs]) if _place(record) in places]
        known.sort(key=lambda record: places[_place(record)])
        try:
            return index.asked_of_all(known, lambda snapshots: _table(scan, snapshots, runs))
        except Vanished:
            pass  # all of the index: the logs are still there
    snapshots: list[Snapshot] = []
    for run in runs:
        try:
            snapshots.append(read_log(scan.root, *run.place, frozenset(scan.keys)))
        except Vanished:
            continue
    return _table(scan, snapshots, runs)


def _place(record: RunRecord) -> tuple[str, str]:
    return record.project_directory, record.directory


def _table(scan: Scan, snapshots: Sequence[Snapshot], runs: Sequence[ScannedRun]) -> Any:  # noqa: ANN401
    """Return the rows of snapshots as a pyarrow Table of a scan's schema."""
    arrow = pyarrow()
    wide = wide_form(snapshots, list(scan.keys), scan.ranks, superseded=scan.superseded)
    by_place = {run.place: run for run in runs}
    mine = [by_place[_place(snapshot.record)] for snapshot in snapshots]
    row_runs = arrow.array(wide.run)
    arrays: list[Any] = [
        arrow.array([utf8(snapshot.record.project) for snapshot in snapshots], arrow.string()).take(row_runs),
        arrow.array([utf8(snapshot.record.run_id) for snapshot in snapshots], arrow.string()).take(row_runs),
        *(arrow.array(axis) for axis in wide.axes().values()),
    ]
    for at, kind in enumerate(scan.config.values()):
        values = np.fromiter((run.config[at] for run in mine), np.object_, len(mine))
        arrays.append(arrow_array(values, kind, np.ones(len(mine), bool)).take(row_runs))
    for key, kind in scan.keys.items():
        arrays.append(arrow_array(wide.keys[key], kind, _there(wide.layout, key)))
    return arrow.Table.from_arrays(arrays, schema=scan.schema())


def _there(layout: Layout, key: str) -> NDArray[np.bool_]:
    """Say of each row whether it has a value of a key: a NaN that was logged is one."""
    there = np.zeros(len(layout.step), bool)
    for part in layout.parts:
        if key in part.keys:
            there[part.target] = True
    return there
