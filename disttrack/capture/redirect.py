"""Descriptors 1 and 2 into files, and copies of these on to where they led: whatever prints, C and children included.

No pipe: a process that dies, however it dies, leaves in the file what it had written, and nobody who prints ever waits
for who copies. How far a file was copied is the offset of one open file that the printing process and the copying one
share: the kernel moves it with the bytes, so that a copying process may be killed at any moment and replaced, without
a byte lost or written twice (docs/decisions/0026).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from disttrack.capture.console import StreamName

if sys.platform == "linux":
    import fcntl

__all__ = ["Copy", "Redirection", "copy_on", "is_possible", "is_written_by_nobody", "punch"]

LOOK_S = 0.01  # between two looks at a file that grows; REST_S at one that does not
REST_S = 0.1
CHUNK_BYTES = 1 << 20
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}
_PUNCH = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_PAGE = 1 << 16


@dataclass(frozen=True)
class Copy:
    """One file: whose stream it is, where its copies go, and the open file whose offset says how far they went."""

    stream: StreamName
    path: str
    reads: int
    target: int


def is_possible() -> bool:
    """Say whether this host has what it takes."""
    return sys.platform == "linux" and hasattr(os, "sendfile")


class Redirection:
    """Where descriptors 1 and 2 led, and the files they lead to now. Where both led to one place, so they do still."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError where no file can be made or a descriptor is closed; then nothing has changed."""
        self.copies: list[Copy] = []
        writes: list[int] = []
        fds: list[tuple[int, StreamName]] = [(1, "stdout")] if _same(1, 2) else [(1, "stdout"), (2, "stderr")]
        try:
            for fd, stream in fds:
                path = directory / stream
                writes.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600))
                self.copies.append(Copy(stream, str(path), os.open(path, os.O_RDONLY), os.dup(fd)))
            self._targets = [self.copies[0].target, self.copies[-1].target]
            _flush()
            for fd, write in ((1, writes[0]), (2, writes[-1])):
                was_terminal = os.isatty(fd)
                os.dup2(write, fd)
                if was_terminal and fd == 1:
                    _by_lines()
        except BaseException:
            self.close()
            raise
        finally:
            for write in writes:  # 1 and 2 are all that is left of them: their last copy closed, nobody writes there
                os.close(write)

    def undo(self) -> dict[str, int]:
        """Have 1 and 2 lead where they led before; return how long each file is then, by stream."""
        _flush()
        for fd, target in zip((1, 2), self._targets, strict=True):
            os.dup2(target, fd)
        return {copy.stream: os.fstat(copy.reads).st_size for copy in self.copies}

    def copied(self, sizes: dict[str, int]) -> bool:
        """Say whether all files are copied up to these sizes."""
        return all(os.lseek(copy.reads, 0, os.SEEK_CUR) >= sizes[copy.stream] for copy in self.copies)

    def close(self) -> None:
        """Let go of the files and of the places behind them."""
        for copy in self.copies:
            os.close(copy.reads)
            os.close(copy.target)
        self.copies = []


def _same(one: int, other: int) -> bool:
    """Say whether two descriptors lead to one place, so that the order between them can be seen there."""
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _flush() -> None:
    """Have Python's and C's own buffers written where they belong."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # closed, or nobody reads it any more: that is for who prints
    ctypes.CDLL(None).fflush(None)


def _by_lines() -> None:
    """Have C's stdout written at each line end, as on a terminal: it decides by what it finds at descriptor 1."""
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, 1, 0)  # 1: _IOLBF of glibc and musl


def copy_on(copy: Copy, is_over: Callable[[], bool]) -> bool:
    """Copy what is written into a file until is_over and nobody can write to it any more.

    Returns whether all went on; False where nobody reads it there.
    """
    wait_s = LOOK_S
    while True:
        try:
            if _send(copy):
                wait_s = LOOK_S
                continue
        except BlockingIOError:
            pass  # a terminal or pipe that somebody has set so is full
        except OSError:
            return False  # the terminal has gone, or who read the pipe
        if is_over() and is_written_by_nobody(copy.reads) and not _send(copy):
            return True
        time.sleep(wait_s)
        wait_s = min(REST_S, 1.5 * wait_s)


def _send(copy: Copy) -> int:
    """Copy on what there is; return how many bytes were."""
    try:
        return os.sendfile(copy.target, copy.reads, None, CHUNK_BYTES)
    except OSError as error:
        if error.errno not in _NO_SENDFILE:
            raise
    # Into a file that is appended to (`>> log`), and some devices: there a kill between two calls writes twice.
    at = os.lseek(copy.reads, 0, os.SEEK_CUR)
    data = os.pread(copy.reads, 1 << 16, at)
    if not data:
        return 0
    written = os.write(copy.target, data)
    os.lseek(copy.reads, at + written, os.SEEK_SET)
    return written


def is_written_by_nobody(fd: int) -> bool:
    """Say whether no process has the file of this read-only descriptor open for writing; whoever asks ignores SIGIO."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno != errno.EAGAIN  # a file system without leases: nobody can tell
    else:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True


def punch(path: str, begin: int, end: int) -> int:
    """Give the disk back what is in a file between two offsets; return up to where it did."""
    end -= end % _PAGE
    if end <= begin:
        return begin
    fd = os.open(path, os.O_WRONLY)
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate64
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        fallocate(fd, _PUNCH, begin, end - begin)  # where it cannot, the file stays as large as it is
    finally:
        os.close(fd)
    return end
