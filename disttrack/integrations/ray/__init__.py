"""Ray: every trial of Tune is a run, every worker of Train a rank of one.

    @disttrack.integrations.ray.trainable                      # on what tune.Tuner gets
    run = disttrack.integrations.ray.setup(config)             # first in train_loop_per_worker

In: what Ray hands to trials and workers. Out: runs, through api. What goes wrong costs the trial nothing: it is said.
"""

from __future__ import annotations

from disttrack.integrations.ray.train import setup
from disttrack.integrations.ray.trainable import trainable

__all__ = ["setup", "trainable"]
