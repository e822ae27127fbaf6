"""How far a catch-up has come, for who waits for it: told when it takes long, to a listener or else to the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["Listener", "Meter", "Progress", "listening"]

PATIENCE_S = 1.0  # before anything is said
LOG_EVERY_S = 10.0

_logger = logging.getLogger("disttrack.index")


class Progress(NamedTuple):
    """How far a catch-up has come: of the runs that are new or have grown, and of the bytes of their logs."""

    runs: int
    of_runs: int
    bytes: int
    of_bytes: int | None  # None where these are too many to be looked into beforehand

    @property
    def done(self) -> bool:
        """Whether this is the last that is heard of it."""
        return self.runs == self.of_runs

    @property
    def fraction(self) -> float:
        """How much of it is done, from 0 to 1: by bytes where they are known."""
        if self.done or self.of_bytes is None:
            return self.runs / self.of_runs
        return min(1.0, self.bytes / max(1, self.of_bytes))

    def __str__(self) -> str:
        runs = "run" if self.of_runs == 1 else "runs"
        of_bytes = "" if self.of_bytes is None else f" of {_megabytes(self.of_bytes)}"
        return f"{self.runs:,} of {self.of_runs:,} {runs}, {_megabytes(self.bytes)}{of_bytes}"


Listener = Callable[[Progress], None]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _log(progress: Progress) -> None:
    _logger.info("Indexing: %s", progress)


_listener: ContextVar[tuple[Listener, float]] = ContextVar("listener", default=(_log, LOG_EVERY_S))


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Have the catch-ups of this thread tell a listener how far they are, after each of their transactions."""
    token = _listener.set((listener, 0.0))
    try:
        yield
    finally:
        _listener.reset(token)


class Meter:
    """Tells how far one catch-up is: first after PATIENCE_S, and at its end if it was told before."""

    def __init__(
        self, runs: int, size_bytes: Callable[[], int | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """size_bytes: of all the logs; asked when something is told first."""
        self._runs, self._size_bytes = runs, size_bytes
        self._clock = clock
        self._listener, self._every_s = _listener.get()
        self._of_bytes: int | None = None
        self._is_quiet = True
        self._tell_at = clock() + PATIENCE_S

    def reached(self, runs: int, size_bytes: int) -> None:
        """Note how many runs are done, and how many bytes of the logs are read, now and before."""
        is_last = runs == self._runs and not self._is_quiet
        if not is_last and self._clock() < self._tell_at:
            return
        if self._is_quiet:
            self._is_quiet = False
            self._of_bytes = self._size_bytes()
        self._listener(Progress(runs, self._runs, size_bytes, self._of_bytes))
        self._tell_at = self._clock() + self._every_s
