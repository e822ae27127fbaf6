"""One run's log, verified frame by frame and record by record, without an index: what is damaged, and what it held.

Files are opened for reading only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from disttrack.doctor.damage import BAD_RECORD, NO_HEADER, DamagedRange, Found, Held, LogCheck, Place
from disttrack.environments.files import open_plain
from disttrack.errors import UnsupportedFormat
from disttrack.journal.segment import (
    HEADER_BYTES,
    Damage,
    Frame,
    FrameKind,
    check_version,
    entry_table,
    frame_kind,
    frames,
    is_torn,
    segment_paths,
)
from disttrack.records.blobs import Blob
from disttrack.records.codec import HEADER, records
from disttrack.records.payloads import RecordKind
from disttrack.records.types import Admission, Alias, Edit, Incarnation, RunEnd, RunHeader, Sighting

__all__ = ["Reached", "check_log"]

READ_BYTES = 1 << 20
KIND_AT = 8  # within a record's header
_SAYS: dict[FrameKind, type[Admission | Sighting | Alias | RunEnd | Edit | Blob]] = {
    FrameKind.ADMISSION: Admission,
    FrameKind.SIGHTING: Sighting,
    FrameKind.ALIAS: Alias,
    FrameKind.END: RunEnd,
    FrameKind.EDIT: Edit,
    FrameKind.BLOB: Blob,
}
_KINDS = frozenset(RecordKind)
_OVER = ("ended", "crashed", "lost")

Reached = Callable[[int], None]
"""Called with how many more bytes were verified."""


def check_log(log: Path, *, live: bool, reached: Reached) -> LogCheck:
    """Verify every segment of a log; live: whether a writer may be at it now."""
    checking = _Checking(log, live, reached)
    checking.check()
    return checking.found


class _Checking:
    def __init__(self, log: Path, live: bool, reached: Reached) -> None:
        self.found = LogCheck()
        self._log, self._live, self._reached = log, live, reached
        self._sources = self.found.sources
        self._header: RunHeader | None = None
        self._ended: bool | None = None  # the last of a writer's segments; None: there is none
        self._tails: list[tuple[DamagedRange, int]] = []  # whole headers whose frames are cut off; segment's number
        self._last_written = 0
        self._blobs: dict[str, Blob] = {}  # that are stored, by the names of their files

    def check(self) -> None:
        paths = segment_paths(self._log)
        expected = 1
        for path in paths:
            number = int(path.stem)
            if number > expected:
                names = f"{expected:06d}.dtl" + (f" to {number - 1:06d}.dtl" if number > expected + 1 else "")
                self._damaged(self._log, 0, 0, f"{names} is missing")
            expected = number + 1
            self._segment(path, number)
        if not paths:
            self._damaged(self._log, 0, 0, "there is no segment")
        elif self._ended is not True and not self._live and paths:
            why = "the log has no END, although no writer is at it: its last frames are missing"
            last = paths[-1]
            size = last.stat().st_size
            if self._ended is not None and not self._tails and not self.found.damage:
                self._damaged(last, size, size, why)
        self._judge_tails()
        for blob in self._blobs.values():
            self._check_blob(blob)
        self.found.has_header = self._header is not None
        for incarnation, source in self._sources.items():
            self.found.holes += [(incarnation, low, high) for low, high in source.cover.missing(0, source.known_end)]
            if not source.admitted:
                self._damaged(self._log, 0, 0, f"the admission of {_who(source.rank, incarnation)} is missing")

    def _check_blob(self, blob: Blob) -> None:
        """Verify the file of a blob by its hash."""
        path = self._log.parent / "media" / blob.name
        digest, size = hashlib.sha256(), 0
        try:
            with open(open_plain(path), "rb") as file:
                while data := file.read(READ_BYTES):
                    digest.update(data)
                    size += len(data)
                    self._reached(len(data))
        except OSError as error:
            self._damaged(path, 0, blob.size, f"a stored file cannot be read: {error.strerror}")
            return
        self.found.bytes += size
        if digest.hexdigest() != blob.sha256:
            self._damaged(path, 0, size, "the file does not hold what was stored: its hash is wrong")

    def _segment(self, path: Path, number: int) -> None:
        """Verify one segment, of the length that it has now."""
        self.found.segments += 1
        for source in self._sources.values():
            source.reached = None
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            self.found.bytes += size
            position = self._frames(path, number, lambda length, at: os.pread(fd, min(length, max(0, size - at)), at))
            kind = _kind_name(os.pread(fd, HEADER_BYTES, position)) if position < size else None
        except UnsupportedFormat as error:
            self._damaged(path, 0, 0, str(error))
            return
        finally:
            os.close(fd)
        self._reached(size - position)
        if position < size:
            why = "the file ends within a frame, or in what is none"
            self._tails.append((DamagedRange(str(path), position, size, why, kind=kind), number))

    def _frames(self, path: Path, number: int, read: Callable[[int, int], bytes]) -> int:
        """Take the frames of a segment; return where the last one that is whole, or known to be damaged, ends."""
        position = 0
        first_damage = len(self.found.damage)
        for found in frames(read):
            if isinstance(found, Damage):
                self._damaged(path, found.start, found.end, found.why, _kind_name(read(HEADER_BYTES, found.start)))
            else:
                self.found.frames += 1
                if found.start == 0 and found.kind != FrameKind.HEADER:
                    self._damaged(path, 0, 0, NO_HEADER)
                try:
                    self._take(found, path, number, first_damage)
                except ValueError as error:  # whole, but it says nothing
                    self._damaged(path, found.start, found.end, str(error))
            self._reached(found.end - position)
            position = found.end
        return position

    def _take(self, frame: Frame, path: Path, number: int, first_damage: int) -> None:
        if frame.kind == FrameKind.HEADER:
            header = frame.value(RunHeader)
            check_version(header, path)
            self._header = self._header or header
            if (header.project, header.run_id) != (self._header.project, self._header.run_id):
                raise ValueError(f"a HEADER of another run, {header.project}/{header.run_id}")
            return
        if frame.kind == FrameKind.DATA:
            self._take_entries(frame, path, (number, frame.start), first_damage)
        elif frame.kind in _SAYS:
            value = frame.value(_SAYS[FrameKind(frame.kind)])
            if isinstance(value, Blob):
                if value.lost is None:
                    self._blobs[value.name] = value
                return
            if isinstance(value, Edit):
                return
            if isinstance(value, Admission):
                source = self._source(value.join.incarnation, value.join.rank.rank)
                source.rank, source.admitted = value.join.rank.rank, True
            if isinstance(value, Sighting) and value.seen in _OVER and value.incarnation in self._sources:
                source = self._sources[value.incarnation]
                source.over = source.over or (number, frame.start)
                if value.seen == "ended" and self._ended:
                    return  # said once more
        else:
            raise ValueError(f"a frame of kind {frame.kind}, which this disttrack does not know")
        self._last_written = number
        self.found.written.add(number)
        self._ended = frame.kind == FrameKind.END or (frame.kind == FrameKind.ALIAS and bool(self._ended))

    def _source(self, incarnation: Incarnation, rank: int) -> Found:
        return self._sources.setdefault(incarnation, Found(rank))

    def _take_entries(self, frame: Frame, path: Path, place: Place, first_damage: int) -> None:
        table, start = entry_table(frame)
        view = memoryview(frame.payload)
        taken = 0
        for rank, length, number, end in table:
            taken += 1
            begin = end - length
            if start + length > len(view) or begin < 0:
                raise ValueError(f"entry {taken} of {frame.entries} reaches beyond its frame or its journal")
            incarnation = Incarnation(number)
            source = self._source(incarnation, rank)
            self._attribute(source, incarnation, begin, first_damage)
            damaged, last_kind = _read_records(view[start : start + length])
            source.last = place
            source.ended |= last_kind == RecordKind.END
            for low, high in damaged:
                self._damaged(path, frame.start, frame.end, BAD_RECORD, "data")
                self.found.damage[-1].held.append(
                    _held(source.rank, incarnation, end - length + low, end - length + high)
                )
                if begin < end - length + low:
                    source.cover.add(begin, end - length + low)
                begin = end - length + high
            if begin < end:
                source.cover.add(begin, end)
            source.known_end = max(source.known_end, end)
            source.reached = end, len(self.found.damage)
            start += length
        if taken < frame.entries or start != len(view):
            raise ValueError("its table of entries does not add up to its payload")

    def _attribute(self, source: Found, incarnation: Incarnation, begin: int, first_damage: int) -> None:
        """Note what lay in the damaged frames since this incarnation's last bytes: a segment holds them in order."""
        end, since = source.reached or (source.cover.end, first_damage)
        if end < begin:
            for damage in self.found.damage[since:]:
                damage.held.append(_held(source.rank, incarnation, end, begin))

    def _judge_tails(self) -> None:
        """Tell an end that a writer left when it was killed, and said again in its next life, from a loss."""
        whole = not any(source.cover.missing(0, source.known_end) for source in self._sources.values())
        last = max((number for _, number in self._tails), default=0)
        for tail, number in self._tails:
            with open(tail.path, "rb") as file:
                file.seek(tail.start)
                torn = is_torn(file.read(HEADER_BYTES))
            being_written = self._live and number == last >= self._last_written
            if torn and (being_written or (number < self._last_written and whole)):
                self.found.unfinished.append(tail)
            else:
                self.found.damage.append(tail)

    def _damaged(self, path: Path, start: int, end: int, why: str, kind: str | None = None) -> None:
        self.found.damage.append(DamagedRange(str(path), start, end, why, kind=kind))


def _held(rank: int, incarnation: Incarnation, start: int, end: int) -> Held:
    return Held(rank, f"{incarnation:016x}", start, end)


def _who(rank: int, incarnation: Incarnation) -> str:
    return f"rank {rank} (incarnation {incarnation:016x})"


def _kind_name(header: bytes) -> str | None:
    """Return what kind of frame begins so; None where its header is damaged, or of a kind that nobody knows."""
    kind = frame_kind(header)
    return next((known.name.lower() for known in FrameKind if known == kind), None)


def _read_records(data: memoryview) -> tuple[list[tuple[int, int]], int | None]:
    """Return the ranges of an entry's bytes that are no whole records, and the kind of the last one that is."""
    damaged: list[tuple[int, int]] = []
    start, last = 0, None
    while True:
        for record in records(data, start):
            start, last = record.end, record.kind
        if start == len(data):
            return damaged, last
        resume = _next_record(data, start + 1)
        damaged.append((start, resume))
        start = resume


def _next_record(data: memoryview, start: int) -> int:
    """Return where the next whole record begins; the end of data where there is none."""
    for at in range(start, len(data) - HEADER.size + 1):
        if data[at + KIND_AT] in _KINDS and next(records(data, at), None) is not None:
            return at
    return len(data)
