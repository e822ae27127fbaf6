"""Module-level watch and unwatch: what a Run has, for the run that is open in this process."""

from __future__ import annotations

from typing import Any, Literal

from disttrack.api.init import opened

__all__ = ["unwatch", "watch"]


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
