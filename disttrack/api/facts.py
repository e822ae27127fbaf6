"""What a rank tells of itself once its run is open: found out by a thread, so that training does not wait for it."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from disttrack.api.recorder import Recorder
from disttrack.records.payloads import About
from disttrack.records.types import Join
from disttrack.records.values import plain
from disttrack.settings import Settings

__all__ = ["FactFinder"]

_loading = (
    threading.Lock()
)  # held while importing: a child forked half way through an import could never import that module itself
_holding = False  # that lock, by who forks now

WAIT_S = 2.0  # that the end of a run waits for what is still being found out
END_S = 5.0  # ... and for a writer, where none has come yet
PATIENCE_S = 60.0  # for a writer
LOOK_S = 0.25


class FactFinder:
    """Says the program of each rank; source, packages, host and devices in one rank of each node."""

    def __init__(self, recorder: Recorder, settings: Settings, join: Join) -> None:
        self._recorder, self._settings, self._join = recorder, settings, join
        self._arguments, self._environ = list(sys.argv), dict(os.environ)  # as they are now: a program may change them
        self._thread = threading.Thread(target=self._find, name="disttrack-facts", daemon=True)
        self._started_s = time.monotonic()
        self._patient_until = self._started_s + PATIENCE_S
        self._thread.start()

    def finish(self) -> None:
        """Wait until all is said, at most WAIT_S from the start; for a writer to say who speaks, END_S at most."""
        now, sender = time.monotonic(), self._recorder.sender
        left_s = max(0.0, self._started_s + WAIT_S - now)
        if sender is not None and not sender.welcomed.is_set() and self._join.rank.world_size > 1:
            sender.hurry()
            self._patient_until = min(self._patient_until, now + END_S)
            left_s += END_S
        self._thread.join(left_s)

    def _find(self) -> None:
        with _loading:
            from disttrack.capture.program import program, script_of
        redact, directory = self._settings.redact_secrets, _directory()
        self._say("program", program(self._arguments, self._environ, sys.modules, directory, redact=redact))
        if not self._speaks_for_node():
            return
        with _loading:
            from disttrack.capture.devices import devices
            from disttrack.capture.host import host
            from disttrack.capture.packages import packages
            from disttrack.capture.source import source
        self._say("host", host())
        self._say("packages", packages())
        self._say("devices", devices())
        beside = Path(script_of(sys.modules, self._arguments)).parent  # the current directory may hold data only
        self._say("source", source([Path(directory), beside], self._environ, diff=self._settings.save_code))

    def _say(self, section: str, values: dict[str, object]) -> None:
        if values:
            self._recorder.say(About(section=section, values=plain(values)))  # paths may be no UTF-8

    def _speaks_for_node(self) -> bool:
        """Say whether this rank is the one that tells of the node: as the writer says, who knows all ranks of it.

        Where none is to be had in time, local rank 0.
        """
        place, sender = self._join.rank, self._recorder.sender
        if place.world_size == 1:
            return True
        while sender is not None and time.monotonic() < self._patient_until:
            if sender.welcomed.wait(LOOK_S) and sender.welcome is not None:
                return sender.welcome.speaks
        return place.local_rank in (0, None)


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it was removed


def _before_fork() -> None:
    global _holding
    _holding = _loading.acquire(timeout=WAIT_S)


def _after_fork() -> None:
    global _holding
    if _holding:
        _holding = False
        _loading.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
