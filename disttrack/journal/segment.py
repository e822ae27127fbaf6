"""The run log: numbered segments of checksummed frames, the truth about a run (facts/runlog.md §7).

    'DTF1' · u32 crc32(header[8:24]) · u32 crc32(payload as stored) · u32 stored length · u32 raw length
    · u8 kind · u8 flags (1: zstd) · u16 entries · payload                                (little-endian)

A DATA payload is one group commit: a table of entries (u32 rank, u32 length, u64 incarnation, u64 end
offset), then the entries' journal bytes. Each writer life appends to a segment of its own, so no two
processes ever append to one file; readers take every record once, whatever frames repeat it.
"""

from __future__ import annotations

import enum
import errno
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from disttrack.environments.files import open_plain
from disttrack.errors import UnsupportedFormat
from disttrack.records.blobs import Blob
from disttrack.records.codec import decode, pack
from disttrack.records.types import Admission, Alias, Edit, Incarnation, RunEnd, RunHeader, Sighting

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "Damage",
    "Entry",
    "Frame",
    "FrameKind",
    "Segment",
    "check_version",
    "entries",
    "entry_table",
    "frame_kind",
    "frames",
    "is_torn",
    "read_frames",
    "segment_paths",
]

FORMAT_VERSION = 1
MAX_RAW_BYTES = 1 << 20  # of one DATA frame, or one larger record alone
MAX_FRAME_BYTES = 80 << 20  # a longer length is damage: 64 MiB of record, and room for the table
ZSTD_LEVEL = 1  # facts/storage.md F: levels 3 and 9 are no smaller and 2-5 times slower

_HEADER = struct.Struct("<4sIIIIBBH")
_TAIL = struct.Struct("<IIIBBH")  # header[8:24]
_ENTRY = struct.Struct("<IIQQ")
HEADER_BYTES = _HEADER.size
_KIND_AT = 20
_MAGIC = b"DTF1"
_WINDOW = 2 << 20
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_T = TypeVar("_T")


class FrameKind(enum.IntEnum):
    """The kind byte of a frame."""

    HEADER = 1  # RunHeader
    ADMISSION = 2
    DATA = 3
    SIGHTING = 4
    ALIAS = 5
    END = 6  # RunEnd
    EDIT = 7  # alone in a segment, behind a HEADER: a person's, not a writer's
    BLOB = 8


class Entry(NamedTuple):
    """Journal bytes of one incarnation that end at offset end; the rank is the one known at the commit, a hint."""

    rank: int
    incarnation: Incarnation
    end: int
    data: bytes | memoryview


class Frame(NamedTuple):
    """A whole frame and where it lies in its segment."""

    kind: int
    payload: bytes
    entries: int
    start: int
    end: int

    def value(self, kind: type[_T]) -> _T:
        """Return the Struct in a frame that is not DATA."""
        return decode(self.payload, kind)


class Damage(NamedTuple):
    """Bytes of a segment that are no whole frame, and why."""

    start: int
    end: int
    why: str


def segment_paths(log: Path) -> list[Path]:
    """Return the segments of a run's log directory in the order of their numbers."""
    return sorted((path for path in log.glob("*.dtl") if path.stem.isdecimal()), key=lambda path: int(path.stem))


