"""The JSON that other tools rely on (docs/cli.md, docs/api.md): fields are only ever added.

Each function takes how a moment in unix seconds is written: as ISO 8601 on the command line, as it is in the HTTP API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from disttrack.query.attempts import AttemptRow, Failure
from disttrack.query.comparing import RunsCompared
from disttrack.query.rank_view import RankView
from disttrack.query.ranks import RankComparison
from disttrack.query.runs import AlertRow, RunDetail, RunReceipt, RunRow

__all__ = ["Moment", "comparison_shape", "detail_shape", "rank_shape", "run_shape", "runs_shape"]

Moment = Callable[[float | None], object]


def run_shape(run: RunRow, moment: Moment) -> dict[str, object]:
    """Return what `ls --json` prints of a run."""
    return {
        "id": run.id,
        "entity": run.entity,
        "project": run.project,
        "name": run.name,
        "group": run.group,
        "job_type": run.job_type,
        "state": run.state,
        "world_size": run.world_size,
        "ranks_joined": run.ranks_joined,
        "attempt": run.attempt,
        "created_at": moment(run.created_at),
        "ended_at": moment(run.ended_at),
        "duration_s": run.duration_s,
        "tags": run.tags,
        "notes": run.notes,
        "summary": run.summary,
        "archived": run.archived,
        "damage": run.damage,
        "missing_bytes": run.missing_bytes,
    }


def detail_shape(run: RunDetail, moment: Moment) -> dict[str, object]:
    """Return what `show --json` prints."""
    return {
        **run_shape(run, moment),
        "config": run.config,
        "summary_ranks": {key: asdict(spread) for key, spread in run.summary_ranks.items()},
        "ranks": [dict(vars(rank)) for rank in run.ranks],  # asdict copies deeply: 10 ms of 256 ranks
        "files": [{"path": file.path, "size": file.size} for file in run.files],
        "media": [
            {"key": one.key, "rank": one.rank, "step": one.step, "kind": one.kind, "path": one.path}
            for one in run.media
        ],
        "receipt": _receipt_shape(run.receipt),
        "captured": _receipt_shape(run.captured),
        "pending": [asdict(place) for place in run.receipt.places],
        "drops": [
            {**asdict(drop), "first_at": moment(drop.first_at), "last_at": moment(drop.last_at)} for drop in run.drops
        ],
        "config_by_rank": {str(rank): config for rank, config in run.config_by_rank.items()},
        "config_changes": [asdict(change) for change in run.config_changes],
        "metrics": [asdict(metric) for metric in run.metrics],
        "alerts": [_alert_shape(alert, moment) for alert in run.alerts],
        "damaged": [place._asdict() for place in run.damaged],
        "attempts": [_attempt_shape(attempt, moment) for attempt in run.attempts],
        "first_failure": _failure_shape(run.first_failure, moment),
        "git": _git_shape(run.about.get("source")),
        "program": run.about.get("program", {}).get("program"),
        "argv": run.about.get("program", {}).get("argv"),
        "resumed_from": run.resumed_from._asdict() if run.resumed_from is not None else None,
        "forked_from": run.forked_from._asdict() if run.forked_from is not None else None,
        "about": run.about,
        "nodes": [asdict(node) for node in run.nodes],
    }


def _git_shape(source: Mapping[str, object] | None) -> dict[str, object] | None:
    if source is None:
        return None
    return {name: source.get(name) for name in ("commit", "branch", "remote", "dirty", "root")}


def rank_shape(rank: RankView, moment: Moment) -> dict[str, object]:
    """Return what `show --rank --json` prints."""
    return {**asdict(rank), "alerts": [_alert_shape(alert, moment) for alert in rank.alerts]}


def _alert_shape(alert: AlertRow, moment: Moment) -> dict[str, object]:
    return {**asdict(alert), "at": moment(alert.at)}


def _receipt_shape(receipt: RunReceipt) -> dict[str, object]:
    return {name: value for name, value in asdict(receipt).items() if name not in ("drops", "places")}


def _attempt_shape(attempt: AttemptRow, moment: Moment) -> dict[str, object]:
    return {
        **asdict(attempt),
        "started_at": moment(attempt.started_at),
        "ended_at": moment(attempt.ended_at),
        "first_failure": _failure_shape(attempt.first_failure, moment),
    }


def _failure_shape(failure: Failure | None, moment: Moment) -> dict[str, object] | None:
    return None if failure is None else {**asdict(failure), "at": moment(failure.at)}


def runs_shape(compared: RunsCompared, moment: Moment) -> dict[str, object]:
    """Return what `compare --json` prints."""
    return {
        "runs": [
            {
                **{name: value for name, value in run_shape(run, moment).items() if name != "summary"},
                "receipt": _receipt_shape(run.receipt),
            }
            for run in compared.runs
        ],
        "config": compared.config,
        "same_config": compared.same_config,
        "summary": compared.summary,
    }


def comparison_shape(comparison: RankComparison) -> dict[str, object]:
    """Return what `ranks --json` prints; median and p95 are seconds where metric is null."""
    return {
        "id": comparison.id,
        "project": comparison.project,
        "name": comparison.name,
        "metric": comparison.metric,
        "unit": "s" if comparison.metric is None else None,
        "ranks": [dict(vars(pace)) for pace in comparison.ranks],
    }
