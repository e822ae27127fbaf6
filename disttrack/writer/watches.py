"""The processes of this node that a node process watches, each once, however many runs come from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from disttrack.environments.endings import Ending
from disttrack.records.types import Join
from disttrack.transport.receiver import Receiver
from disttrack.writer.liveness import Watch, how_ended

__all__ = ["Process", "Watches", "process_of"]

T = TypeVar("T")

Process = tuple[str, int, int]  # boot id, pid, start time


def process_of(join: Join) -> Process:
    """Return which process an incarnation lives in."""
    return join.boot_id, join.pid, join.start_time


class Watches:
    """A Watch for each process."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._watches: dict[Process, Watch] = {}

    def add(self, join: Join) -> None:
        """Watch the process of an incarnation of this node."""
        process = process_of(join)
        if process not in self._watches:
            watch = self._watches[process] = Watch(join)
            if watch.fd >= 0:
                self._receiver.watch(watch.fd)

    def ended(self, fd: int) -> None:
        """Note that a watched descriptor has become readable: its process has ended."""
        for watch in self._watches.values():
            if watch.fd == fd:
                self._receiver.unwatch(fd)
                watch.close()

    def gone(self) -> dict[Process, Ending]:
        """Return the watched processes that have ended, and how."""
        return {process: watch.ending() for process, watch in self._watches.items() if watch.fd < 0 and watch.gone()}

    def dead(self, of: Iterable[T], join: Callable[[T], Join]) -> list[tuple[T, Ending]]:
        """Return those of them whose watched process has ended, and how. join: of which incarnation one is.

        Of those that are seen dead at one look, whoever may be why the others are comes first.
        """
        gone = self.gone()
        if not gone:
            return []
        found = [(one, gone[process]) for one in of if (process := process_of(join(one))) in gone]
        return sorted(found, key=lambda death: death[1].led)

    def how_ended(self, join: Join) -> Ending:
        """Return how the process of a dead incarnation ended: a watched one's end is told even once it was reaped."""
        watch = self._watches.get(process_of(join))
        return how_ended(join) if watch is None else watch.ending()

    def lives(self, join: Join) -> bool:
        """Say whether the process of an incarnation is watched and has not ended."""
        watch = self._watches.get(process_of(join))
        return watch is not None and not watch.gone()
