"""One run being written: who belongs to it, what has arrived, and the segment it goes into.

Times are of the monotonic clock handed in; wall clock is only ever stored, never compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from disttrack.environments.endings import UNKNOWN, Ending
from disttrack.environments.files import make_directory, make_root, touch
from disttrack.journal.segment import FORMAT_VERSION, MAX_RAW_BYTES, Entry, FrameKind, Segment
from disttrack.journal.stored import StoredOutbox
from disttrack.records.codec import decode, records
from disttrack.records.names import LIVE
from disttrack.records.types import (
    Admission,
    Alias,
    End,
    Incarnation,
    Join,
    RecordKind,
    Role,
    RunEnd,
    RunHeader,
    RunId,
    Sighting,
    changed,
)
from disttrack.transport.streams import Incoming
from disttrack.writer.attempts import Member, place, restarted, same_process
from disttrack.writer.history import OVER, is_clean, read_history
from disttrack.writer.team import Team

__all__ = ["RunIngest", "Source", "end_record", "now_us", "run_header"]

COMMIT_BYTES = 1 << 10
COMMIT_S = 0.1
OLDEST_S = 0.5
RETRY_S = 1.0  # after the disk took nothing
MAX_ENTRIES = 0xFFFF


def now_us() -> int:
    """Return the wall clock in microseconds."""
    return time.time_ns() // 1000


class Source(Incoming):
    """One incarnation as its writer knows it."""

    def __init__(self, admission: Admission, end: int) -> None:
        super().__init__(end)
        self.join = admission.join
        self.admission = admission
        self.admitted = False  # in this segment
        self.over = False  # it ended, or its process did
        self.clean = False  # it ended with exit code 0, whatever became of its process
        self.ending = UNKNOWN  # what was last stored of how it ended
        self.silent = False
        self.died = False  # on another node: its agent says that the process is gone


class RunIngest:
    """Appends one run's records to its log."""

    def __init__(self, directory: Path, header: RunHeader, clock: Callable[[], float], *, shared: bool = False) -> None:
        """directory: of the run. What earlier writers left in its log is read and continued.

        shared: its root is its group's to write, where it is made now.
        """
        self.directory = directory
        self._shared = shared
        self.header = header
        self.sources: dict[Incarnation, Source] = {}
        self.ended = False  # the last frame is an END
        self.moved = False
        self._given_up: dict[Source, None] = {}  # what waited of them could not be stored
        self.changed_at = clock()  # when somebody joined or ended last
        self._clock = clock
        self._segment: Segment | None = None
        self._pending: list[tuple[Source, bytes]] = []
        self._pending_bytes = 0
        self._oldest = self._last_commit = self._blocked_until = 0.0
        self._urgent = False
        self._durable: dict[Source, None] = {}  # of which more was committed than was returned yet
        self._seen: list[tuple[Source, bool]] = []  # sightings since the last sync: of whom, and whether it was over
        self._team = Team[Source](0)  # of the newest attempt
        history = read_history(directory / "log")
        if history.header is not None:
            self.header = changed(history.header, nonce=header.nonce, time_us=header.time_us)
        self.ended = history.ended
        for admission in history.admissions:
            source = Source(admission, history.end_of(admission.join.incarnation))
            source.over = admission.join.incarnation in history.over
            source.clean = admission.join.incarnation in history.clean
            source.ending = history.endings.get(admission.join.incarnation, UNKNOWN)
            self._add(source)

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
            attempt, role = self._place(join, alive)
            source = Source(Admission(join=join, attempt=attempt, role=role, orphan=orphan), 0)
            self._add(source)
        self.changed_at = self._clock()
        return source

    def _add(self, source: Source) -> None:
        admission = source.admission
        self.sources[admission.join.incarnation] = source
        if admission.attempt > self._team.attempt:
            self._team = Team[Source](admission.attempt)
        if admission.role == "rank" and admission.attempt == self._team.attempt:
            self._team.add(source)

    def _place(self, join: Join, alive: Callable[[Source], bool]) -> tuple[int, Role]:
        """Return attempt and role of a new incarnation; a helper has its parent's attempt, else the newest."""
        if join.role == "helper":
            parent = self.sources.get(join.parent) if join.parent is not None else None
            return (parent.admission.attempt if parent else self._team.attempt), "helper"
        joining = Source(Admission(join=join, attempt=0, role="rank"), 0)
        lives = alive(joining)
        if lives and self._team.takes(join, alive):
            return self._team.attempt, "rank"
        members = [
            Member(
                source.join,
                source.admission.attempt,
                source.over or same_process(source.join, join) or not alive(source),
                source.clean,
            )
            for source in self.sources.values()
            if source.admission.role == "rank"
        ]
        return place(join, lives, members)

    def finished_before(self, join: Join) -> bool:
        """Say whether this rank took part already and all ended well: then it opens another run, and retries none."""
        if join.incarnation in self.sources:
            return False  # it is of this run, whoever asks: an agent may not have heard that its ranks' run has ended
        team = self._team
        return (
            join.incarnation not in self.sources  # its journal found once more opens nothing
            and team.has(join.rank.rank)
            and team.ended_well()
            and not restarted(
                join, [Member(other.join, team.attempt, other.over, other.clean) for other in team.members]
            )
        )

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
                for batch in _batches(pending):
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
            source.over, source.ending = True, Ending(seen.exit_code, seen.signal)
            source.clean |= is_clean(seen)
        self.changed_at = self._clock()

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
        ended = None
        while data := stored.read(source.end, MAX_RAW_BYTES):
            before, ended = source.end, end_record(data) or ended  # what is damaged may follow
            self.receive(source, before, data)
            if source.end == before:
                raise OSError(f"{self.directory} took nothing a moment ago")
            self._commit()
        return ended

    def is_lost(self) -> bool:
        """Say whether somebody removed the log that is being written."""
        return self._segment is not None and not self._segment.path.exists()

    def begin_again(self) -> None:
        """Forget what was stored: the log is gone, and everybody says everything again."""
        self.close()
        self._pending.clear()
        self._pending_bytes = 0
        self._durable.clear()
        self._seen.clear()
        self.ended = False
        for source in self.sources.values():
            source.end = source.committed = 0
            source.admitted = source.over = False

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
        self._rest()

    def _rest(self) -> None:
        """Hold no descriptor while nobody writes: a script may open thousands of runs one after the other."""
        if self._segment is not None and all(source.over for source in self.sources.values()):
            self._segment.close()

    def close(self) -> None:
        """Close the segment."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None


def end_record(data: bytes) -> End | None:
    """Return the End record among whole journal records, if the last of them is one."""
    last = None
    for record in records(data):  # checked: damaged bytes of a journal come here, too
        last = record
    if last is None or last.kind != RecordKind.END:
        return None
    return decode(data[last.start : last.end], End)


def _batches(pending: list[tuple[Source, bytes]]) -> Iterator[list[Entry]]:
    """Yield group commits of at most MAX_RAW_BYTES (or one larger piece); neighbours of one source become one entry."""
    ends = {id(source): source.committed for source, _ in pending}
    pieces: dict[int, tuple[Source, list[bytes]]] = {}
    size = 0
    for source, data in pending:
        if pieces and (size + len(data) > MAX_RAW_BYTES or len(pieces) >= MAX_ENTRIES):
            yield _entries(pieces, ends)
            pieces, size = {}, 0
        pieces.setdefault(id(source), (source, []))[1].append(data)
        size += len(data)
    if pieces:
        yield _entries(pieces, ends)


def _entries(pieces: dict[int, tuple[Source, list[bytes]]], ends: dict[int, int]) -> list[Entry]:
    batch: list[Entry] = []
    for source, parts in pieces.values():
        data = b"".join(parts)
        ends[id(source)] += len(data)
        batch.append(Entry(source.join.rank.rank, source.join.incarnation, ends[id(source)], data))
    return batch


def run_header(run_id: RunId, join: Join, name: str, group: str | None, nonce: str) -> RunHeader:
    """Return the header of a run that this join opens."""
    return RunHeader(
        format_version=FORMAT_VERSION,
        run_id=run_id,
        project=join.project,
        name=name,
        group=group,
        launch_key=join.launch_key,
        ordinal=join.ordinal,
        nonce=nonce,
        time_us=now_us(),
    )
