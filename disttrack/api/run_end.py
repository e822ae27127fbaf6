"""How a run ends in a rank: its last record goes into the journal; then it waits for what becomes of its records."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from types import TracebackType
from typing import Self

from disttrack.api.banner import ended
from disttrack.api.keeping import Keeper
from disttrack.api.observers import Observers
from disttrack.api.receipt import Receipt, receipt_of
from disttrack.api.recorder import Recorder
from disttrack.api.run_hooks import RunHooks
from disttrack.environments.processes import PARENT
from disttrack.records.secrets import redacted_text
from disttrack.records.types import Join
from disttrack.settings import Settings

__all__ = ["RunEnd", "describe"]

_log = logging.getLogger("disttrack")


class RunEnd(RunHooks):
    """What Run has for its end."""

    _keeper: Keeper
    _observers: Observers

    def __init__(self, settings: Settings, join: Join, recorder: Recorder | None, *, enabled: bool) -> None:
        super().__init__(settings, join, recorder, enabled=enabled)
        self.exception: str | None = None  # why the process ends, if a hook or `with` saw an exception
        self._stopped = False  # it ends before it is done
        self._exit_code = 0  # as it ended
        self._ending = threading.RLock()  # one thread ends it, or waits for its receipt; re-made in a forked child

    def mark_stopped(self, stopped: bool = True) -> None:
        """Say that this rank, if it ends well from now on, ends before it is done: it is `stopped`, not finished.

        For whoever runs it: a scheduler that gives up a trial, or pauses it. A process that goes on with the same run
        later goes on with its attempt, and is no new try.
        """
        self._stopped = stopped

    def status(self) -> Receipt:
        """Return what has become of this rank's records so far; waits for nothing."""
        if self._receipt is not None:
            return self._receipt
        return receipt_of(self._recorder, whole=False) if self._recorder is not None else Receipt(0, 0, 0, 0)

    def end(self, exit_code: int | None = None) -> None:
        """End this rank and go on: nothing is accepted any more, and all of it is in the journal when this returns.

        For a process that has other work than to wait until the writer has stored it. finish() still does that, and
        tells what became of the records; the end of the process does it for runs that nobody finished.
        """
        with self._ending:
            if self._ended:
                return
            recorder = self._recorder
            if recorder is None or self._pid != os.getpid():
                self._ended = True
                self._receipt = Receipt(0, 0, 0, 0)  # disabled, or a child that logged nothing: there is nothing to end
                return
            why = self.exception
            if why is not None and self._settings.redact_secrets:
                why = redacted_text(why)
            self._finish_hooks(recorder)
            self._keeper.finish()
            self._observers.finish()
            self._exit_code = exit_code if exit_code is not None else int(why is not None)
            recorder.end(self._exit_code, why, stopped=self._stopped and not self._exit_code and why is None)
            self._ended = True
            if os.environ.get(PARENT) == self._join.journal:
                del os.environ[PARENT]

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> Receipt:
        """End this rank and return what became of its records; other ranks are not waited for.

        Waits until the writer has stored everything, at most Settings.finish_timeout_s; what is left then stays
        in the journal. quiet: say nothing where all are stored (default: the setting). A second call returns the same
        receipt.
        """
        self.end(exit_code)
        with self._ending:
            recorder = self._recorder
            if self._receipt is None and recorder is not None:
                self._receipt = self._wait_for_receipt(recorder)
                self._observers.greet()
                self._say_goodbye(self._receipt, quiet=self._settings.quiet if quiet is None else quiet)
        return self.status()

    def _wait_for_receipt(self, recorder: Recorder) -> Receipt:
        sender, whole = recorder.sender, False
        if sender is not None:  # inf is for ever
            whole = sender.finished.wait(min(self._settings.finish_timeout_s, threading.TIMEOUT_MAX))
        receipt = receipt_of(recorder, whole=whole)
        if sender is not None:
            sender.stop(timeout_s=1.0)
        return receipt

    def _say_goodbye(self, receipt: Receipt, *, quiet: bool) -> None:
        """Say in one line what became of the records: of every rank that is not whole, else of the first alone."""
        whole = not (receipt.dropped or receipt.pending or receipt.pending_media or receipt.captured_drops)
        if not whole:
            _log.warning("disttrack: rank %d of %s: %s", self.rank, self._known_id(), receipt)
        elif self._speaks() and not quiet and sys.stderr is not None:
            where, seconds = f"{self.project}/{self._known_id()}", time.time() - self.start_time
            print(ended(where, self._exit_code, seconds, receipt), file=sys.stderr)

    def _speaks(self) -> bool:
        """Say whether this process says what one of the run is to say: its first rank, none of the helpers."""
        return self.rank == 0 and self._join.role == "rank"

    def is_ours(self) -> bool:
        """Say whether this run was opened in this process and has not ended."""
        return not self._ended and self._pid == os.getpid()

    def is_unfinished(self) -> bool:
        """Say whether this run was opened in this process, which does not know yet what became of its records."""
        return self._receipt is None and self._pid == os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, SystemExit):
            self.finish(error.code if isinstance(error.code, int) else int(error.code is not None))
        else:
            self.exception = describe(error)
            self.finish(1)


def describe(error: BaseException) -> str:
    """Return an exception as one bounded text."""
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except Exception:  # its __str__ raises
        return type(error).__name__
