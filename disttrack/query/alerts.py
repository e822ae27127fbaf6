"""What the ranks of a run wanted a person to see soon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from disttrack.query.members import Member

__all__ = ["AlertRow", "alert_rows"]


@dataclass(frozen=True)
class AlertRow:
    """One alert; at: unix seconds."""

    rank: int
    attempt: int
    level: str
    title: str
    text: str
    at: float


def alert_rows(everybody: Iterable[Member]) -> list[AlertRow]:
    """Return the newest alerts of each source, the newest first; of one moment those of low ranks first."""
    rows = [
        AlertRow(member.rank, member.attempt, str(alert.level), alert.title, alert.text, alert.time_us / 1e6)
        for member in everybody
        for _, alert in sorted(member.source.alerts.items(), reverse=True)
    ]
    return sorted(rows, key=lambda row: -row.at)
