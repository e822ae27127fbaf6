"""A live run, looked at again and again: a look costs a directory listing where nothing is new."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from disttrack.errors import RunNotFound
from disttrack.index.decoder import SegmentSeen
from disttrack.index.plan import log_of
from disttrack.index.queries import RunRecord
from disttrack.index.snapshots import Snapshot
from disttrack.index.survey import segments
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import RunRow, row_of

__all__ = ["LOOK_S", "Follower"]

LOOK_S = 0.25  # between two looks at least: what a person follows needs no more (facts/ui.md: <= 4 messages a second)
CATCH_UP_S = 10.0  # the index is brought up so often, or nobody would seal the rows that pile up
SHARE = 0.05  # of the time a follower may spend on looks that found something
_T = TypeVar("_T")
_ENDED = ("crashed", "failed", "lost", "preempted", "stopped", "finished")


class Follower:
    """Follows the run that an id names; the reader may be asked other things meanwhile."""

    def __init__(self, reader: Reader, wanted: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises RunNotFound, or UnsupportedFormat where a newer disttrack wrote the run."""
        self._reader, self._clock = reader, clock
        self._record = reader.find(wanted)
        self._wanted = self._record.path
        self._seen: dict[int, SegmentSeen] | None = None
        self._caught_up_at = clock()
        self.pause_s = LOOK_S

    @property
    def record(self) -> RunRecord:
        """What is known of the run since the last look."""
        return self._record

    def row(self) -> RunRow:
        """Return the run as one row, as of now: ranks fall silent and die without a word in the log."""
        return row_of(self._record, self.observer())

    def look(self, ask: Callable[[Snapshot], _T], *, always: bool = False) -> _T | None:
        """Return what ask says of the run with all its rows if its log grew since the last look, else None.

        ask: called once more where the index proves damaged meanwhile. always: also where nothing is new. Wait pause_s
        before the next look. Raises as the constructor does, where the run has gone meanwhile.
        """
        begun = self._clock()
        self.pause_s = LOOK_S
        seen = segments(log_of(self._reader.root, self._record.project_directory, self._record.directory))
        if seen == self._seen and seen and not always:
            return None
        if begun >= self._caught_up_at + CATCH_UP_S or not seen:
            self._record = self._reader.find(self._wanted, self._record)
            self._caught_up_at = begun
        self._record, answer = self._asked(ask)
        self._seen = seen
        self.pause_s = max(LOOK_S, (self._clock() - begun) / SHARE)
        return answer

    def _asked(self, ask: Callable[[Snapshot], _T]) -> tuple[RunRecord, _T]:
        """Ask of the run as its log is now, without a look at any other run."""
        for record in (self._record, None):  # None: found anew, in an index that was built anew
            known = [record or self._reader.find(self._wanted)]
            for answer in self._reader.asked_of_all(known, lambda found: [(one.record, ask(one)) for one in found]):
                return answer
        raise RunNotFound(self._wanted, self._reader.root)

    def is_over(self) -> bool:
        """Say whether nothing more is to come: the log says so, or all its ranks and its writer are gone."""
        if self._record.facts.over_us is not None:
            return True
        observer = self.observer()
        if observer.sees_marker(self._record):
            return False  # a writer that lives will say so itself
        return row_of(self._record, observer).state in _ENDED

    def observer(self) -> Observer:
        """Return this process, now, as it looks at the run."""
        return Observer.here(self._reader.root)
