"""Ray: every trial of Tune is a run, every worker of Train a rank of one, and histories of many runs are data sets.

    @disttrack.integrations.ray.trainable                      # on what tune.Tuner gets
    run = disttrack.integrations.ray.setup(config)             # first in train_loop_per_worker
    rows = disttrack.integrations.ray.read_history(project)    # a ray.data.Dataset

In: what Ray hands to trials and workers, and runs that were logged. Out: runs, through api; data sets. What goes wrong
costs the trial nothing: it is said. What trials have no use for, such as ray.data, is imported once it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from disttrack.integrations.ray.train import setup
from disttrack.integrations.ray.trainable import trainable

if TYPE_CHECKING:
    from disttrack.integrations.ray.history import read_history
    from disttrack.integrations.ray.train_callback import DisttrackCallback
    from disttrack.integrations.ray.tune_callback import DisttrackLoggerCallback

__all__ = ["DisttrackCallback", "DisttrackLoggerCallback", "read_history", "setup", "trainable"]

_MODULES = {
    "DisttrackCallback": "train_callback",
    "DisttrackLoggerCallback": "tune_callback",
    "read_history": "history",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
