"""The runs that are open in this process: which of them is meant, and how the process ends with them.

No signal handler is installed. In a forked child all of them are its parent's.
"""

from __future__ import annotations

import atexit
import sys
import threading
from types import TracebackType
from typing import Any

from disttrack.api.run import Run
from disttrack.api.run_end import describe
from disttrack.environments.processes import has_multiprocessing_parent

__all__ = ["OpenRuns"]


class OpenRuns:
    """The runs of a process: the current one, which module-level calls use, and those opened beside it."""

    def __init__(self) -> None:
        self.current: Run | None = None  # open, or the last one that was
        self.opening = threading.RLock()  # one thread at a time opens or joins a run; re-made in a forked child
        self._all: list[Run] = []
        self._hooked = False
        self._finalized = False
        self._exit_code: int | None = None

    def add(self, run: Run) -> None:
        """Note a run that was opened here, and learn how this process ends."""
        self._all = [other for other in self._all if other.is_unfinished()] + [run]
        self._hook()

    def _ours(self) -> list[Run]:
        return [run for run in self._all if run.is_ours()]

    def settle(self, run_id: str) -> None:
        """Wait for the receipts of runs that were given this id and have ended here.

        Else a run that goes on with one of them might be heard of first, and two of a rank would seem to live.
        """
        for run in self._all:
            if run.given_id == run_id and run.is_unfinished() and not run.is_ours():
                run.finish()

    def is_open(self, run_id: str) -> bool:
        """Say whether a run that was given this id is open here."""
        return any(run.given_id == run_id for run in self._ours())

    def forked(self) -> None:
        """Let go of what is the parent's; called in a forked child."""
        self.opening = threading.RLock()
        if self.current is not None and self.current not in self._all:
            self.current.forked()
        for run in self._all:
            run.forked()
        self._finalized = False

    # How the process ends

    def _hook(self) -> None:
        """Learn how this process ends: uncaught exceptions, sys.exit codes, plain ends."""
        if has_multiprocessing_parent(sys.modules) and not self._finalized:
            self._finalized = True
            from multiprocessing.util import Finalize

            Finalize(None, self._at_child_exit, exitpriority=100)  # such a process runs no atexit hooks
        if self._hooked:
            return
        self._hooked = True
        before_hook, before_exit = sys.excepthook, sys.exit

        def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
            for run in self._ours():
                run.exception = describe(error)
            before_hook(kind, error, traceback)

        def noted_exit(code: Any = None, /) -> Any:
            if threading.current_thread() is threading.main_thread():  # elsewhere it ends that thread only
                self._exit_code = code if isinstance(code, int) else int(code is not None)
            before_exit(code)

        sys.excepthook, sys.exit = excepthook, noted_exit
        atexit.register(self._at_exit)

    def _at_exit(self) -> None:
        for run in self._all:
            if run.is_unfinished():
                run.finish(self._exit_code or None)

    def _at_child_exit(self) -> None:
        """Finish what a child of multiprocessing opened; what it raised is on its way through here."""
        error = sys.exc_info()[1]
        for run in self._all:
            if run.is_helper or not run.is_unfinished():
                continue  # of a helper, its parent's rank goes on
            run.__exit__(type(error) if error is not None else None, error, None)
