"""What a rank tells of itself once its run is open: found out by a thread, so that training does not wait for it."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from pathlib import Path

from disttrack.api.recorder import Recorder
from disttrack.environments.files import open_plain
from disttrack.environments.host import private_directory, runtime_directory, try_lock
from disttrack.errors import UnsafeDirectory
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


class FactFinder:
    """Says the program of each rank; source, packages, host and devices in the first rank of each node that asks."""

    def __init__(self, recorder: Recorder, settings: Settings, join: Join) -> None:
        self._recorder, self._settings, self._join = recorder, settings, join
        self._lock_fd: int | None = None
        self._lock_path: Path | None = None
        self._arguments, self._environ = list(sys.argv), dict(os.environ)  # as they are now: a program may change them
        self._thread = threading.Thread(target=self._find, name="disttrack-facts", daemon=True)
        self._started_s = time.monotonic()
        self._thread.start()

    def finish(self) -> None:
        """Wait until all is said, at most WAIT_S from the start."""
        self._thread.join(max(0.0, self._started_s + WAIT_S - time.monotonic()))
        if self._lock_fd is not None and self._lock_path is not None:
            self._lock_path.unlink(missing_ok=True)
            os.close(self._lock_fd)
            self._lock_fd = None

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
        """Say whether this rank is the first of its launch on this node that asks, and so tells of the node."""
        if self._join.rank.world_size == 1:
            return True
        known = (self._join.launch_key, self._join.ordinal, self._join.project, self._join.group, self._join.given_id)
        try:
            directory = private_directory(runtime_directory(self._settings.runtime_dir) / "nodes")
            path = directory / hashlib.sha256(repr(known).encode()).hexdigest()[:20]
            fd = open_plain(path, os.O_RDWR | os.O_CREAT, 0o600)
        except (OSError, UnsafeDirectory):
            return self._join.rank.local_rank in (0, None)
        if not try_lock(fd):
            os.close(fd)
            return False
        self._lock_fd, self._lock_path = fd, path
        return True


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
