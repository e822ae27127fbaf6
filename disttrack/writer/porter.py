"""Brings blobs of this node's processes into their runs: in a thread beside the loop, or at once without one."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from disttrack.journal.directories import mark_home
from disttrack.journal.spool import Spooled, spooled
from disttrack.records.blobs import Blob
from disttrack.writer.blobs import left_in, store_all
from disttrack.writer.history import stored_blobs
from disttrack.writer.ingest import RunIngest
from disttrack.writer.roster import Source

__all__ = ["Porter", "bring_blobs", "copy_blobs"]

RETRY_S = 1.0  # after the disk took nothing
LOOK_S = 0.02  # whether the thread is done


class _Load(NamedTuple):
    """Blobs of one source that are being stored."""

    run: RunIngest
    source: Source
    stored: Future[list[tuple[Spooled, Blob]]]


class Porter:
    """Stores what lies in the spools of this node's sources, one batch after the other."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        """complain: says once what goes wrong."""
        self._complain = complain
        self._thread: ThreadPoolExecutor | None = None  # started for the first blob
        self._to_do: dict[Source, RunIngest] = {}
        self._load: _Load | None = None
        self._not_before = 0.0

    def look(self, run: RunIngest, source: Source) -> None:
        """Note that there may be something in the spool of a source of this node."""
        self._to_do[source] = run

    def waits_for(self, run: RunIngest) -> bool:
        """Say whether blobs of a run are not stored yet; looks into the spools of its sources that were looked at."""
        busy = self._load is not None and self._load.run is run
        return busy or any(other is run for other in self._to_do.values())

    @property
    def due_s(self) -> float:
        """The seconds until work is to be called."""
        if self._load is not None:
            return LOOK_S
        return max(0.0, self._not_before - time.monotonic()) if self._to_do else 60.0

    def work(self) -> bool:
        """Say what was stored, begin with what comes next; return whether there is progress."""
        progress = self._finish() if self._load is not None and self._load.stored.done() else False
        if self._load is None and self._to_do and time.monotonic() >= self._not_before:
            self._begin()
        return progress

    def _begin(self) -> None:
        source, run = next(iter(self._to_do.items()))
        del self._to_do[source]
        blobs = left_in(source.join.journal)
        if not blobs:
            if source.over:
                mark_home(Path(source.join.journal))
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "disttrack-blobs")
        stored = self._thread.submit(store_all, run.directory, source.join.incarnation, blobs)
        self._load = _Load(run, source, stored)

    def _finish(self) -> bool:
        assert self._load is not None
        (run, source, future), self._load = self._load, None
        self._to_do[source] = run  # behind the others: there may be more
        try:
            _say(run, source, future.result())
        except OSError as error:
            self._complain(f"blobs of run {run.header.run_id} cannot be stored now, and wait: {error}")
            self._not_before = time.monotonic() + RETRY_S
            return False
        return True

    def close(self) -> None:
        """Let the thread end; what it does now is done again by whoever comes next."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)


def _say(run: RunIngest, source: Source, stored: list[tuple[Spooled, Blob]]) -> None:
    run.say_blobs(source, [said for _, said in stored])
    for blob, _ in stored:
        blob.remove()


def bring_blobs(run: RunIngest, source: Source) -> int:
    """Store all blobs that a source's journal has; return how many. Raises OSError where the disk takes nothing."""
    count = 0
    while blobs := left_in(source.join.journal):
        stored = store_all(run.directory, source.join.incarnation, blobs)
        _say(run, source, stored)
        count += len(stored)
    return count


def copy_blobs(run: RunIngest, source: Source, journal: Path) -> int:
    """Store those blobs of somebody's copy of a journal that its run has not, and leave the copy as it is."""
    known = stored_blobs(run.directory / "log", source.join.incarnation)
    blobs = [blob for blob in spooled(journal) if blob.number not in known]
    count = 0
    while rest := blobs[count:]:
        stored = store_all(run.directory, source.join.incarnation, rest)
        run.say_blobs(source, [said for _, said in stored])
        count += len(stored)
    return count
