"""@trainable: each trial of a Tune function or class becomes a run, what it reports its rows.

A trial's process is Tune's: it may begin without a step, host one trial after the other (reuse_actors), be stopped
while its function waits in report(), or be killed. So the run is opened at the first step or restore, and ended by
whichever comes first: the function returned or raised, the result said done, Tune stops or resets the actor, it exits.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, cast, overload

from disttrack.api.init import open_run
from disttrack.api.recorder import OtherStep
from disttrack.api.run import Run
from disttrack.api.run_end import describe
from disttrack.environments.ray import Experiment, directory_of, launch_of, trial_identity
from disttrack.errors import ResumeError, RunDeleted
from disttrack.integrations.ray.arguments import InitArguments, init_arguments, with_experiment
from disttrack.integrations.ray.hosting import check_directory
from disttrack.integrations.ray.leaving import Leaving

__all__ = ["Tracked", "row_of_result", "trainable"]

T = TypeVar("T", bound=Callable[..., Any])

_log = logging.getLogger("disttrack")

LEAVING = 2  # trials of one actor whose runs are done, but not yet stored
UNWIND_S = 5.0  # for a function that is stopped in report(), to run its `finally` blocks

# Names of ray.tune.result, which are those of every version, and known without loading Tune.
_DONE, _RETURNED, _ITERATION = "done", "__duplicate__", "training_iteration"
#: What Tune adds to each result and a run knows by itself, or has no use for.
_TUNES_OWN = frozenset(
    {
        *("config", "date", "done", "experiment_tag", "hostname", "iterations_since_restore", "node_ip", "pid"),
        *("should_checkpoint", "time_since_restore", "timestamp", "timesteps_since_restore", "trial_id", "trial_name"),
    }
)


@overload
def trainable(target: T, /) -> T: ...
@overload
def trainable(target: None = None, /, **init: Any) -> Callable[[T], T]: ...
def trainable(target: T | None = None, /, **init: Any) -> T | Callable[[T], T]:
    """Make every trial of a Tune trainable, a function or a class, a run of its own.

    init: arguments of disttrack.init. The run's id is the trial's id, its name the trial's name (where init has no
    other), its group the experiment, its config the hyperparameters; each result that the trial reports is a row at its
    training iteration, and so are rows that the trial logs itself without a step, from the next iteration on. A trial
    that Tune stops before it is done is `stopped`; one that is retried is another attempt of the same run. That a
    stopping criterion (RunConfig.stop) is met only the driver knows: with DisttrackLoggerCallback among its callbacks
    such a trial is `finished`.
    Raises UsageError for arguments that cannot be used.
    """
    if target is None:
        return functools.partial(_tracked, init=init_arguments(init))
    return _tracked(target, init_arguments(init))


def _tracked(target: T, init: InitArguments) -> T:
    if not isinstance(target, type):
        mixin = type("TrackedTrial", (Tracked,), {"_init": init})
        cast(Any, target).__mixins__ = (mixin, *getattr(target, "__mixins__", ()))  # Tune makes a class of it, of these
        return target
    names = ("__module__", "__qualname__", "__doc__")
    return cast(T, type(target.__name__, (Tracked, target), {"_init": init, **{n: getattr(target, n) for n in names}}))


class Tracked:
    """What a trainable does besides, once it is decorated."""

    _init: ClassVar[InitArguments]
    _run: Run | None = None  # of the trial that this actor hosts now, from its first step on
    # Of tune.Trainable, which is beside this among the bases.
    config: dict[str, Any]
    iteration: int
    trial_id: str
    trial_name: str
    _storage: Any
    _trial_info: Any

    def train(self) -> Any:
        """Run one iteration, and log what it reports before anybody else hears of it."""
        run = self._opened()
        try:
            result = cast(Any, super()).train()
        except BaseException as error:
            self._close(error=error)
            raise
        if _RETURNED in result:  # the function has returned; this repeats its last result
            self._leave()
        else:
            iteration = result.get(_ITERATION, self.iteration)
            run.log(row_of_result(result), step=OtherStep(iteration), commit=True)
            if result.get(_DONE):
                self._leave()
        return result

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Restore, as part of the run."""
        self._opened()
        cast(Any, super()).load_checkpoint(checkpoint)

    def reset(self, new_config: Any, *arguments: Any, **named: Any) -> Any:
        """Become another trial, or the same with other hyperparameters; what else Ray says depends on its version."""
        waiting = _session()
        if waiting is None:
            self._close()
        success = cast(Any, super()).reset(new_config, *arguments, **named)
        self._close()  # of a function once it has unwound
        return success

    def stop(self) -> None:
        """End; a function that waits in report() is let go before its run is."""
        waiting = _session()
        try:
            cast(Any, super()).stop()
        finally:
            if waiting is not None:
                waiting.training_thread.join(UNWIND_S)
            self._close()
            _leaving.settle()

    def mark_done(self) -> None:
        """Say that this trial, which is about to be stopped, is done: its stopping criterion is met."""
        if self._run is not None:
            self._run.mark_stopped(False)

    def _opened(self) -> Run:
        """Return the run of the trial that this actor hosts now."""
        if self._run is None:
            self._run = self._open()
            self._run.config.update(self.config, allow_val_change=True)
            self._run.mark_stopped()  # whatever ends it from outside
        return self._run

    def _open(self) -> Run:
        arguments, others = {"reinit": "finish_previous", **self._init.arguments}, self._init.others
        if self._trial_info is None:  # somebody tries the class out, without Tune
            return open_run(arguments, **others)
        launch_key = launch_of(self._storage)
        if "dir" in arguments:
            check_directory(launch_key, arguments["dir"])
        experiment = Experiment(self._trial_info.experiment_name, directory_of(self._storage))
        arguments = with_experiment(arguments, experiment)
        arguments |= {"id": self.trial_id, "name": arguments.get("name", self.trial_name)}
        identity, first_step = trial_identity(launch_key), self.iteration + 1
        try:
            return open_run(arguments, **others, identity=identity, first_step=first_step)
        except (ResumeError, RunDeleted) as error:  # somebody's doing meanwhile, and no reason to fail the trial
            _log.warning("disttrack: this trial goes on without a run: %s", error)
            return open_run({**arguments, "mode": "disabled"}, **others)

    def _leave(self) -> None:
        """End the run of a trial that is done, and let the actor go on with the next one while it is stored."""
        run, self._run = self._run, None
        if run is not None:
            run.mark_stopped(False)
            _leaving.end(run)

    def _close(self, error: BaseException | None = None) -> None:
        """End the run, if one is open: failed with an error, or stopped by Tune.

        Until it is stored, too: such a trial may go on in another actor, which must not be heard of before this one.
        """
        run, self._run = self._run, None
        if run is None:
            return
        if error is not None:
            run.exception = describe(error)
        run.finish(quiet=True)  # a trial may be paused many times


_leaving = Leaving(LEAVING)  # a process hosts one trial after the other


def _session() -> Any:
    """Return the session of a function that has begun; None in the actor of a class."""
    session = getattr(sys.modules.get("ray.train._internal.session"), "_session", None)
    return session if session is not None and session.training_started else None


def row_of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result says that the trial reported, and Tune's counts and times."""
    row = {name: value for name, value in result.items() if name not in _TUNES_OWN}
    if row.get("checkpoint_dir_name", "") is None:
        del row["checkpoint_dir_name"]
    return row
