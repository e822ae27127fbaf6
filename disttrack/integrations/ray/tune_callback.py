"""Runs by what Ray Tune tells its driver: of trials that are not decorated.

The driver outlives trials, and waits for no writer while there are some.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray.tune.utils
from ray import cloudpickle
from ray.air.constants import TRAINING_ITERATION
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.result import DONE

from disttrack.api.init import open_run
from disttrack.api.recorder import OtherStep
from disttrack.api.run import Run
from disttrack.api.run_end import describe
from disttrack.environments.ray import Experiment, directory_of, launch_of, trial_identity
from disttrack.integrations.ray.arguments import CHECKPOINT, init_arguments, with_experiment
from disttrack.integrations.ray.trainable import Tracked, row_of_result

__all__ = ["DisttrackLoggerCallback"]


class DisttrackLoggerCallback(LoggerCallback):
    """Makes every trial of an experiment a run, by what it reports: for trainables that are not decorated.

        tune.Tuner(objective, run_config=tune.RunConfig(callbacks=[DisttrackLoggerCallback(project="p")]))

    Runs are as those of @trainable: id, group, config and rows; `checkpoint` in the summary is the newest one. They are
    written by the driver, so they have its console neither, nor what trials log themselves, and what was reported to
    Tune but not to the driver when this dies is not in them. Trials of a decorated trainable are left to that, which
    learns from here what only the driver knows: that a stopping criterion is met.

    A trial is `finished` when its function returns or its stopping criterion is met; `stopped` when its scheduler ends
    it, or when the experiment ends while it is paused. A retry is another attempt; Tuner.restore goes on with the runs.
    """

    def __init__(self, **init: Any) -> None:
        """init: arguments of disttrack.init. Raises UsageError for those that cannot be used."""
        self._init = init_arguments(init)
        self._forget()

    def _forget(self) -> None:
        self._runs: dict[str, Run] = {}  # by trial, those that are open
        self._configs: dict[str, object] = {}  # by trial: what it was started with
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
        asked: Any = trial
        run = self._runs.get(trial.trial_id)
        if run is not None and self._configs[trial.trial_id] is not asked.config:
            # Perturbed: from one incarnation to the next a reader sees what changed, and at which step.
            self._end(trial.trial_id, self._runs.pop(trial.trial_id))
            run = None
        if run is None:
            ending = self._ending.pop(trial.trial_id, None)
            if ending is not None:
                ending.result()  # else two incarnations of one rank would seem to live side by side
            run = self._runs[trial.trial_id] = self._opened(trial)
        self._configs[trial.trial_id] = asked.config
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
        """Log what a trial reported; a trial that logs it itself is told where its stopping criterion is met."""
        run = self._runs.get(trial.trial_id)
        if run is not None:
            run.log(row_of_result(result), step=OtherStep(result.get(TRAINING_ITERATION, 0)), commit=True)
            self._done[trial.trial_id] = _is_good(trial, result) or not result.get(DONE)
        elif _is_tracked(trial) and _is_good(trial, result):
            asked: Any = trial
            asked.temporary_state.ray_actor.mark_done.remote()  # it comes before Tune stops the actor

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


def _is_good(trial: Trial, result: Mapping[str, Any]) -> bool:
    """Say whether a trial ends with this result because its stopping criterion is met."""
    asked: Any = trial  # Ray annotates not all that it offers
    utils: Any = ray.tune.utils
    found: bool = asked.should_stop(utils.flatten_dict({**result, DONE: False}))
    return found


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
