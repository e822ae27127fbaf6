"""setup: a worker of Ray Train joins its run as a rank."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from disttrack.api.init import open_run
from disttrack.api.run import Run
from disttrack.api.run_end import describe
from disttrack.environments import ray
from disttrack.integrations.ray.arguments import init_arguments, with_experiment
from disttrack.integrations.ray.hosting import check_directory

__all__ = ["setup"]


def setup(config: Any = None, **init: Any) -> Run:
    """Join this Train run as its rank, first in train_loop_per_worker; all workers of all its tries get the same run.

    config: the hyperparameters (train_loop_config). init: arguments of disttrack.init; group and name are the Train
    run's where they are not given. The run ends when train_loop_per_worker returns or raises, or with finish().
    Outside of Train it is disttrack.init.
    Raises UsageError for arguments that cannot be used, as for a directory that is not absolute.
    """
    found = ray.experiment(sys.modules)
    given = init_arguments(init)
    arguments = with_experiment(given.arguments, found)
    others: dict[str, Any] = {**given.others, "config": config if config is not None else given.others.get("config")}
    if found is not None and found.name:
        arguments.setdefault("name", found.name)
    identity = ray.identity(os.environ, sys.modules)
    if "dir" in given.arguments and identity is not None and identity.launch_key is not None:
        check_directory(identity.launch_key, given.arguments["dir"])
    run = open_run(arguments, **others)
    if found is not None and threading.current_thread() is not threading.main_thread():
        _end_with_thread(run)
    return run


def _end_with_thread(run: Run) -> None:
    """End the run with this thread, which runs train_loop_per_worker: Ray ends its processes without a word.

    Both versions of Train put what the function raised into a queue, and kill the process soon after; so the run ends
    where that is put. What is not heard that way ends when the thread has ended.
    """
    thread = threading.current_thread()
    context = getattr(sys.modules.get("ray.train.v2._internal.execution.context"), "_train_context", None)
    if context is not None:
        runner = getattr(context.execution_context, "training_thread_runner", None)
        _listen(runner, "_exc_queue", run)
    else:
        _listen(thread, "_error_queue", run)
    threading.Thread(target=_end_after, args=(run, thread), name="disttrack-ray", daemon=True).start()


def _listen(owner: Any, name: str, run: Run) -> None:
    """Hear what is put into a queue that is an attribute; a version of Ray that has none there is left alone."""
    queue = getattr(owner, name, None)
    if hasattr(queue, "put"):
        setattr(owner, name, _Heard(queue, run))


def _end_after(run: Run, thread: threading.Thread) -> None:
    thread.join()
    if run.is_ours():
        run.finish()


def _of_user(error: Any) -> BaseException:
    """Return what the function raised, without what Train puts around it."""
    while type(error).__name__.startswith("StartTraceback") and error.__cause__ is not None:
        error = error.__cause__
    found: BaseException = getattr(error, "_base_exc", error)
    return found


class _Heard:
    """A queue for what a training function ended with, which ends the run before anybody takes it."""

    def __init__(self, queue: Any, run: Run) -> None:
        self._queue = queue
        self._run = run

    def put(self, item: Any, *arguments: Any, **named: Any) -> None:
        """Put an exception, or None where there was none."""
        if self._run.is_ours():
            if item is not None:
                self._run.exception = describe(_of_user(item))
            self._run.finish()
        self._queue.put(item, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)