class Segment:
    """One segment being written, by one writer life."""

    def __init__(self, log: Path) -> None:
        """Create the segment with the next free number."""
        number = int(paths[-1].stem) + 1 if (paths := segment_paths(log)) else 1
        while True:
            self.path = log / f"{number:06d}.dtl"
            try:
                self._fd = open_plain(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
                break
            except FileExistsError:
                number += 1
        self._end = self._batches = 0
        self.full = False  # no file may grow further here (RLIMIT_FSIZE): another segment takes as much again
        self._dirty = True
        self.failed = False  # what it holds is not known: write on in another segment
        directory = os.open(log, os.O_RDONLY)
        try:
            os.fsync(directory)  # or a power cut takes the name, and with it what was synced under it
        except OSError:
            self.discard()
            raise
        finally:
            os.close(directory)

    def append(self, kind: FrameKind, value: RunHeader | Admission | Sighting | Alias | RunEnd | Edit | Blob) -> None:
        """Append one frame that holds a Struct; raise OSError where it does not fit, with nothing appended."""
        self._write(kind, pack(value), 0)

    def append_batch(self, batch: Sequence[Entry]) -> None:
        """Append one DATA frame; raise OSError where it does not fit, with nothing appended."""
        table = b"".join(_ENTRY.pack(entry.rank, len(entry.data), entry.incarnation, entry.end) for entry in batch)
        self._write(FrameKind.DATA, table + b"".join(entry.data for entry in batch), len(batch))
        self._batches += 1

    def _write(self, kind: FrameKind, raw: bytes, count: int) -> None:
        small = zstd.compress(raw, ZSTD_LEVEL) if kind is FrameKind.DATA else raw
        stored, flags = (small, 1) if len(small) < len(raw) else (raw, 0)
        tail = _TAIL.pack(zlib.crc32(stored), len(stored), len(raw), kind, flags, count)
        frame = _MAGIC + zlib.crc32(tail).to_bytes(4, "little") + tail + stored
        written = 0
        if self._fd < 0:
            self._fd = open_plain(self.path, os.O_WRONLY | os.O_APPEND)
        self._dirty = True
        try:
            while written < len(frame):  # a full disk takes a part first and raises at the next call
                written += os.write(self._fd, frame[written:])
        except OSError as error:
            self.full = error.errno == errno.EFBIG and self._batches > 0
            # A file that is open on a network file system may be lost to us for good (ESTALE).
            self.failed = error.errno not in _NO_ROOM
            try:
                os.ftruncate(self._fd, self._end)  # a torn frame would hide the next one from readers
            except OSError:
                self.failed = True  # nothing comes behind it
            raise
        self._end += len(frame)

    def sync(self) -> None:
        """Bring everything appended to the disk; only then may it be acknowledged."""
        if self._dirty:
            try:
                os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)
            except OSError:
                # The kernel may have thrown these pages away and call them clean: another sync would promise nothing.
                self.failed = True
                raise
            self._dirty = False

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)  # which it is afterwards, whatever is answered
            except OSError:
                self.failed = True  # what was not synced did not reach a network file system; the rest did

    def discard(self) -> None:
        """Remove the segment: nothing in it is of use."""
        self.close()
        self.path.unlink(missing_ok=True)


def entry_table(frame: Frame) -> tuple[Iterator[tuple[int, int, int, int]], int]:
    """Return what the table of a DATA frame says, (rank, length, incarnation, end) each, and where the first begins.

    For who reads half a million of them a second; of a table that does not add up it says all, as it stands.
    """
    start = frame.entries * _ENTRY.size
    if frame.entries == 1 and start <= len(frame.payload):  # one rank: half the time
        return iter((_ENTRY.unpack_from(frame.payload),)), start
    whole = min(start, len(frame.payload)) // _ENTRY.size * _ENTRY.size
    return _ENTRY.iter_unpack(memoryview(frame.payload)[:whole]), start


def entries(frame: Frame) -> Iterator[Entry]:
    """Yield the entries of a DATA frame; a table that does not add up yields what of it does."""
    view = memoryview(frame.payload)
    table, start = entry_table(frame)
    for rank, length, incarnation, end in table:
        if start + length > len(view):
            return
        yield Entry(rank, Incarnation(incarnation), end, view[start : start + length])
        start += length


