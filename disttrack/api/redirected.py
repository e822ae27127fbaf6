"""console="fd": descriptors 1 and 2 of a rank lead into files that a tailer beside it copies on and journals."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from disttrack.api.tailer import JOURNALED, OVER, Plan
from disttrack.capture.redirect import Redirection
from disttrack.environments.host import is_alive, private_directory, process_start_time
from disttrack.journal.heads import write_join
from disttrack.records.types import Join
from disttrack.settings import Settings

__all__ = ["RedirectedConsole"]

LOOK_S = 0.25
MANY_STARTS = 20  # of tailers, after which one is started every REST_S at most
REST_S = 5.0
END_WAIT_S = 10.0  # that the end of a run waits for what was printed to be copied on and journaled
LEAST_FREE_BYTES = 64 << 20  # on the files' disk: print must never fail for want of it
VARIABLE = "DISTTRACK_CONSOLE"

_log = logging.getLogger("disttrack")


class RedirectedConsole:
    """Leads 1 and 2 into files from here on, until it is finished; sees to it that a tailer runs."""

    def __init__(self, settings: Settings, join: Join) -> None:
        """Raises OSError or UnsafeDirectory where it cannot be done; then nothing has changed."""
        self._settings, self._join = settings, join
        place = Path(join.journal).parent.parent / "consoles"
        self._directory = private_directory(private_directory(place) / f"{join.incarnation:x}")
        write_join(self._directory, join)  # a rank may be dead, and its journal gone, before the tailer is up
        self._redirection = Redirection(self._directory)
        self._before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = "fd"  # children print into the same files: theirs must not be kept twice
        self._done = threading.Event()
        self._starting: subprocess.Popen[bytes] | None = None
        self._starts, self._started_s = 0, 0.0
        self._start_tailer()
        self._thread = threading.Thread(target=self._watch, name="disttrack-console", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Lead 1 and 2 back, and wait until what was printed is copied on and journaled; at most END_WAIT_S."""
        if not self._done.is_set():
            self._lead_back()
            deadline = time.monotonic() + END_WAIT_S
            while not self._is_journaled() and time.monotonic() < deadline:
                self._see_to_tailer()
                time.sleep(0.01)
        self._thread.join(1.0)
        self._redirection.close()

    def let_go(self) -> None:
        """Do nothing: a forked child prints where its parent does."""

    def _lead_back(self) -> None:
        """Lead 1 and 2 back; what is printed then follows what is in the files."""
        sizes = self._redirection.undo()
        (self._directory / OVER).touch()
        self._done.set()
        if self._before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._before
        deadline = time.monotonic() + END_WAIT_S
        while not self._redirection.copied(sizes) and time.monotonic() < deadline:
            self._see_to_tailer()
            time.sleep(0.005)

    def _watch(self) -> None:
        while not self._done.wait(LOOK_S):
            self._see_to_tailer()
            room = os.statvfs(self._directory.parent)  # its own place may have gone with the last tailer
            if room.f_bavail * room.f_frsize < LEAST_FREE_BYTES:
                _log.warning("disttrack: %s is full: what is printed from here on is not kept", self._directory)
                self._lead_back()

    def _see_to_tailer(self) -> None:
        """Start another tailer where there is none any more."""
        if self._starting is not None:
            if self._starting.poll() is None:
                return
            self._starting = None
        try:
            pid, start_time = map(int, (self._directory / "tailer").read_text().split())
        except (OSError, ValueError):
            pid = start_time = 0
        # Asked last: the tailer that was not found may have ended since, and its files with it.
        if not (pid and is_alive(pid, start_time)) and not self._is_journaled():
            self._start_tailer()

    def _is_journaled(self) -> bool:
        """Say whether a tailer has done all its work: it says so, until it removes what it said with all else."""
        return (self._directory / JOURNALED).exists() or not self._directory.exists()

    def _start_tailer(self) -> None:
        now_s = time.monotonic()
        if self._starts >= MANY_STARTS and now_s - self._started_s < REST_S:
            return  # something ends them all
        self._starts, self._started_s = self._starts + 1, now_s
        copies = self._redirection.copies
        plan = Plan(
            str(self._directory),
            self._join.journal,
            os.getpid(),
            process_start_time(os.getpid()),
            copies,
            {name: value for name, value in dataclasses.asdict(self._settings).items() if value is not None},
        )
        package = str(Path(__file__).parents[2])
        environ = {name: value for name, value in os.environ.items() if name not in ("DISTTRACK_PARENT", VARIABLE)}
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environ.get("PYTHONPATH")]))
        try:
            log = os.open(self._directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            log = subprocess.DEVNULL
        try:
            self._starting = subprocess.Popen(
                [sys.executable or "python3", "-P", "-m", "disttrack.api.tailer", json.dumps(dataclasses.asdict(plan))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env=environ,
                pass_fds=[fd for copy in copies for fd in (copy.reads, copy.target)],
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("disttrack: what is printed cannot be copied on now (%s); it is in %s", error, self._directory)
        finally:
            if log >= 0:
                os.close(log)
