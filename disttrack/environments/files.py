"""Files where others may write, too: no link of somebody else's is followed, and nothing but a plain file opened.

A root of runs may be shared. What is made in it takes its permissions from the directory it is made in, whatever the
umask: who gives a root to a group gives the runs in it to that group.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["change_mode", "is_own_link", "is_owned", "make_directory", "make_root", "open_plain", "read_plain", "touch"]

_PLAIN = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a FIFO must not hold us up


def open_plain(path: Path | str, flags: int = os.O_RDONLY, mode: int | None = None) -> int:
    """Return the descriptor of a plain file; raise OSError where a link, a pipe or a device stands in its place.

    mode: of the file where flags make it; None: as its directory has it, without execution.
    """
    fd = _opened_or_made(path, flags, mode) if flags & os.O_CREAT else os.open(path, flags | _PLAIN)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return fd


def _opened_or_made(path: Path | str, flags: int, mode: int | None) -> int:
    """Open a file or make it; its mode is set only where it is ours, since it is new."""
    if mode is None:
        mode = os.stat(os.path.dirname(path)).st_mode & 0o666
    while True:
        try:
            fd = os.open(path, flags | os.O_EXCL | _PLAIN, 0o600)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
        else:
            os.fchmod(fd, mode)
            return fd
        try:
            return os.open(path, flags & ~os.O_CREAT | _PLAIN)
        except FileNotFoundError:
            continue  # removed this moment: make it


def read_plain(path: Path | str, limit: int) -> bytes:
    """Return what a plain file holds; raise OSError as open_plain does, and where it is longer than limit bytes."""
    with os.fdopen(open_plain(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than {limit:,} bytes", str(path))
    return data


def touch(path: Path) -> None:
    """Make an empty file, or a file that is there look written now; raise OSError as open_plain does."""
    fd = open_plain(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.utime(fd)
    finally:
        os.close(fd)


def is_owned(found: os.stat_result) -> bool:
    """Say whether what was found is this user's."""
    return not hasattr(os, "getuid") or found.st_uid == os.getuid()


def is_own_link(found: os.stat_result) -> bool:
    """Say whether what lstat found is a link that this user made: those may lead elsewhere."""
    return stat.S_ISLNK(found.st_mode) and is_owned(found)


def make_directory(path: Path) -> None:
    """Make a directory with the permissions of the one it is made in, or see that it is one.

    Raises OSError where a link of somebody else's stands in its place, or something else.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) and not (is_own_link(found) and path.is_dir()):
            raise OSError(errno.ENOTDIR, "not a directory, or a link of another user", str(path)) from None
        return
    change_mode(path, stat.S_IMODE(path.parent.stat().st_mode) & 0o2777)


def change_mode(directory: Path, mode: int) -> None:
    """Change the permissions of a directory, and of nothing that somebody may have put in its place meanwhile."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def make_root(path: Path, *, shared: bool) -> None:
    """Make a root of runs where there is none: by the umask, but never for everybody to write.

    shared: also for its group to write, and all that comes into it belongs to that group.
    """
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.mkdir(path, 0o775)
    except FileExistsError:
        return
    if shared:
        change_mode(path, stat.S_IMODE(path.stat().st_mode) | 0o2770)
