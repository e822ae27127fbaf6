"""One rank of a run by itself: what it was configured with, what it said last, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from disttrack.errors import UsageError
from disttrack.index.snapshots import Snapshot
from disttrack.query.alerts import AlertRow, alert_rows
from disttrack.query.attempts import exception_of
from disttrack.query.members import Observer, members, newest_team
from disttrack.query.metrics import summary_of_rank
from disttrack.query.reader import Reader
from disttrack.query.runs import RankRow, rank_rows, row_of
from disttrack.query.summaries import by_precedence, merged_config

__all__ = ["RankView", "show_rank", "view_of"]


@dataclass(frozen=True, kw_only=True)
class RankView(RankRow):
    """A rank of a run's newest attempt. config and summary are its own, also of the attempts before."""

    id: str
    project: str
    name: str
    config: dict[str, object]
    summary: dict[str, object]
    exception: str | None  # that it ended with
    alerts: list[AlertRow]


def show_rank(root: Path, run_id: str, rank: int) -> RankView:
    """Return one rank of a run.

    Raises RunNotFound, UnsupportedFormat, or UsageError where the run has no such rank.
    """
    with Reader(root) as reader:
        return reader.asked(run_id, lambda snapshot: view_of(snapshot, rank, Observer.here(root)))


def view_of(snapshot: Snapshot, rank: int, observer: Observer) -> RankView:
    """Return one rank of a snapshot; raise UsageError where there is none."""
    record = snapshot.record
    everybody = members(record)
    team = newest_team(everybody)
    row = next((row for row in rank_rows(record, team, observer) if row.rank == rank), None)
    if row is None:
        raise UsageError(
            f"Rank {rank} of {record.run_id} cannot be shown",
            f"its ranks are 0 to {team.world_size - 1}" if team.world_size else "no rank has joined it",
            "Name one of them.",
        )
    mine = [member for member in everybody if member.rank == rank]
    run = row_of(record, observer)
    return RankView(
        **vars(row),
        id=run.id,
        project=run.project,
        name=run.name,
        config=merged_config(by_precedence(mine)),
        summary=summary_of_rank(snapshot, mine),
        exception=exception_of(team.joined[rank]) if rank in team.joined else None,
        alerts=alert_rows(mine),
    )
