"""A root at a glance: its projects, and which keys its runs have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from disttrack.index.facets import as_list
from disttrack.query.comparing import leaves
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import created_s
from disttrack.query.subjects import ARCHIVED, CREATED, PLACE, PROJECT, Subject
from disttrack.records.names import directory_name

__all__ = ["Keys", "ProjectRow", "keys_of", "projects_of"]


@dataclass(frozen=True)
class ProjectRow:
    """A project: how many runs it has that were not put away, how many of them may still grow, and its newest."""

    project: str
    runs: int
    live: int
    newest_at: float  # unix seconds


@dataclass(frozen=True)
class Keys:
    """The keys that runs have, those of most runs first; metrics: with numbers in the summary of some."""

    config: list[str]
    summary: list[str]
    metrics: list[str]


def projects_of(reader: Reader) -> list[ProjectRow]:
    """Return the projects of a root, that of the newest run first."""
    columns, others = reader.listed([PROJECT, CREATED, ARCHIVED])
    names = dict(zip(columns.facets[PROJECT].runs.tolist(), as_list(columns.facets[PROJECT].values), strict=True))
    created = columns.facets[CREATED]
    away = set(columns.facets[ARCHIVED].runs.tolist())
    runs: Counter[str] = Counter()
    live: Counter[str] = Counter()
    newest: dict[str, float] = {}
    begun = zip(created.runs.tolist(), np.asarray(created.values, np.float64).tolist(), strict=True)
    found = [(str(names[run]), begun_s, 0) for run, begun_s in begun if run not in away and run in names]
    found += [(record.project, created_s(record), record.facts.over_us is None) for record in others]
    for project, begun_s, is_live in found:
        runs[project] += 1
        live[project] += is_live
        newest[project] = max(newest.get(project, begun_s), begun_s)
    rows = [ProjectRow(project, count, live[project], newest[project]) for project, count in runs.items()]
    return sorted(rows, key=lambda row: -row.newest_at)


def keys_of(reader: Reader, project: str | None) -> Keys:
    """Return the keys of the runs of a project, or of all; a key within a mapping has dots before it."""
    place = None if project is None else directory_name(project)
    columns, others = reader.listed([PLACE])
    runs, places = columns.facets[PLACE]
    wanted = {run for run, given in zip(runs.tolist(), as_list(places), strict=True) if place is None or given == place}
    counts: dict[str, Counter[str]] = {"config": Counter(), "summary": Counter(), "metrics": Counter()}
    for (scope, name), values in reader.named_facets(("config", "summary"), wanted).items():
        given = as_list(values.values)
        mine = [value for run, value in zip(values.runs.tolist(), given, strict=True) if run in wanted]
        _count(counts, scope, name, mine)
    observer = Observer.here(reader.root)
    for record in others:
        if place in (None, record.project_directory):
            run = Subject(record, observer)
            for scope, of_run in (("config", run.config), ("summary", run.summary)):
                for name, value in of_run.items():
                    _count(counts, scope, name, [value])
    config, summary, metrics = ([name for name, _ in counted.most_common()] for counted in counts.values())
    return Keys(config, summary, metrics)


def _count(counts: Mapping[str, Counter[str]], scope: str, name: str, values: list[object]) -> None:
    for value in values:
        if isinstance(value, Mapping) and value:
            for path, _ in leaves({name: cast("Mapping[str, object]", value)}):
                counts[scope][path] += 1
        else:
            counts[scope][name] += 1
    if scope == "summary":
        numbers = sum(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numbers:
            counts["metrics"][name] += numbers
