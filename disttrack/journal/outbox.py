"""A rank's journal: the file its records are in before anyone else has seen them.

    'DTJ1' · u32 version · u32 length · u32 crc32 · Join as msgpack · records ...

Offsets count bytes of records from the first one on. Only the owning process writes; the sender
thread, the writer (when the rank is dead) and `disttrack recover` read.
"""

from __future__ import annotations

import bisect
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from disttrack.environments.host import is_network_filesystem, private_directory, try_lock
from disttrack.errors import UnsupportedFormat
from disttrack.records.codec import HEADER, MAX_RECORD_BYTES, decode, pack, records
from disttrack.records.types import USER_KINDS, Join

__all__ = [
    "Outbox",
    "StoredOutbox",
    "is_good_place",
    "is_held",
    "is_home",
    "journal_directories",
    "mark_home",
    "newest_join",
    "note_place",
    "outbox_directory",
    "remove",
    "stored_outboxes",
    "write_join",
]

VERSION = 1
FILE_NAME = "000000.dtj"
HOME_NAME = "home"  # beside it, once its process is dead and all it holds is stored
JOIN_NAME = "join"  # beside it, the newer Join of a rank that learnt its launch later
MARK_BYTES = 64 << 10  # how far apart the record boundaries lie that the sender may cut at
ANNOUNCE_BYTES = 1 << 20  # how often schemas are repeated (facts/runlog.md §7)

_HEAD = struct.Struct("<4sIII")
_MAGIC = b"DTJ1"


