"""One run being written: what has arrived of its sources, when it is committed, and the segment it goes into.

In: pieces of journals, and what was seen of processes. Out: frames of the run log, synced, and which sources may be
told so. Who belongs to the run is the roster's to say. Called by the writer, by homecomings and by `disttrack recover`.
Times are of the monotonic clock handed in; wall clock is only ever stored, never compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from disttrack.environments.endings import UNKNOWN, Ending
from disttrack.environments.files import make_directory, make_root, touch
from disttrack.journal.glance import forget_latest, remember_latest
from disttrack.journal.segment import MAX_RAW_BYTES, FrameKind, Segment, segment_paths
from disttrack.journal.stored import StoredOutbox
from disttrack.records.blobs import Blob
from disttrack.records.names import LIVE
from disttrack.records.payloads import End
from disttrack.records.types import Admission, Alias, Join, RunEnd, RunHeader, RunId, Sighting, changed
from disttrack.writer.batches import batches
from disttrack.writer.history import OVER, History, history_of, is_clean
from disttrack.writer.roster import Roster, Source

__all__ = ["RunIngest", "now_us"]

COMMIT_BYTES = 1 << 10
COMMIT_S = 0.1
OLDEST_S = 0.5
RETRY_S = 1.0  # after the disk took nothing


def now_us() -> int:
    """Return the wall clock in microseconds."""
    return time.time_ns() // 1000


class RunIngest:
    """Appends one run's records to its log."""

    def __init__(self, directory: Path, header: RunHeader, clock: Callable[[], float], *, shared: bool = False) -> None:
        """directory: of the run. What earlier writers left in its log is read and continued.

        shared: its root is its group's to write, where it is made now.
        """
        self.directory = directory
        self._shared = shared
        self.header = header
        self.sources = Roster()
        self.ended = False  # the last frame is an END
        self.moved = False  # it is an alias of another run
        self._given_up: dict[Source, None] = {}  # what waited of them could not be stored
        self.changed_at = clock()  # when somebody joined or ended last
        self._clock = clock
        self._segment: Segment | None = None
        self._first: Path | None = None  # of the segments written here, if it is another
        self._pending: list[tuple[Source, bytes]] = []
        self._pending_bytes = 0
        self._oldest = self._last_commit = self._blocked_until = 0.0
        self._urgent = False
        self._durable: dict[Source, None] = {}  # of which more was committed than was returned yet
        self._seen: list[tuple[Source, bool]] = []  # sightings since the last sync: of whom, and whether it was over
        self._own: set[Path] = set()  # segments that were begun here
        self._others = self._segments_of_others()
        history = history_of(self._others)
        if history.header is not None:
            self.header = changed(history.header, nonce=header.nonce, time_us=header.time_us)
        self.ended, self.moved = history.ended, history.moved
        for admission in history.admissions:
            source = Source(admission, history.end_of(admission.join.incarnation))
            _recall_end(source, history)
            self.sources.add(source)
            self.sources.speaks(source)  # in the order in which they were admitted

    @property
    def pending_bytes(self) -> int:
        """How much has arrived and waits for the next commit."""
        return self._pending_bytes

    @property
    def marker(self) -> Path:
        """The file that says this run is live."""
        return self.directory.parent / LIVE / self.directory.name

    def mark(self) -> None:
        """Say that this run is live now; raise OSError where it cannot be said."""
        for directory in (self.directory.parent, self.marker.parent):
            make_directory(directory)
        touch(self.marker)

    # Who belongs to the run?

    def admit(self, join: Join, alive: Callable[[Source], bool], *, orphan: bool = False) -> Source:
        """Return the source of an incarnation, new or known; decide its attempt and role when it is new."""
        source = self.sources.get(join.incarnation)
        if source is None:
            attempt, role = self.sources.place(join, alive)
            source = Source(Admission(join=join, attempt=attempt, role=role, orphan=orphan), 0)
            self.sources.add(source)
        source.heard = True
        self.changed_at = self._clock()
        return source

    def heed_others(self) -> None:
        """Take it from the log where others have stored since how a rank ended that we have heard nothing of.

        A node that boots again brings its journals home by itself, and nobody comes to tell us.
        Raises OSError where the log cannot be read, UnsupportedFormat where a newer disttrack wrote into it.
        """
        others = self._segments_of_others()
        history = history_of(path for path, size in others.items() if self._others.get(path) != size)
        self._others = others
        for incarnation in history.over:
            source = self.sources.get(incarnation)
            if source is not None and not (source.over or source.heard):
                _recall_end(source, history)
                self.changed_at = self._clock()

    def _segments_of_others(self) -> dict[Path, int]:
        """Return the segments that were not begun here, in order, and their sizes in bytes."""
        paths = segment_paths(self.directory / "log")
        return {path: path.stat().st_size for path in paths if path not in self._own}

    # What has arrived?

    def receive(self, source: Source, offset: int, data: bytes, *, urgent: bool = False) -> None:
        """Take whole records from offset on, less what is known already; after a gap nothing (it is sent again)."""
        known = source.fresh(offset, len(data)) if self._clock() >= self._blocked_until else None
        if known is not None:
            fresh = data[known:]
            if not self._pending:
                self._oldest = self._clock()
            source.take(len(fresh))
            self._pending.append((source, fresh))
            self._pending_bytes += len(fresh)
        self._urgent |= urgent

    @property
    def synced(self) -> bool:
        """Whether all that was seen is on the disk."""
        return not self._seen

    def due_in(self) -> float | None:
        """Return the seconds until the next commit is due; None while nothing waits."""
        if self._seen or self._durable:
            return 0.0
        if not self._pending:
            return None
        now = self._clock()
        if self._urgent or self._pending_bytes >= MAX_RAW_BYTES:
            return 0.0
        wait_s = OLDEST_S - (now - self._oldest)
        if self._pending_bytes >= COMMIT_BYTES:
            wait_s = min(wait_s, COMMIT_S - (now - self._last_commit))
        return max(0.0, wait_s)

    def commit(self) -> list[Source]:
        """Append what waits and bring all to the disk; return the sources of which more may be acknowledged.

        Where the disk takes nothing, what waited is given up here, so that the ranks send it again.
        """
        self._commit()
        durable, self._durable = self._durable, {}
        return list(durable)

    def given_up(self) -> list[Source]:
        """Return the sources of which something that had arrived was given up since this was asked last."""
        given_up, self._given_up = self._given_up, {}
        return list(given_up)

    def _commit(self) -> None:
        pending, self._pending = self._pending, []
        self._pending_bytes, self._urgent = 0, False
        self._last_commit = self._clock()
        touched = dict.fromkeys(source for source, _ in pending)
        if touched:
            try:
                segment = self._open_segment()
                for source in touched:
                    self._announce(segment, source)
                for batch in batches(pending):
                    segment.append_batch(batch)
                segment.sync()
            except OSError:
                self._blocked_until = self._clock() + RETRY_S
                for source in touched:
                    source.give_up()
                self._given_up |= touched
                raise
            for source in touched:
                source.commit()
            self._durable |= touched
        self.sync()

    def _open_segment(self) -> Segment:
        if self._segment is not None and (self._segment.full or self._segment.failed):
            self._first = self._first or self._segment.path
            self.close()
        if self._segment is None:
            make_root(self.directory.parent.parent, shared=self._shared)
            # The marker comes first: a run whose directory exists is looked into by readers at least until then.
            self.mark()
            for directory in (self.directory, self.directory / "log"):
                make_directory(directory)
            segment = Segment(self.directory / "log")
            try:
                segment.append(FrameKind.HEADER, self.header)
            except OSError:
                segment.discard()  # or each try on a full disk would leave one
                raise
            self._segment = segment
            self._own.add(segment.path)
            for source in self.sources.values():
                source.admitted = False
        if self.ended:
            self.mark()
            self.ended = False
        return self._segment

    def _announce(self, segment: Segment, source: Source) -> None:
        if not source.admitted:
            segment.append(FrameKind.ADMISSION, source.admission)
            source.admitted = True
            if source.admission.role == "rank" and not source.join.rank.local_rank and not source.admission.orphan:
                try:
                    remember_latest(self.directory.parent, source.join, self.header.run_id)
                except OSError:
                    pass  # a hint for resume="auto"; the run itself is stored, or its disk is full and that is said

    # How did it end?

    def open(self, sources: Iterable[Source]) -> None:
        """Bring the admissions of sources to the disk before they are welcomed."""
        segment = self._open_segment()
        for source in sources:
            self._announce(segment, source)
        segment.sync()

    def see(self, source: Source, seen: Sighting) -> None:
        """Append what was seen of a source, after everything of it that waits; sync brings it to the disk.

        A thousand ranks end within a second: a sync for each would keep the others waiting for as long.
        """
        if source.committed < source.end:
            self._commit()
        segment = self._open_segment()
        self._announce(segment, source)
        segment.append(FrameKind.SIGHTING, seen)
        self._seen.append((source, source.over))
        source.silent = seen.seen == "silent"
        if seen.seen in OVER:
            source.over, source.ending = True, Ending(seen.exit_code, seen.signal, seen.exception)
            source.clean |= is_clean(seen)
            source.stopped |= seen.stopped
        self.changed_at = self._clock()

    def say_blobs(self, source: Source, blobs: Sequence[Blob]) -> None:
        """Append what became of blobs of a source, and bring it to the disk; raise OSError, and say it again then."""
        segment = self._open_segment()
        self._announce(segment, source)
        for blob in blobs:
            segment.append(FrameKind.BLOB, blob)
        segment.sync()

    def sync(self) -> None:
        """Bring what was seen to the disk; where that fails, it was not seen."""
        if not self._seen or self._segment is None:
            return
        seen, self._seen = self._seen, []
        try:
            self._segment.sync()
        except OSError:
            for source, was_over in reversed(seen):
                source.over = was_over
            raise
        self._rest()

    def drain_journal(self, source: Source) -> End | None:
        """Take what a dead incarnation's journal holds beyond what arrived; return the End record it ends with.

        Raises OSError where the run's disk takes nothing now; nothing is lost, and it can be called again.
        """
        try:
            stored = StoredOutbox(Path(source.join.journal))
        except (OSError, ValueError):
            return None
        if stored.join.incarnation != source.join.incarnation:
            return None  # the log names somebody else's journal
        while data := stored.read(source.end, MAX_RAW_BYTES):
            before = source.end
            self.receive(source, before, data)
            if source.end == before:
                raise OSError(f"{self.directory} took nothing a moment ago")
            self._commit()
        return stored.said()  # it may have arrived long ago, at a writer that was killed before it stored that it did

    def is_lost(self) -> bool:
        """Say whether somebody removed the log that is being written."""
        written = (self._first, self._segment.path if self._segment is not None else None)
        return any(path is not None and not path.exists() for path in written)

    def begin_again(self) -> list[Source]:
        """Forget what was stored: the log is gone, and everybody says everything again. Return who had ended.

        What is known of the ranks stays: that one ended well, and how (who had ended is buried again with it).
        """
        self.close()
        self._first = None
        self._own.clear()
        self._others.clear()
        self._pending.clear()
        self._pending_bytes, self._urgent = 0, False
        self._durable.clear()
        self._given_up.clear()
        self._seen.clear()
        self.ended = False
        over = [source for source in self.sources.values() if source.over]
        for source in self.sources.values():
            source.end = source.committed = 0
            source.admitted = source.over = source.silent = False
        return over

    def become_alias(self, of: RunId) -> None:
        """Note that this run is part of another; it is hidden from then on."""
        segment = self._open_segment()
        segment.append(FrameKind.ALIAS, Alias(of=of))
        segment.sync()
        self.moved = True

    def end(self) -> None:
        """Close the run: every rank that joined has ended. It opens again if another joins."""
        if self._pending:
            self._commit()
        segment = self._open_segment()
        segment.append(FrameKind.END, RunEnd(time_us=now_us()))
        segment.sync()
        self.ended = True
        self.marker.unlink(missing_ok=True)
        for source in self.sources.newest() if self.sources.ended_well() else ():
            forget_latest(self.directory.parent, source.join, self.header.run_id)
        self._rest()

    def _rest(self) -> None:
        """Hold no descriptor while nobody writes: a script may open thousands of runs one after the other."""
        if self._segment is not None and self.sources.all_over():
            self._segment.close()

    def close(self) -> None:
        """Close the segment."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None


def _recall_end(source: Source, history: History) -> None:
    """Take over what a log says of how a source ended."""
    incarnation = source.join.incarnation
    source.over = incarnation in history.over
    source.clean = incarnation in history.clean
    source.stopped = incarnation in history.stopped
    source.ending = history.endings.get(incarnation, UNKNOWN)
