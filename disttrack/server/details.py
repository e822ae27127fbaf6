"""One run, one rank, the ranks beside each other, and runs beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from disttrack.capture.program import OF_ONE_LAUNCH
from disttrack.index.snapshots import Snapshot
from disttrack.query.comparing import comparison_of as runs_beside
from disttrack.query.comparing import leaves
from disttrack.query.keys import run_keys
from disttrack.query.media import files_of
from disttrack.query.members import members
from disttrack.query.metrics import definitions_of
from disttrack.query.rank_view import view_of
from disttrack.query.ranks import RankComparison, comparison_of
from disttrack.query.runs import RunDetail, detail_of
from disttrack.query.shapes import comparison_shape, detail_shape, rank_shape, runs_shape
from disttrack.query.subjects import Subject
from disttrack.query.verdicts import Verdict, verdict_on, work_metric
from disttrack.server.answers import Refused, json_answer, unix
from disttrack.server.parameters import integer, required, several, text
from disttrack.server.served import served
from disttrack.server.tables import row_shape

__all__ = ["compare", "rank", "ranks", "run"]

MAX_COMPARED = 32

_OF_ONE_LAUNCH = {f"program.environment.{name}" for name in OF_ONE_LAUNCH}


def run(request: Request) -> Response:
    """GET /api/run."""
    here = served(request)

    def ask(snapshot: Snapshot) -> dict[str, object]:
        observer = here.observer()
        subject = Subject(snapshot.record, observer)
        detail = dataclasses.replace(subject.detail, files=files_of(here.root, snapshot.record))
        keys = run_keys(snapshot)
        metric = work_metric([key.key for key in keys if key.kind == "number"])  # else the time between rows
        comparison = comparison_of(snapshot, metric, observer, detail=detail, alone_too=False)
        shape = {**detail_shape(detail, unix), **row_shape(subject)}
        shape.pop("media")
        return shape | {
            "now": here.now_s(),
            "rows": sum(rank.rows for rank in detail.ranks),
            "verdict": asdict(_verdict(comparison, detail)),
            "keys": [asdict(key) for key in keys],
            "marks": _marks(detail),
        }

    return json_answer(here.reader.asked(required(request, "run"), ask))


def _marks(run: RunDetail) -> list[dict[str, object]]:
    """Return what charts mark on their x-axis: attempts, alerts, and where rows are missing."""
    marks: list[dict[str, object]] = [
        {
            "kind": "attempt",
            "attempt": attempt.attempt,
            "step": attempt.first_step,
            "at": unix(attempt.started_at),
            "text": f"attempt {attempt.attempt}",
        }
        for attempt in run.attempts
        if attempt.attempt
    ]
    alerts: list[dict[str, object]] = [
        {
            "kind": "alert",
            "attempt": alert.attempt,
            "rank": alert.rank,
            "step": None,
            "at": unix(alert.at),
            "text": alert.title,
            "level": alert.level,
        }
        for alert in run.alerts
    ]
    holes: list[dict[str, object]] = [
        {
            "kind": "hole",
            "rank": drop.rank,
            "step": drop.first_step,
            "to_step": drop.last_step,
            "at": unix(drop.first_at),
            "to_at": unix(drop.last_at),
            "text": f"{drop.count:,} {drop.record_class or 'records'} dropped ({drop.reason})",
        }
        for drop in run.drops
        if drop.first_step is not None
    ]
    return [*marks, *alerts, *holes]


def rank(request: Request) -> Response:
    """GET /api/rank."""
    here = served(request)
    number = integer(request, "rank", -1, -1, 1 << 20)
    wanted = required(request, "run")
    found = here.reader.asked(wanted, lambda snapshot: view_of(snapshot, number, here.observer()))
    return json_answer(rank_shape(found, unix))


def ranks(request: Request) -> Response:
    """GET /api/ranks."""
    here, key = served(request), text(request, "key")

    def ask(snapshot: Snapshot) -> dict[str, object]:
        observer = here.observer()
        detail = detail_of(snapshot.record, observer)
        metrics = [one.key for one in run_keys(snapshot) if one.kind == "number"]
        comparison = comparison_of(snapshot, key, observer, detail=detail)
        shape = comparison_shape(comparison)
        local = {row.rank: row.local_rank for row in detail.ranks}
        rows = [
            row | {"local_rank": local.get(cast(int, row["rank"]))}
            for row in cast("list[dict[str, object]]", shape["ranks"])
        ]
        return shape | {
            "ranks": rows,
            "nodes": [{"node": node.node, "ranks": node.ranks} for node in detail.nodes],
            "verdict": asdict(_verdict(comparison, detail)),
            "metrics": metrics,
            "world_size": detail.world_size,
            "attempt": detail.attempt,
            "now": here.now_s(),
        }

    return json_answer(here.reader.asked(required(request, "run"), ask))


def _verdict(comparison: RankComparison, detail: RunDetail) -> Verdict:
    return verdict_on(comparison.ranks, comparison.metric, detail.first_failure)


def compare(request: Request) -> Response:
    """GET /api/compare."""
    here = served(request)
    wanted = several(request, "run", MAX_COMPARED)
    if len(wanted) < 2:
        raise Refused(400, "Name the runs to compare: two or more.", "UsageError")
    subjects = [here.subject(name) for name in wanted]
    names = [one.record.path for one in subjects]
    base = text(request, "baseline")
    baseline = next((at for at, name in enumerate(names) if base in (name, wanted[at])), 0)
    compared = runs_beside([one.detail for one in subjects])
    shape = runs_shape(compared, unix)
    for row, subject in zip(cast("list[dict[str, object]]", shape["runs"]), subjects, strict=True):
        row.update(row_shape(subject))
    config = dict(leaves(compared.runs[0].config))
    return json_answer(
        shape
        | {
            "baseline": baseline,
            "same_values": {key: config.get(key) for key in compared.same_config},
            "deltas": _deltas(compared.summary, baseline),
            "about": _about(compared.runs),
            "best": _best(compared.summary, subjects),
            "metrics": [key for key, values in compared.summary.items() if any(map(_is_number, values))],
            "now": here.now_s(),
        }
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _deltas(summary: Mapping[str, Sequence[object]], baseline: int) -> dict[str, list[object]]:
    """Return summary numbers less the baseline's; None for the baseline itself, and where either is no number."""
    found: dict[str, list[object]] = {}
    for key, values in summary.items():
        base = values[baseline]
        if _is_number(base):
            found[key] = [
                cast(float, value) - cast(float, base) if at != baseline and _is_number(value) else None
                for at, value in enumerate(values)
            ]
    return found


def _about(runs: Sequence[RunDetail]) -> dict[str, list[object]]:
    """Return what the runs know of themselves where they differ: program, source, packages.

    What differs between any two launches is left out.
    """
    known = [
        dict(leaves({name: run.about.get(name, {}) for name in ("program", "source", "packages")})) for run in runs
    ]
    keys = sorted({key for one in known for key in one} - _OF_ONE_LAUNCH)
    beside = {key: [one.get(key) for one in known] for key in keys}
    return {key: values for key, values in beside.items() if len({repr(value) for value in values}) > 1}


def _best(summary: Mapping[str, Sequence[object]], subjects: Sequence[Subject]) -> dict[str, int]:
    """Return which run has the best value of each metric that has a goal."""
    goals = [definitions_of(members(subject.record)) for subject in subjects]
    found: dict[str, int] = {}
    for key, values in summary.items():
        goal = next((goal for one in goals if (goal := one.goal(key)) is not None), None)
        numbers = [(cast(float, value), at) for at, value in enumerate(values) if _is_number(value) and value == value]
        if goal is not None and numbers:
            found[key] = (max(numbers, key=lambda one: one[0]) if goal == "maximize" else min(numbers))[1]
    return found
