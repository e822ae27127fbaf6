"""A rank's own journal: the files its records are in before anyone else has seen them.

In: encoded records, from the recorder's threads. Out: the same bytes by their offsets, to the sender thread of the same
process; other processes read the files (journal.stored). Offsets count bytes of records from the first one on, over all
files (journal.files says how each begins). A file that is full is followed by another. The oldest are removed when the
quota needs the room and all they hold is acknowledged.
"""

from __future__ import annotations

import bisect
import errno
import os
import struct
import threading
from pathlib import Path

from disttrack.environments.host import private_directory, try_lock
from disttrack.journal.directories import remove
from disttrack.journal.files import FILE_NAME, file_name, write_at
from disttrack.journal.heads import head_of
from disttrack.journal.spool import Spool
from disttrack.records.classes import LOWEST_SHARE
from disttrack.records.codec import HEADER, records, removed_bytes
from disttrack.records.payloads import USER_KINDS
from disttrack.records.types import Join

__all__ = ["DEFAULT_QUOTA_BYTES", "MIN_QUOTA_BYTES", "Outbox"]

RESERVE_NAME = "reserve"  # beside it, room on the disk for the last records
RESERVE_BYTES = 16 << 10
MARK_BYTES = 64 << 10  # how far apart the record boundaries lie that the sender may cut at
ANNOUNCE_BYTES = 1 << 20  # how often schemas are repeated (facts/runlog.md §7)
FILE_BYTES = 64 << 20
FILES = 8  # that a quota or a disk is to hold at least: only whole files make room
DEFAULT_QUOTA_BYTES = 2 << 30
MIN_QUOTA_BYTES = 64 << 10
KEPT_SHARE = 0.5  # of the quota: so much may be acknowledged and kept all the same; below every share of a class

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class Outbox:
    """The journal of this process. Appending is one pwrite: no lock of its own, no fsync, no other process.

    append is called by one thread at a time (and by signal handlers in it); settle by the sender's thread only.
    """

    def __init__(self, directory: Path, join: Join, quota_bytes: int = DEFAULT_QUOTA_BYTES) -> None:
        """Create the journal; raise OSError where it cannot be. quota_bytes: of this journal alone."""
        self._open: dict[int, int] = {}  # descriptors by where their files begin: the first, the last, some between
        private_directory(directory)
        self.directory = directory
        fd = os.open(directory / FILE_NAME, _FLAGS, 0o600)
        self._open[0] = fd
        self.head = head_of(join)
        try:
            write_at(fd, self.head, 0)
            self._set_aside()
        except OSError:  # half a header would be a journal that nobody can ever read
            self.close()
            remove(directory)
            raise
        try_lock(fd)  # as long as this process lives: who cannot see its pid can see that (is_held)
        disk = os.statvfs(directory)
        self._quota_bytes = max(quota_bytes, MIN_QUOTA_BYTES)
        room = min(self._quota_bytes, max(disk.f_bavail * disk.f_frsize, MIN_QUOTA_BYTES))
        self._file_bytes = min(FILE_BYTES, room // FILES)
        self._mark_bytes = min(MARK_BYTES, self._file_bytes // FILES)
        self._reserve_bytes = min(RESERVE_BYTES, self._quota_bytes // 16)
        self._place = fd, len(self.head)  # of the last file, and where in it the journal's offset 0 would lie
        self._starts = [0]  # of all files there ever were
        self._reading = threading.Lock()  # not in append: between those who read and settle, which closes files
        self.spool = Spool(directory)
        self.first = 0  # what lies below was acknowledged, and removed
        self.end = 0
        self.count = 0  # records of USER_KINDS up to end
        self.lost = 0  # of them, those that a writer asked for again after they were removed
        self.announcement_due = False  # of schemas: whoever sees it puts it back
        self.cramped = False  # the disk took nothing: settle puts it back
        self._marks: list[tuple[int, int]] = []  # (offset, count) at record boundaries, _mark_bytes apart
        self._next_mark = self._mark_bytes
        self._next_announcement = ANNOUNCE_BYTES

    def append(self, data: bytes, count: int) -> bool:
        """Append whole records, count of them the user's; return whether announcement_due or filled want a look.

        Raises OSError where they do not fit; then nothing was appended.
        """
        size = len(data)
        end = self.end
        fd, base = self._place
        try:
            written = os.pwrite(fd, data, base + end)
            if self.end != end:  # a signal handler appended the End meanwhile, over these bytes: they come after it
                return self.append(data, count)
            if written < size:  # a full disk takes a part first and raises at the next call
                write_at(fd, data[written:], base + end + written)
        except OSError as error:
            if error.errno == errno.EFBIG and end > self._starts[-1]:  # RLIMIT_FSIZE: another file takes as much again
                self._rotate()
                self.append(data, count)
                return True
            self.cramped = True
            raise
        # The count first: a reader that sees the new end must not see an old count.
        self.count += count
        self.end = end = end + size
        return end >= self._next_mark and self._mark_end()

    def _mark_end(self) -> bool:
        """Note that a record ends here; go on in another file, and ask for schemas, where that is due."""
        end = self.end
        self._marks.append((end, self.count))
        self._next_mark = end + self._mark_bytes
        if end - self._starts[-1] >= self._file_bytes:
            try:
                self._rotate()
            except OSError:  # no room for a head, or no descriptor: on in this file, and again at the next mark
                self.cramped = True
        if end >= self._next_announcement:
            self._next_announcement = end + ANNOUNCE_BYTES
            self.announcement_due = True
        return self.announcement_due or self.filled >= LOWEST_SHARE

    def _rotate(self) -> None:
        """Go on in another file."""
        start = self.end
        path = self.directory / file_name(start)
        fd = os.open(path, _FLAGS, 0o600)
        try:
            write_at(fd, self.head, 0)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        before, self._place = self._place, (fd, len(self.head) - start)
        if self.end != start:  # a signal handler appended the End meanwhile, to the old file: nothing of worth follows
            self._place = before
            os.close(fd)
            path.unlink()
            return
        if not self._marks or self._marks[-1][0] != start:
            self._marks.append((start, self.count))
        self._open[start] = fd
        self._starts.append(start)
        self.announcement_due = True  # so that this file can be read by itself
        self._next_announcement = start + ANNOUNCE_BYTES

    @property
    def filled(self) -> float:
        """Which part of the quota is used; at 1 there is still room for the last records."""
        return (self.end - self.first + self.spool.bytes) / (self._quota_bytes - self._reserve_bytes)

    def has_room(self, size: int, share: float) -> bool:
        """Say whether so many bytes fit into this part of the quota."""
        room = share * (self._quota_bytes - self._reserve_bytes) - (self.end - self.first) - size
        return self.spool.bytes <= room or (self.spool.bytes > 0 and self.spool.look() <= room)

    def _set_aside(self) -> None:
        """Take room on the disk for the last records, to be given up for them."""
        fd = os.open(self.directory / RESERVE_NAME, _FLAGS, 0o600)
        try:
            write_at(fd, bytes(RESERVE_BYTES), 0)
        finally:
            os.close(fd)

    def use_reserve(self) -> None:
        """Give up the room that was set aside on the disk: the last records follow."""
        (self.directory / RESERVE_NAME).unlink(missing_ok=True)

    def read(self, offset: int, limit: int) -> bytes:
        """Return whole records from offset (a record boundary) on: at most limit bytes, or one larger record.

        What was removed reads as removed_bytes.
        """
        if offset < self.first:
            return removed_bytes(min(limit, self.first - offset))
        size = self._stop(offset) - offset
        if size > limit:
            mark, _ = self._mark(offset + limit)
            size = (mark if mark > offset else self._boundary(offset, limit)) - offset
        return self._read(offset, size)

    def _stop(self, offset: int) -> int:
        """Return where the file that holds offset ends."""
        end = self.end  # first: a file that is begun meanwhile begins there or beyond
        at = bisect.bisect_right(self._starts, offset)
        return self._starts[at] if at < len(self._starts) else end

    def _read(self, offset: int, size: int) -> bytes:
        """Return size bytes from offset on, all in one file."""
        start = self._starts[bisect.bisect_right(self._starts, offset) - 1]
        position = len(self.head) + offset - start
        with self._reading:
            if start in self._open:
                return os.pread(self._open[start], size, position)
        try:
            with open(self.directory / file_name(start), "rb") as file:
                return os.pread(file.fileno(), size, position)
        except FileNotFoundError:  # removed a moment ago
            return removed_bytes(size)

    def _mark(self, offset: int) -> tuple[int, int]:
        """Return the last mark at or before offset. Appending to the list meanwhile does no harm."""
        marks = self._marks
        at = bisect.bisect_right(marks, offset, key=lambda mark: mark[0])
        return marks[at - 1] if at else (0, 0)

    def _boundary(self, offset: int, limit: int) -> int:
        """Return the last record boundary in (offset, offset + limit], or the end of the first record."""
        stop = self._stop(offset)
        data = self._read(offset, min(limit, stop - offset))
        last = 0
        for record in records(data, check=False):
            last = record.end
        if last:
            return offset + last
        if len(data) < HEADER.size:
            return stop
        length: int = struct.unpack_from("<I", data)[0]
        return min(stop, offset + HEADER.size + length)  # a damaged length may say anything

    def counted(self, offset: int) -> int:
        """Return how many user records end at or before offset (a record boundary)."""
        if offset >= self.end:
            return self.count
        start, count = self._mark(offset)
        while start < offset:
            data = self.read(start, min(self._stop(start), offset) - start)
            count += sum(record.kind in USER_KINDS for record in records(data, check=False))
            start += len(data)
        return count

    def settle(self, acked: int) -> None:
        """Let go of what is acknowledged up to here: of files that are open, and of whole files if room is needed.

        Blobs need it, too: what they are not given, metrics would not get either.

        Files are kept beyond that, for a writer whose log is lost and that asks for everything again.
        """
        cramped, self.cramped = self.cramped, False
        roomy = 0 if cramped else self._quota_bytes * KEPT_SHARE - self.spool.bytes
        for start in self._starts[bisect.bisect_left(self._starts, self.first) : -1]:
            end = self._stop(start)
            if end > acked:
                return
            if start and start in self._open:
                with self._reading:
                    os.close(self._open.pop(start))
            if self.end - self.first > roomy:
                self._remove_file(start, end)

    def _remove_file(self, start: int, end: int) -> None:
        self.first = end  # at first: who reads meanwhile finds it gone
        if start:
            (self.directory / file_name(start)).unlink(missing_ok=True)
        else:
            os.ftruncate(self._open[0], len(self.head))

    def asked_again(self, offset: int) -> bool:
        """Note that a writer has nothing from offset on; return whether some of that was removed."""
        if offset >= self.first:
            return False
        self.lost = max(self.lost, self._mark(self.first)[1] - self._mark(offset)[1])
        return True

    def sync(self) -> None:
        """Bring what was appended to the disk (the sender does this, once a second)."""
        for fd in list(self._open.values()):
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)

    def close(self) -> None:
        """Close the files; they stay where they are."""
        while self._open:
            os.close(self._open.popitem()[1])

    __del__ = close  # the summary of a finished run may be read as long as somebody holds the run
