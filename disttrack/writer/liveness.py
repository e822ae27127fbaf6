"""Which local processes live: one pidfd each, so that an end is seen at once and a reused pid is never mistaken."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from disttrack.environments.endings import UNKNOWN, Ending, ending_of
from disttrack.environments.host import boot_id, is_alive
from disttrack.environments.torchrun import error_in
from disttrack.journal.deaths import noted_ending
from disttrack.journal.directories import is_held
from disttrack.journal.stored import StoredOutbox, stored_outboxes
from disttrack.records.types import Join

__all__ = ["Watch", "dead_journals", "how_ended", "lives"]


def lives(join: Join) -> bool:
    """Say whether the process of an incarnation runs on this host now.

    A pid of another container says nothing here; that somebody holds its journal does.
    """
    if join.boot_id == boot_id():
        return is_alive(join.pid, join.start_time)
    return is_held(Path(join.journal))


def dead_journals(runtime: Path, wanted: Callable[[Join], bool]) -> Iterator[StoredOutbox]:
    """Yield the journals on this host whose process is gone, of those that are wanted; wanted is asked first."""
    for stored in stored_outboxes(runtime):
        if wanted(stored.join) and not lives(stored.join):
            yield stored


def how_ended(join: Join) -> Ending:
    """Return how the process of an incarnation ended, as far as it can be known without having watched it.

    As the kernel tells, else as somebody noted who had.
    """
    if lives(join):
        return UNKNOWN
    ending = _ending(join) if join.boot_id == boot_id() else UNKNOWN
    return noted_ending(join) if ending == UNKNOWN else ending


def _ending(join: Join, pidfd: int = -1) -> Ending:
    """Return how the process of an incarnation ended that runs no more, with what it left for its launcher."""
    ending = ending_of(join.pid, join.start_time, pidfd)
    if ending.exit_code == 0 or not join.error_file:
        return ending
    return ending._replace(exception=error_in(join.error_file))


class Watch:
    """Watches the process of one incarnation. fd becomes readable when it ends; -1 where only asking helps.

    Fallback without pidfd (old kernels, macOS): gone() asks the process table.
    """

    def __init__(self, join: Join) -> None:
        self.local = join.boot_id == boot_id()
        self._join = join
        self._ending = UNKNOWN
        self.fd = -1
        if sys.platform == "linux" and lives(join):
            try:
                self.fd = os.pidfd_open(join.pid)
            except OSError:
                pass  # ended this moment, or a kernel before 5.3: gone() asks instead

    def gone(self) -> bool:
        """Say whether the process has ended (False where it runs on another host: its agent will tell)."""
        return self.local and not lives(self._join)

    def ending(self) -> Ending:
        """Return how the process ended, as far as the kernel tells or told; unknown while it lives."""
        if self._ending == UNKNOWN and self.gone():
            self._ending = _ending(self._join, self.fd)
        return self._ending

    def close(self) -> None:
        """Stop watching; what is known of its end is remembered."""
        if self.fd >= 0:
            self.ending()
            os.close(self.fd)
            self.fd = -1
