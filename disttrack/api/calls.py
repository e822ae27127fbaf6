"""Module-level calls: what a Run has, for the run that is open in this process."""

from __future__ import annotations

from datetime import timedelta

from disttrack.api.init import opened

__all__ = ["alert", "mark_preempting"]


def alert(title: str, text: str = "", level: str | None = None, wait_duration: float | timedelta | None = None) -> None:
    """Store an alert in the current run; see Run.alert. Raises NotInitialized before init."""
    opened("alert()").alert(title, text, level, wait_duration)


def mark_preempting() -> None:
    """Say that the current run's machine is being taken away; see Run.mark_preempting."""
    opened("mark_preempting()").mark_preempting()
