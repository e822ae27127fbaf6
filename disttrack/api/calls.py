"""Module-level calls: what a Run has, for the run that is open in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from disttrack.api.init import opened
from disttrack.records.payloads import MetricDefinition

__all__ = ["alert", "define_metric", "mark_preempting", "save", "unwatch", "watch"]


def alert(title: str, text: str = "", level: str | None = None, wait_duration: float | timedelta | None = None) -> None:
    """Store an alert in the current run; see Run.alert. Raises NotInitialized before init."""
    opened("alert()").alert(title, text, level, wait_duration)


def mark_preempting() -> None:
    """Say that the current run's machine is being taken away; see Run.mark_preempting."""
    opened("mark_preempting()").mark_preempting()


def save(
    glob_str: str | os.PathLike[str] | None = None,
    base_path: str | os.PathLike[str] | None = None,
    policy: str = "live",
) -> list[str]:
    """Keep files with the current run; see Run.save. Raises NotInitialized before init."""
    return opened("save()").save(glob_str, base_path, policy)


def define_metric(
    name: str,
    step_metric: str | MetricDefinition | None = None,
    step_sync: bool | None = None,
    hidden: bool | None = None,
    summary: str | Sequence[str] | None = None,
    goal: Literal["minimize", "maximize"] | None = None,
    overwrite: bool = False,
) -> MetricDefinition | None:
    """Say how a metric of the current run is to be read; see Run.define_metric. Raises NotInitialized before init."""
    run = opened("define_metric()")
    return run.define_metric(name, step_metric, step_sync, hidden, summary, goal, overwrite)


def watch(
    models: Any,
    criterion: Any = None,
    log: Literal["gradients", "parameters", "all"] | None = "gradients",
    log_freq: int = 1000,
    idx: int | None = None,
    log_graph: bool = False,
) -> None:
    """Log histograms of a model's gradients or parameters; see Run.watch. Raises NotInitialized before init."""
    opened("watch()").watch(models, criterion, log, log_freq, idx, log_graph)


def unwatch(models: Any = None) -> None:
    """Watch these models, or all, no more; see Run.unwatch. Raises NotInitialized before init."""
    opened("unwatch()").unwatch(models)
