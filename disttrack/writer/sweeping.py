"""Removes journals that nobody needs any more, whose writers were killed before they did.

`python -m disttrack.writer.sweeping RUNTIME_DIR` is a process of its own, started by that of a later launch on this
node: what it reads, run logs of other launches, may be long, or lie on a file system that hangs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from disttrack.environments.files import touch
from disttrack.errors import DisttrackError
from disttrack.journal.directories import is_held, is_journal, remove, remove_rests
from disttrack.journal.spool import has_blobs
from disttrack.journal.stored import StoredOutbox
from disttrack.records.names import LIVE, directory_name
from disttrack.records.types import Incarnation, Join, Offset
from disttrack.transport.rendezvous import Claim, read_record
from disttrack.writer.history import History, read_history
from disttrack.writer.launch import run_key
from disttrack.writer.liveness import dead_journals

__all__ = ["may_sweep", "start_sweeping", "sweep"]

KEPT_NAME = "kept"  # beside a journal: when it was found to be needed
KEPT_S = 3600.0  # until it is looked at again by a launch that has nothing to do with it
LIVE_S = 120.0  # a writer touches its runs' markers about every 15 s
READ_BYTES = 1 << 20


def may_sweep(runtime: Path, launch_key: str) -> bool:
    """Say whether journals of other launches lie here that nobody has looked at for a while."""
    return any(join.launch_key != launch_key for join in (stored.join for stored in _left(runtime)))


def start_sweeping(runtime: Path) -> subprocess.Popen[bytes]:
    """Start a process that sweeps, and complains where we do; raise OSError where none can be started."""
    command = [sys.executable, "-P", "-m", "disttrack.writer.sweeping", str(runtime)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True)


def sweep(runtime: Path, root: Path) -> list[tuple[Path, Join]]:
    """Remove the journals of runs in root that nobody needs; return where they lay, and whose they were.

    That is: the run's log holds all of it, and says how its rank ended; its launch has no process on this node, and no
    process has it open; and the run has ended, or has no writer on any node.
    """
    return _sweep(runtime, dead_journals(runtime, lambda join: Path(join.root) == root), lambda _: None)


def _left(runtime: Path) -> Iterator[StoredOutbox]:
    """Yield the journals of dead processes whose launch has no process here, and that were not found to be needed."""
    for stored in dead_journals(runtime, lambda join: read_record(runtime, join.launch_key) is None):
        try:
            age_s = time.time() - (stored.directory / KEPT_NAME).stat().st_mtime
        except OSError:
            age_s = KEPT_S
        if not 0 <= age_s < KEPT_S:
            yield stored


def _sweep(
    runtime: Path, journals: Iterator[StoredOutbox], keep: Callable[[StoredOutbox], None]
) -> list[tuple[Path, Join]]:
    histories: dict[Path, History | None] = {}
    swept: list[tuple[Path, Join]] = []
    for stored in journals:
        if any(_is_needless(stored, run, histories) for run in _runs(runtime, stored.join)):
            claim = Claim(runtime, stored.join.launch_key)
            if claim.take():
                remove(stored.directory)
                claim.release()
                swept.append((stored.directory, stored.join))
        else:
            keep(stored)
    return swept


def _runs(runtime: Path, join: Join) -> Iterator[Path]:
    """Yield the directories of the runs that an incarnation may be of."""
    project = Path(join.root) / directory_name(join.project)
    known = Claim(runtime, join.launch_key).runs().get(run_key(join))
    for run_id in dict.fromkeys(filter(None, (join.run_id, join.given_id, known, join.own_id))):
        yield project / directory_name(run_id)


def _is_needless(stored: StoredOutbox, run: Path, histories: dict[Path, History | None]) -> bool:
    """Say whether a dead process's journal holds nothing that this run's log does not, and nobody may ask for it."""
    incarnation, directory = stored.join.incarnation, stored.directory
    if run not in histories:
        histories[run] = _history(run)
    history = histories[run]
    if history is None or not _is_told(history, incarnation) or not (history.ended or not _is_live(run)):
        return False
    if not is_journal(directory) or is_held(directory) or has_blobs(directory):
        return False
    try:
        return not stored.read(Offset(history.end_of(incarnation)), READ_BYTES)
    except OSError:
        return False  # removed this moment


def _is_told(history: History, incarnation: Incarnation) -> bool:
    """Say whether a log tells whose an incarnation's records are, and how it ended."""
    admitted = any(admission.join.incarnation == incarnation for admission in history.admissions)
    return history.header is not None and admitted and incarnation in history.over and not history.moved


def _history(run: Path) -> History | None:
    try:
        return read_history(run / "log")
    except (OSError, DisttrackError):  # it cannot be read now, or a newer disttrack wrote it
        return None


def _is_live(run: Path) -> bool:
    """Say whether a run that has not ended may have a writer, on whatever node."""
    try:
        return time.time() - (run.parent / LIVE / run.name).stat().st_mtime < LIVE_S
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _keep(stored: StoredOutbox) -> None:
    """Note that a journal is needed still, so that not every launch on this node reads its run's log."""
    try:
        touch(stored.directory / KEPT_NAME)
    except OSError:
        pass  # removed this moment; or a full disk: then the next launch looks again


if __name__ == "__main__":
    os.nice(10)
    here = Path(sys.argv[1])
    remove_rests(here)
    _sweep(here, _left(here), _keep)
