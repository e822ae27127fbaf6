"""The blobs of one incarnation on this node's disk, until they are stored with their run (docs/decisions/0025).

Blob n is two files: `n` holds its bytes, `n.note` says how to read them. One without its note does not exist: the note
comes last. The rank adds, its node's process reads and removes.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from disttrack.environments.files import open_plain, read_plain
from disttrack.records.blobs import Note
from disttrack.records.codec import decode, pack
from disttrack.records.types import changed

__all__ = ["Spool", "Spooled", "has_blobs", "spool_of", "spooled"]

DIRECTORY = "blobs"
NOTE = ".note"
NOTE_BYTES = 1 << 16
COPY_BYTES = 64 << 20  # a larger file is linked, where it cannot share its bytes: to copy 1 GB takes seconds
LOOK_S = 0.2  # how often the room that stored blobs gave back is looked for, at most

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_FICLONE = 0x40049409  # linux/fs.h: share the bytes of another file until one of the two is written to

Bytes = bytes | bytearray | memoryview


class Spooled(NamedTuple):
    """A blob in a spool."""

    number: int
    note: Note
    path: Path  # of its bytes

    def remove(self) -> None:
        """Remove it: the note first, so that no note stands without bytes."""
        self.path.with_name(self.path.name + NOTE).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class Spool:
    """Where this process puts its blobs. Any thread may add; none waits for another."""

    def __init__(self, journal: Path) -> None:
        """journal: the directory of its journal."""
        self.directory = spool_of(journal)
        self.added = 0  # how many there ever were, whole
        self.bytes = 0  # of those that are here, at most: what was removed is noticed when somebody looks
        self._numbers = itertools.count()
        self._unsynced: dict[int, float] = {}  # when each was added
        self._looked = 0.0

    def add(self, content: Bytes | Path, note: Note) -> int:
        """Return the number of a new blob: bytes, or a file as it is now (above 64 MiB: as it is when it is stored).

        Raises OSError where it does not fit or cannot be read; then there is no blob.
        """
        number = next(self._numbers)
        path = self.directory / str(number)
        if not number:
            self.directory.mkdir(mode=0o700, exist_ok=True)
        try:
            size = _take_file(content, path) if isinstance(content, Path) else _write(path, content)
            _write(path.with_name(path.name + NOTE), pack(changed(note, size=size)))
        except BaseException:
            Spooled(number, note, path).remove()
            raise
        self.bytes += size
        self._unsynced[number] = time.monotonic()
        self.added += 1
        return number

    def withdraw(self, number: int) -> None:
        """Remove a blob that nothing will refer to."""
        path = self.directory / str(number)
        Spooled(number, Note(form="file", size=0), path).remove()

    def look(self) -> int:
        """Return how many bytes are here, looked for now if that is not long ago."""
        now = time.monotonic()
        if self.added and now - self._looked >= LOOK_S:
            before, added = self.bytes, self.added
            here = _size(self.directory)
            if added == self.added:
                self.bytes += here - before
            self._looked = now
        return self.bytes

    @property
    def waiting(self) -> int:
        """How many blobs are not stored yet; looks at the disk."""
        return len(_numbers(self.directory)) if self.added else 0

    def sync(self, before: float) -> None:
        """Bring to the disk what was added before then (monotonic) and is still here."""
        for number in [number for number, added in list(self._unsynced.items()) if added < before]:
            del self._unsynced[number]
            for name in (str(number), f"{number}{NOTE}"):
                path = self.directory / name
                try:
                    fd = open_plain(path)
                except FileNotFoundError:
                    continue  # stored meanwhile
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)


def spool_of(journal: Path) -> Path:
    """Return where the blobs of a journal lie."""
    return journal / DIRECTORY


def has_blobs(journal: Path) -> bool:
    """Say whether a journal has blobs that are not stored yet."""
    return bool(_numbers(spool_of(journal)))


def spooled(journal: Path, limit: int | None = None) -> list[Spooled]:
    """Return the blobs of a journal that are not stored yet, by their numbers; limit: the first so many."""
    return list(itertools.islice(_blobs(spool_of(journal)), limit))


def _numbers(directory: Path) -> list[int]:
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name[: -len(NOTE)]) for name in names if name.endswith(NOTE) and name[: -len(NOTE)].isdecimal())


def _size(directory: Path) -> int:
    """Return how many bytes the blobs in a directory have."""
    size = 0
    for entry in os.scandir(directory):
        try:
            size += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue  # stored meanwhile
    return size


def _blobs(directory: Path) -> Iterator[Spooled]:
    for number in _numbers(directory):
        path = directory / str(number)
        try:
            note = decode(read_plain(path.with_name(path.name + NOTE), NOTE_BYTES), Note)
            yield Spooled(number, note, path)
        except FileNotFoundError:
            continue  # stored meanwhile
        except (OSError, ValueError):  # a power cut took what it said
            yield Spooled(number, Note(form="file", size=-1), path)


def _write(path: Path, data: Bytes) -> int:
    """Write a new file whole; return its size in bytes."""
    view = memoryview(data).cast("B")
    fd = os.open(path, _FLAGS, 0o600)
    try:
        written = 0
        while written < len(view):
            written += os.write(fd, view[written:])
    finally:
        os.close(fd)
    return written


def _take_file(source: Path, path: Path) -> int:
    """Have a file at path, as source is now: sharing its bytes where the disk can, else copied, if large linked."""
    if not source.is_file():  # or it is a pipe, which to open would wait for somebody
        raise OSError(errno.EINVAL, "not a plain file", str(source))
    with open(source, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if _shared(file.fileno(), path):
            return size
        if size > COPY_BYTES:
            try:
                os.link(source, path, follow_symlinks=True)
                return size
            except OSError:
                pass  # another file system, or one without links
        with os.fdopen(os.open(path, _FLAGS, 0o600), "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            return copy.tell()


def _shared(source: int, path: Path) -> bool:
    """Make a file that shares the bytes of another, where the file system can; say whether it does."""
    try:
        import fcntl

        fd = os.open(path, _FLAGS, 0o600)
    except ImportError:
        return False
    try:
        fcntl.ioctl(fd, _FICLONE, source)
        return True
    except OSError:
        os.unlink(path)
        return False
    finally:
        os.close(fd)
