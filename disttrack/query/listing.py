"""Lists of runs, and one of them: what `disttrack ls`, `show` and Api print and return."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from disttrack.query.finding import find_runs
from disttrack.query.media import files_of, media_of
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, RunRow, detail_of
from disttrack.query.subjects import Subject
from disttrack.query.wide import EXACT, Array

__all__ = ["list_runs", "page_of_runs", "run_table", "show_run"]


def list_runs(
    root: Path,
    project: str | None = None,
    limit: int | None = None,
    filters: str = "",
    order: str | None = None,
    *,
    archived: bool = False,
) -> list[RunRow]:
    """Return the runs of a root that pass the filters, newest first or in the order of a field: at most limit of them.

    archived: also those that somebody put away. Raises FilterError where filters or order cannot be read.
    """
    return page_of_runs(root, project, limit, filters, order, archived=archived)[0]


def page_of_runs(
    root: Path,
    project: str | None = None,
    limit: int | None = None,
    filters: str = "",
    order: str | None = None,
    *,
    archived: bool = False,
) -> tuple[list[RunRow], int]:
    """Return what list_runs returns, and how many runs pass the filters in all."""
    with Reader(root) as reader:
        found = find_runs(reader, project, filters, order, archived=archived)
        return [run.row for run in found[:limit]], len(found)


def show_run(root: Path, run_id: str) -> RunDetail:
    """Return one run in detail; raise RunNotFound, or UnsupportedFormat where a newer disttrack wrote it."""
    with Reader(root) as reader:
        record, media = reader.asked(run_id, lambda snapshot: (snapshot.record, media_of(root, snapshot)))
    detail = detail_of(record, Observer.here(root))
    return dataclasses.replace(detail, files=files_of(root, record), media=media)


def run_table(runs: Iterable[Subject]) -> dict[str, Array]:
    """Return a row for each run: its fields, then config.KEY and summary.KEY for each key that any of them has."""
    runs = list(runs)
    fields = [name for name in (field.name for field in dataclasses.fields(RunRow)) if name != "summary"]
    columns: dict[str, list[object]] = {name: [getattr(run.row, name) for run in runs] for name in fields}
    for prefix, values in (
        ("config", [run.config for run in runs]),
        ("summary", [run.row.summary for run in runs]),
    ):
        for key in dict.fromkeys(key for mapping in values for key in mapping):
            columns[f"{prefix}.{key}"] = [mapping.get(key) for mapping in values]
    return {name: _column(values) for name, values in columns.items()}


def _column(values: Sequence[object]) -> Array:
    """Return values as int64 where all are ints, float64 where all that are there are numbers, else as objects."""
    kinds = {type(value) for value in values}
    exact = all(not isinstance(value, int) or abs(value) <= EXACT for value in values)
    if kinds == {int} and exact:
        return np.array(values, np.int64)
    if float in kinds and kinds <= {int, float, type(None)} and exact:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.fromiter(values, np.object_, len(values))