def read_frames(path: Path, position: int = 0) -> Iterator[Frame | Damage]:
    """Yield what a segment holds from position (a frame boundary) on.

    An incomplete frame at the end is being written: it is not yielded, and the next call finds it again.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        fd = file.fileno()
        yield from frames(lambda size, at: os.pread(fd, size, at), position)


def frames(read: Callable[[int, int], bytes], position: int = 0) -> Iterator[Frame | Damage]:
    """Yield frames as read_frames does, from what read(size, position) returns: less only at the end."""
    data, base = b"", position
    start = 0  # within data
    while True:
        found = _frame_at(data, start, base)
        if type(found) is Frame:
            yield found
            start = found.end - base
        elif isinstance(found, int):  # that many bytes are needed from start on
            data = read(max(_WINDOW, found), base + start)
            base, start = base + start, 0
            if len(data) < found:
                return
        elif found is not None:
            yield found
            start = found.end - base
        else:
            resume = _next_frame(read, base + start + 1)
            if resume is None:
                return  # the rest may still be being written; if it never is, fsck names it
            yield Damage(base + start, resume, "no frame begins here (damaged header)")
            data, base, start = b"", resume, 0


def _frame_at(data: bytes, start: int, base: int) -> Frame | Damage | int | None:
    """Return the frame at data[start:], its damage, how many bytes it needs, or None if its header is damaged."""
    body = start + _HEADER.size
    if body > len(data):
        return _HEADER.size
    # As _is_header, here for its speed: a log of commits a row each is read at 200,000 frames a second.
    header: tuple[bytes, int, int, int, int, int, int, int] = _HEADER.unpack_from(data, start)
    magic, check, crc, stored, raw, kind, flags, count = header
    if magic != _MAGIC or zlib.crc32(data[start + 8 : body]) != check:
        return None
    if stored > MAX_FRAME_BYTES or raw > MAX_FRAME_BYTES:
        return None
    end = body + stored
    if end > len(data):
        return end - start
    payload = data[body:end]
    if zlib.crc32(payload) != crc:
        return Damage(base + start, base + end, "the payload's checksum is wrong")
    if flags & 1:
        try:
            payload = zstd.ZstdDecompressor().decompress(payload, raw)
        except zstd.ZstdError as error:
            return Damage(base + start, base + end, f"the payload does not decompress: {error}")
    if len(payload) != raw:
        return Damage(base + start, base + end, "the payload is not as long as its header says")
    return Frame(kind, payload, count, base + start, base + end)


def _is_header(data: bytes, start: int) -> bool:
    """Say whether a frame's header begins at data[start:]."""
    header: tuple[bytes, int, int, int, int, int, int, int] = _HEADER.unpack_from(data, start)
    magic, check, _, stored, raw, _, _, _ = header
    whole = magic == _MAGIC and zlib.crc32(data[start + 8 : start + _HEADER.size]) == check
    return whole and stored <= MAX_FRAME_BYTES and raw <= MAX_FRAME_BYTES


def is_torn(data: bytes) -> bool:
    """Say whether the rest of a file that begins so can be a frame that was not written to its end."""
    if len(data) < HEADER_BYTES:
        return data[:4] == _MAGIC[: len(data)]
    return _is_header(data, 0)


def frame_kind(data: bytes) -> int | None:
    """Return the kind of the frame that data begins with; None where its header is damaged."""
    return int(data[_KIND_AT]) if len(data) >= HEADER_BYTES and _is_header(data, 0) else None


def _next_frame(read: Callable[[int, int], bytes], position: int) -> int | None:
    """Return the position of the next frame whose header holds."""
    while len(data := read(_WINDOW, position)) >= _HEADER.size:
        at = data.find(_MAGIC)
        while at != -1 and at + _HEADER.size <= len(data):
            if _is_header(data, at):
                return position + at
            at = data.find(_MAGIC, at + 1)
        position += len(data) - _HEADER.size + 1
    return None


def check_version(header: RunHeader, path: Path | str) -> None:
    """Raise UnsupportedFormat where a newer disttrack wrote this segment."""
    if header.format_version > FORMAT_VERSION:
        raise UnsupportedFormat(Path(path), header.format_version, FORMAT_VERSION)
