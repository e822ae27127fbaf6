"""What only the controller of a Ray Train run sees of it, added to its run: failed ranks, checkpoints.

It runs in the controller's process, which outlives workers.
"""

from __future__ import annotations

import os
import traceback
from typing import Any

from ray.train import UserCallback

from disttrack.api.init import onlooker
from disttrack.api.run import Run
from disttrack.api.run_end import describe
from disttrack.environments.ray import Experiment, directory_of, train_identity
from disttrack.integrations.ray.arguments import CHECKPOINT, init_arguments, with_experiment

__all__ = ["DisttrackCallback"]


class DisttrackCallback(UserCallback):
    """Adds to the run of a Train run what only its controller sees: which ranks failed, with what, and checkpoints.

        RunConfig(callbacks=[DisttrackCallback()])

    For train functions that call setup(): their ranks make the run, and this one joins it. A failure is an alert of the
    rank, in the attempt that it ends, also of a rank that died without a word; the newest checkpoint is `checkpoint` in
    the summary. Needs Ray Train v2.
    """

    def __init__(self, **init: Any) -> None:
        """init: arguments of disttrack.init, for a run in another directory than the storage path.

        Raises UsageError for those that cannot be used.
        """
        self._init = init_arguments(init)
        self._run: Run | None = None  # of this attempt

    def __getstate__(self) -> dict[str, Any]:
        return {"_init": self._init, "_run": None}

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Note where the newest checkpoint lies; it may be None."""
        if checkpoint is not None:
            if self._run is None:
                self._run = self._joined(run_context, rank=0)
            self._run.summary[CHECKPOINT] = checkpoint.path

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Alert of each rank that failed, and end this attempt here: the next one begins with the next report."""
        runs = [] if self._run is None else [self._run]
        self._run = None
        for rank, error in sorted(worker_exceptions.items()):
            cause: Exception = getattr(error, "_base_exc", error)
            run = self._joined(run_context, rank)
            run.alert(f"Rank {rank} failed: {describe(cause)}", "".join(traceback.format_exception(cause)), "error")
            runs.append(run)
        for run in runs:
            run.finish(quiet=True)

    def _joined(self, context: Any, rank: int) -> Run:
        """Return the run as a rank's newest attempt is joined from here."""
        config = context.run_config
        arguments = with_experiment(self._init.arguments, Experiment(config.name, directory_of(config.storage_context)))
        identity = train_identity(context, os.environ, rank, context.scaling_config.num_workers)
        return onlooker(arguments, identity)
