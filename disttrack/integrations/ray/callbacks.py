"""Runs by what Ray tells its callbacks: of trials that are not decorated, of Train runs as their controller sees them.

Both run in one process that outlives trials and workers: Tune's driver, Train's controller. Neither waits for a writer.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray.tune.utils
from ray import cloudpickle
from ray.air.constants import TRAINING_ITERATION
from ray.train import UserCallback
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.result import DONE

from disttrack.api.init import onlooker, open_run
from disttrack.api.recorder import OtherStep
from disttrack.api.run import Run
from disttrack.api.run_end import describe
from disttrack.environments.ray import Experiment, directory_of, launch_of, train_identity, trial_identity
from disttrack.integrations.ray.arguments import init_arguments, with_experiment
from disttrack.integrations.ray.trainable import Tracked, row_of_result

__all__ = ["DisttrackCallback", "DisttrackLoggerCallback"]

CHECKPOINT = "checkpoint"
"""The key of a run's summary that says where its newest checkpoint lies."""


class DisttrackLoggerCallback(LoggerCallback):
    """Makes every trial of an experiment a run, by what it reports: for trainables that are not decorated.

        tune.Tuner(objective, run_config=tune.RunConfig(callbacks=[DisttrackLoggerCallback(project="p")]))

    Runs are as those of @trainable: id, group, config and rows; `checkpoint` in the summary is the newest one. They are
    written by the driver, so they have its console neither, nor what trials log themselves, and what was reported to
    Tune but not to the driver when this dies is not in them. Trials of a decorated trainable are left to that.

    A trial is `finished` when its function returns or its stopping criterion is met; `stopped` when its scheduler ends
    it, or when the experiment ends while it is paused. A retry is another attempt; Tuner.restore goes on with the runs.
    """

    def __init__(self, **init: Any) -> None:
        """init: arguments of disttrack.init. Raises UsageError for those that cannot be used."""
        self._init = init_arguments(init)
        self._forget()

    def _forget(self) -> None:
        self._runs: dict[str, Run] = {}  # by trial, those that are open
        self._done: dict[str, bool] = {}  # by trial: whether its last result ended it as its criterion asked
        self._ending: dict[str, Future[object]] = {}  # by trial: runs whose last records are on their way
        self._enders: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as before the experiment: Tune keeps its callbacks with it, to restore it from."""
        return {"_init": self._init}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._init = state["_init"]
        self._forget()

    def log_trial_start(self, trial: Trial) -> None:
        """Open a trial's run, or go on with it after a pause, with the hyperparameters that it has now."""
        if _is_tracked(trial):
            return
        run = self._runs.get(trial.trial_id)
        if run is None:
            ending = self._ending.pop(trial.trial_id, None)
            if ending is not None:
                ending.result()  # else two incarnations of one rank would seem to live side by side
            run = self._runs[trial.trial_id] = self._opened(trial)
        asked: Any = trial
        run.config.update(asked.config, allow_val_change=True)

    def _opened(self, trial: Trial) -> Run:
        storage: Any = trial.storage
        experiment = Experiment(storage.experiment_dir_name, directory_of(storage))
        arguments = with_experiment({"console": "off", **self._init.arguments}, experiment)
        arguments |= {"id": trial.trial_id, "name": arguments.get("name", str(trial))}
        run = open_run(arguments, **self._init.others, identity=trial_identity(launch_of(storage)), beside=True)
        run.mark_stopped()  # whatever ends it from outside
        return run

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log what a trial reported."""
        run = self._runs.get(trial.trial_id)
        if run is None:
            return
        run.log(row_of_result(result), step=OtherStep(result.get(TRAINING_ITERATION, 0)), commit=True)
        asked: Any = trial  # Ray annotates not all that it offers
        utils: Any = ray.tune.utils
        meets: bool = asked.should_stop(utils.flatten_dict({**result, DONE: False}))
        self._done[trial.trial_id] = meets or not result.get(DONE)

    def log_trial_save(self, trial: Trial) -> None:
        """Note where the newest checkpoint lies."""
        run = self._runs.get(trial.trial_id)
        if run is not None and trial.checkpoint is not None:
            checkpoint: Any = trial.checkpoint
            run.summary[CHECKPOINT] = checkpoint.path

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the attempt of a trial that failed and is tried again."""
        self.log_trial_end(trial, failed=True)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End a trial's run: as it says itself, and as Tune says of its error."""
        run = self._runs.pop(trial.trial_id, None)
        if run is None:
            return
        if failed:
            run.exception = _error_of(trial)
        run.mark_stopped(not self._done.pop(trial.trial_id, True))
        self._end(trial.trial_id, run)

    def _end(self, trial_id: str, run: Run) -> None:
        """End a run, and wait for its records elsewhere: Tune has other trials to look after."""
        if self._enders is None:
            self._enders = ThreadPoolExecutor(4, "disttrack-ray")
        self._ending[trial_id] = self._enders.submit(run.finish, quiet=True)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """End the runs of trials that are paused for good, and wait until all is stored."""
        for trial_id, run in self._runs.items():
            self._end(trial_id, run)
        self._runs.clear()
        if self._enders is not None:
            self._enders.shutdown()
        self._forget()


def _is_tracked(trial: Trial) -> bool:
    """Say whether a trial's own actor makes it a run: its trainable is decorated."""
    asked: Any = trial
    found = asked.get_trainable_cls()
    return isinstance(found, type) and issubclass(found, Tracked)


def _error_of(trial: Trial) -> str:
    """Return what a trial failed with, as the driver has just written it down."""
    asked: Any = trial
    try:
        if asked.pickled_error_file is None:  # it never began, or its scheduler failed
            return Path(asked.error_file).read_text().strip().rpartition("\n")[2]
        error = cloudpickle.loads(Path(asked.pickled_error_file).read_bytes())
    except Exception as unreadable:  # of a class that cannot be loaded here
        return f"it failed, and why cannot be read: {describe(unreadable)}"
    return describe(getattr(error, "cause", None) or error)


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
