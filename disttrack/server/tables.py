"""The runs as a table, and what columns, groups and charts it can have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from disttrack.query.columns import Column, Row, column_of
from disttrack.query.finding import Found, find_runs
from disttrack.query.grouping import groups_of
from disttrack.query.members import members
from disttrack.query.metrics import definitions_of
from disttrack.query.overview import keys_of, projects_of
from disttrack.query.subjects import Subject
from disttrack.records.payloads import Goal
from disttrack.server.answers import Refused, json_answer, unix
from disttrack.server.parameters import flag, integer, several, text
from disttrack.server.served import Served, served

__all__ = ["best", "groups", "keys", "projects", "row_shape", "runs"]

MAX_COLUMNS = 64
MAX_PAGE = 1_000
MAX_GROUPS = 1_000
_HEADLINES: tuple[tuple[re.Pattern[str], Goal], ...] = (
    (re.compile(r"(^|[/._])(val|valid|validation|eval|test)\w*[/._]?loss$", re.I), "minimize"),
    (re.compile(r"(^|[/._])loss$", re.I), "minimize"),
    (re.compile(r"acc(uracy)?$", re.I), "maximize"),
)
"""Metrics that are worth a headline where none is named."""


def runs(request: Request) -> Response:
    """GET /api/runs."""
    here = served(request)
    columns = [column_of(name) for name in several(request, "column", MAX_COLUMNS)]
    found, of = _found(request, here)
    offset = integer(request, "offset", 0, 0, 1 << 40)
    limit = integer(request, "limit", 100, 0, MAX_PAGE)
    page = list(found[offset : offset + limit])
    rows = [_with_cells(row) for row in here.cells.of(page, columns)]
    return json_answer(
        {
            "total": len(found),
            "of": of,
            "offset": offset,
            "now": here.now_s(),
            "rows": rows,
        }
    )


def _with_cells(row: Row) -> dict[str, object]:
    spreads = {name: asdict(spread) for name, spread in row.spreads.items()}
    return {**row_shape(row.run), "values": row.values, "spreads": spreads}


def _found(request: Request, here: Served) -> tuple[Found, int]:
    """Return the runs that a request asks for in their order, and how many there are before its filter."""
    project, archived = text(request, "project"), flag(request, "archived")
    wanted, order = text(request, "filter") or "", text(request, "sort")
    by = column_of(order.removeprefix("-")) if order is not None else None
    if by is not None and by.reducer is not None and order is not None:
        found = find_runs(here.reader, project, wanted, None, archived=archived)
        found = _by_reduced(here, found, by, descending=order.startswith("-"))
    else:
        found = find_runs(here.reader, project, wanted, order, archived=archived)
    of = len(found) if not wanted.strip() else len(find_runs(here.reader, project, "", None, archived=archived))
    return found, of


def row_shape(run: Subject) -> dict[str, object]:
    """Return a run as a row of the table, without its cells."""
    row, team = run.row, run.team
    voices = [source for sources in team.voices.values() for source in sources]
    return {
        "run": f"{row.project}/{row.id}",
        "id": row.id,
        "entity": row.entity,
        "project": row.project,
        "name": row.name,
        "group": row.group,
        "job_type": row.job_type,
        "state": row.state,
        "world_size": row.world_size,
        "ranks_joined": row.ranks_joined,
        "ranks_alive": run.ranks_alive,
        "attempt": row.attempt,
        "created_at": unix(row.created_at),
        "ended_at": unix(row.ended_at),
        "duration_s": row.duration_s,
        "last_step": max((source.max_step for source in voices if source.max_step is not None), default=None),
        "tags": row.tags,
        "notes": row.notes,
        "archived": row.archived,
        "damage": row.damage,
        "missing_bytes": row.missing_bytes,
    }


def projects(request: Request) -> Response:
    """GET /api/projects."""
    return json_answer({"projects": [asdict(row) for row in projects_of(served(request).reader)]})


def keys(request: Request) -> Response:
    """GET /api/keys."""
    return json_answer(asdict(keys_of(served(request).reader, text(request, "project"))))


def groups(request: Request) -> Response:
    """GET /api/groups."""
    here = served(request)
    by = [column_of(name) for name in several(request, "by", 4)]
    if not by:
        raise Refused(400, "Name what to group by: the parameter by is missing.", "UsageError")
    columns = [column_of(name) for name in several(request, "column", MAX_COLUMNS)]
    found = _found(request, here)[0]
    limit = integer(request, "limit", 200, 1, MAX_GROUPS)
    groups = groups_of(here.reader, found, by, columns, here.cells, limit)
    return json_answer(
        {
            "by": [column.name for column in by],
            "total": len(found),
            "count": groups.count,
            "groups": [asdict(group) for group in groups.largest],
        }
    )


def best(request: Request) -> Response:
    """GET /api/best."""
    here = served(request)
    project, key = text(request, "project"), text(request, "key")
    newest = next(iter(find_runs(here.reader, project, "", None)[:1]), None)
    if newest is None:
        return json_answer(None)
    goals = definitions_of(members(newest.record))
    metrics = keys_of(here.reader, project).metrics if key is None else [key]
    key = key or next((metric for metric in metrics if goals.goal(metric)), None) or _headline(metrics)
    if key is None:
        return json_answer(None)
    goal = goals.goal(key) or next((goal for pattern, goal in _HEADLINES if pattern.search(key)), "minimize")
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    field = f'summary."{quoted}"'
    found = find_runs(here.reader, project, f"{field}:*", f"{'-' if goal == 'maximize' else ''}{field}")
    run = next(iter(found[:1]), None)
    value = run.summary.get(key) if run is not None else None
    if run is None or not isinstance(value, int | float):
        return json_answer(None)
    return json_answer(
        {
            "run": f"{run.row.project}/{run.row.id}",
            "name": run.row.name,
            "key": key,
            "value": value,
            "goal": goal,
        }
    )


def _headline(metrics: Sequence[str]) -> str | None:
    return next((key for pattern, _ in _HEADLINES for key in metrics if pattern.search(key)), None)


def _by_reduced(here: Served, found: Found, column: Column, *, descending: bool) -> Found:
    """Return runs by what a metric comes to; those without it last, as they were."""
    reduced = here.cells.reduced(found.numbers, column)
    sign = -1 if descending else 1

    def place(run: int) -> tuple[bool, float]:
        value = reduced.get(run)
        return (False, sign * value) if value is not None and value == value else (True, 0.0)

    return found.ordered(sorted(found.numbers, key=place))