class Outbox:
    """The journal of this process. Appending is one pwrite: no lock of its own, no fsync, no other process."""

    _fd = -1

    def __init__(self, directory: Path, join: Join) -> None:
        """Create the journal; raise OSError where it cannot be."""
        private_directory(directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self.directory = directory
        self._fd = os.open(directory / FILE_NAME, flags, 0o600)
        body = pack(join)
        head = _HEAD.pack(_MAGIC, VERSION, len(body), zlib.crc32(body)) + body
        try:
            _write_at(self._fd, head, 0)
        except OSError:  # half a header would be a journal that nobody can ever read
            self.close()
            remove(directory)
            raise
        try_lock(self._fd)  # as long as this process lives: who cannot see its pid can see that (is_held)
        self._base = len(head)
        self.end = 0
        self.count = 0  # records of USER_KINDS up to end
        self._marks: list[tuple[int, int]] = []  # (offset, count) at record boundaries, MARK_BYTES apart
        self._next_mark = MARK_BYTES
        self._next_announcement = ANNOUNCE_BYTES

    def append(self, data: bytes, count: int) -> bool:
        """Append whole records, count of them the user's; return whether it is time to announce schemas again.

        Raises OSError where they do not fit; then nothing was appended.
        """
        size = len(data)
        end = self.end
        written = os.pwrite(self._fd, data, self._base + end)
        if self.end != end:  # a signal handler appended the End meanwhile, over these bytes: they come after it
            return self.append(data, count)
        if written < size:  # a full disk takes a part first and raises at the next call
            _write_at(self._fd, data[written:], self._base + end + written)
        # The count first: a reader that sees the new end must not see an old count.
        self.count += count
        self.end = end = end + size
        if end < self._next_mark:
            return False
        self._marks.append((end, self.count))
        self._next_mark = end + MARK_BYTES
        if end < self._next_announcement:
            return False
        self._next_announcement = end + ANNOUNCE_BYTES
        return True

    def read(self, offset: int, limit: int) -> bytes:
        """Return whole records from offset (a record boundary) on: at most limit bytes, or one larger record."""
        size = self.end - offset
        if size > limit:
            mark, _ = self._mark(offset + limit)
            size = (mark if mark > offset else self._boundary(offset, limit)) - offset
        return os.pread(self._fd, size, self._base + offset)

    def _mark(self, offset: int) -> tuple[int, int]:
        """Return the last mark at or before offset. Appending to the list meanwhile does no harm."""
        at = bisect.bisect_right(self._marks, offset, key=lambda mark: mark[0])
        return self._marks[at - 1] if at else (0, 0)

    def _boundary(self, offset: int, limit: int) -> int:
        """Return the last record boundary in (offset, offset + limit], or the end of the first record."""
        data = os.pread(self._fd, min(limit, self.end - offset), self._base + offset)
        last = 0
        for record in records(data, check=False):
            last = record.end
        if last:
            return offset + last
        length: int = struct.unpack_from("<I", data)[0]
        return offset + HEADER.size + length

    def counted(self, offset: int) -> int:
        """Return how many user records end at or before offset (a record boundary)."""
        if offset >= self.end:
            return self.count
        start, count = self._mark(offset)
        data = os.pread(self._fd, offset - start, self._base + start)
        return count + sum(record.kind in USER_KINDS for record in records(data, check=False))

    def sync(self) -> None:
        """Bring what was appended to the disk (the sender does this, once a second)."""
        os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close  # the summary of a finished run may be read as long as somebody holds the run


class StoredOutbox:
    """A journal read from outside its process: whole records only, up to a torn tail."""

    def __init__(self, directory: Path) -> None:
        """Read the header; raise OSError, ValueError (no journal, torn header) or UnsupportedFormat."""
        self.directory = directory
        self._path = directory / FILE_NAME
        with open(self._path, "rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                raise ValueError(f"{self._path} ends within its header")
            magic, version, length, crc = _HEAD.unpack(head)
            if magic != _MAGIC:
                raise ValueError(f"{self._path} is not a journal")
            if version > VERSION:
                raise UnsupportedFormat(self._path, version, VERSION)
            body = file.read(min(length, MAX_RECORD_BYTES))
        if len(body) < length or zlib.crc32(body) != crc:
            raise ValueError(f"the header of {self._path} is torn")
        try:
            self.join = decode((directory / JOIN_NAME).read_bytes(), Join)
        except (OSError, ValueError):  # there is none, or it is torn: a power cut may leave it empty
            self.join = decode(body, Join)
        self._base = _HEAD.size + length

    @property
    def size(self) -> int:
        """How many bytes of records there are, a torn tail included."""
        records: int = self._path.stat().st_size - self._base
        return max(0, records)

    def read(self, offset: int, limit: int) -> bytes:
        """Return whole, checked records from offset on: at most limit bytes, or one larger record; b"" at the end."""
        with open(self._path, "rb") as file:
            data = os.pread(file.fileno(), limit, self._base + offset)
            whole = _whole(data)
            if not whole and len(data) == limit:
                length: int = struct.unpack_from("<I", data)[0]
                data = os.pread(file.fileno(), HEADER.size + min(length, MAX_RECORD_BYTES), self._base + offset)
                whole = _whole(data)
        return data[:whole]


def _write_at(fd: int, data: bytes, position: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], position + written)


def _whole(data: bytes) -> int:
    last = 0
    for record in records(data):
        last = record.end
    return last


def mark_home(directory: Path) -> None:
    """Note that a dead incarnation's journal holds nothing that is not stored (it stays until its run ends)."""
    try:
        (directory / HOME_NAME).touch(mode=0o600)
    except OSError:
        pass  # removed meanwhile, or a full disk: whoever looks next finds nothing new in it


def is_held(directory: Path) -> bool:
    """Say whether a process has a journal open for writing: its own, or a child that inherited it."""
    try:
        fd = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


def is_home(directory: Path) -> bool:
    """Say whether everything a dead incarnation's journal holds is stored."""
    return (directory / HOME_NAME).exists()


def write_join(directory: Path, join: Join) -> None:
    """Leave a newer Join beside a journal (the journal itself is the logging threads' to write)."""
    temporary = directory / f".{JOIN_NAME}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(pack(join))
    os.replace(temporary, directory / JOIN_NAME)


def newest_join(directory: Path) -> Join | None:
    """Return what is known last about the incarnation whose journal this is; None where there is none (any more)."""
    try:
        return StoredOutbox(directory).join
    except (OSError, ValueError, UnsupportedFormat):
        return None


def outbox_directory(place: Path, join: Join) -> Path:
    """Return where in a journal place this incarnation's journal lies."""
    return place / f"{join.incarnation:016x}"


def note_place(runtime: Path, place: Path) -> None:
    """Leave a note in the runtime directory that journals may lie in place, for whoever looks for them later."""
    notes = private_directory(runtime / "journal-places")
    note = notes / f"{zlib.crc32(os.fsencode(place)):08x}"
    if not note.exists():
        temporary = notes / f".{note.name}-{os.getpid()}"
        temporary.write_bytes(os.fsencode(place))
        temporary.replace(note)


def journal_directories(runtime: Path) -> Iterator[Path]:
    """Yield where journals lie on this host, in the places that this user's processes noted."""
    notes = runtime / "journal-places"
    places = [Path(os.fsdecode(note.read_bytes())) for note in sorted(notes.glob("[!.]*"))] if notes.is_dir() else []
    for place in places:
        yield from sorted(place.iterdir()) if place.is_dir() else []


def stored_outboxes(runtime: Path) -> Iterator[StoredOutbox]:
    """Yield every readable journal on this host that this user's processes noted; what is no journal is passed over."""
    for directory in journal_directories(runtime):
        try:
            yield StoredOutbox(directory)
        except (OSError, ValueError, UnsupportedFormat):
            continue  # being created, being removed, or a newer disttrack's: its owner still has it


def is_good_place(place: Path) -> bool:
    """Say whether a journal may be made here: writable, ours, and not shared with other hosts."""
    try:
        return not is_network_filesystem(private_directory(private_directory(place.parent) / place.name))
    except Exception:  # unwritable, another's, a file in the way: the next place is tried
        return False


def remove(directory: Path) -> None:
    """Remove a journal whose records are all stored elsewhere."""
    shutil.rmtree(directory, ignore_errors=True)
