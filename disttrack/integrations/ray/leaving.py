"""Runs that have ended in a process that has other work than to wait until all of their records are stored."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from disttrack.api.run import Run

__all__ = ["Leaving"]


class Leaving:
    """Ends runs, and has threads wait for what becomes of their records: a few at a time, then the next end waits.

    Their last records are in their journals by then, so whatever becomes of this process nothing of them is lost.
    """

    def __init__(self, at_most: int) -> None:
        """at_most: how many runs may be waited for beside what the process does."""
        self._at_most = at_most
        self._lock = threading.Lock()
        self._waited: deque[Future[object]] = deque()
        self._threads: ThreadPoolExecutor | None = None

    def end(self, run: Run) -> None:
        """End a run, and have it waited for; first for the oldest, where as many as may be are waited for already."""
        run.end()
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._at_most, "disttrack-ray")
            late = self._waited.popleft() if len(self._waited) >= self._at_most else None
            self._waited.append(self._threads.submit(run.finish, quiet=True))
        if late is not None:
            late.result()

    def settle(self) -> None:
        """Wait until it is known of every run what became of it."""
        with self._lock:
            threads, self._threads = self._threads, None
            waited, self._waited = self._waited, deque()
        if threads is not None:
            threads.shutdown()
        for future in waited:
            future.result()
