"""A stand-in for a network file system: `python -m tests.faults.networkfs SERVER MOUNT` shows a directory over FUSE.

Each process is one client of the directory, the server, as an NFS client is with `actimeo=3`:

- attributes, names, names that are not there, and lists of directories may be 3 s old; a list is never older than the
  directory's time that was told;
- what is written is on the server, and with other clients, after fsync or close; a failed fsync has lost it;
- reading ends where the file ended when it was opened, or up to 3 s ago;
- O_APPEND writes at the end that the server knows then, though another client may be about to write there;
- flock and fcntl locks are refused (ENOLCK), and so is memory that is shared through a file (direct I/O: ENODEV);
- a file that is removed while it is open gets another name for as long (.fuse_hidden...); inode numbers stay.

Commands come as lines on stdin, each answered by one on stdout: `hang` (calls wait), `fail EIO` (calls fail so),
`stale` (what is open now fails with ESTALE from now on), `heal` (the first two end). At the end of stdin it is
unmounted: also where the test that holds the other end has died.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import mfusepy  # pyright: ignore[reportMissingTypeStubs]  # it has none

CACHED_S = 3.0
NOW, AS_IT_IS = (1 << 30) - 1, (1 << 30) - 2  # UTIME_NOW and UTIME_OMIT of utimensat(2), as nanoseconds
STAT_FIELDS = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_blksize")
STATFS_FIELDS = (
    "f_bavail",
    "f_bfree",
    "f_blocks",
    "f_bsize",
    "f_favail",
    "f_ffree",
    "f_files",
    "f_frsize",
    "f_namemax",
)

Listed = tuple[str, dict[str, int], int]
P = ParamSpec("P")
T = TypeVar("T")


class Faults:
    """What becomes of calls now."""

    def __init__(self) -> None:
        self._runs = threading.Event()
        self._runs.set()
        self._error = 0

    def meet(self) -> None:
        """Wait for as long as calls hang; raise OSError while they fail."""
        self._runs.wait()
        if self._error:
            raise OSError(self._error, os.strerror(self._error))

    @property
    def failing(self) -> bool:
        return bool(self._error)

    def hang(self) -> None:
        self._runs.clear()

    def fail(self, name: str) -> None:
        self._error = int(getattr(errno, name))

    def heal(self) -> None:
        self._error = 0
        self._runs.set()


def _mode_and_inode(entry: os.DirEntry[str]) -> dict[str, int]:
    kind = stat.S_IFLNK if entry.is_symlink() else stat.S_IFDIR if entry.is_dir() else stat.S_IFREG
    return {"st_mode": kind, "st_ino": entry.inode()}


def remote(call: Callable[Concatenate[Client, P], T]) -> Callable[Concatenate[Client, P], T]:
    """Make a call one that needs the server."""

    @functools.wraps(call)  # its number of arguments is looked at
    def asked(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.faults.meet()
        return call(self, *args, **kwargs)

    return asked


class Client:
    """One client of the directory."""

    use_ns = True

    def __init__(self, server: str) -> None:
        self.faults = Faults()
        self._server = server
        self._lock = threading.RLock()
        self._inodes: dict[int, int] = {}  # by descriptor
        self._stale: set[int] = set()  # descriptors
        self._unsynced: dict[int, list[tuple[int, int, bytes]]] = defaultdict(list)  # by inode: descriptor, where, what
        self._sizes: dict[int, tuple[int, float]] = {}  # by inode, and when it was that
        self._writable: set[int] = set()  # descriptors
        self._appending: set[int] = set()  # descriptors
        self._told: dict[str, tuple[dict[str, Any], float]] = {}  # attributes, and when they were asked for
        self._lists: dict[str, tuple[list[Listed], float]] = {}

    def make_stale(self) -> None:
        """Fail from now on what is done with files that are open now."""
        self._stale |= set(self._inodes)

    def init_with_config(self, conn_info: object, config_3: object) -> None:
        """Say that it is mounted."""
        print("mounted", flush=True)

    def _at(self, path: str) -> str:
        return self._server + path

    def _changed(self, *paths: str) -> None:
        """Forget what a change of ours to the names of these files makes old."""
        for path in paths:
            self._told.pop(path, None)
            self._told.pop(os.path.dirname(path), None)
            self._lists.pop(os.path.dirname(path), None)

    # Attributes and names

    @remote
    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        told, at = self._told.get(path, ({}, 0.0))
        if time.monotonic() - at < CACHED_S:
            return told
        found = os.lstat(self._at(path))
        before, told = told, {name: getattr(found, name) for name in STAT_FIELDS}
        told |= {name: getattr(found, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
        with self._lock:
            if stat.S_ISREG(found.st_mode):
                told["st_size"] = self._learn_size(found.st_ino, found.st_size)
            elif before.get("st_mtime") != told["st_mtime"]:
                self._lists.pop(path, None)
            self._told[path] = told, time.monotonic()
        return told

    def _learn_size(self, inode: int, size: int) -> int:
        size = max([size, *(where + len(what) for _, where, what in self._unsynced.get(inode, ()))])
        self._sizes[inode] = size, time.monotonic()
        return size

    @remote
    def readdir(self, path: str, fh: int) -> list[Listed]:
        names, at = self._lists.get(path, ([], 0.0))
        if time.monotonic() - at >= CACHED_S:
            at = time.monotonic()
            with os.scandir(self._at(path)) as found:
                names = [(entry.name, _mode_and_inode(entry), 0) for entry in found]
            self._lists[path] = names, at
        return names

    @remote
    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    @remote
    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in STATFS_FIELDS}

    @remote
    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at(path), mode)
        self._changed(path)
        return 0

    @remote
    def mknod(self, path: str, mode: int, dev: int) -> int:
        os.mknod(self._at(path), mode, dev)
        self._changed(path)
        return 0

    @remote
    def symlink(self, target: str, source: str) -> int:
        os.symlink(source, self._at(target))
        self._changed(target)
        return 0

    @remote
    def link(self, target: str, source: str) -> int:
        os.link(self._at(source), self._at(target))
        self._changed(target)
        return 0

    @remote
    def rename(self, old: str, new: str) -> int:
        os.rename(self._at(old), self._at(new))
        self._changed(old, new)
        return 0

    @remote
    def unlink(self, path: str) -> int:
        os.unlink(self._at(path))
        self._changed(path)
        return 0

    @remote
    def rmdir(self, path: str) -> int:
        os.rmdir(self._at(path))
        self._changed(path)
        return 0

    @remote
    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._at(path), mode)
        self._told.pop(path, None)
        return 0

    @remote
    def chown(self, path: str, uid: int, gid: int) -> int:
        os.lchown(self._at(path), uid, gid)
        self._told.pop(path, None)
        return 0

    @remote
    def utimens(self, path: str, times: tuple[int, int]) -> int:
        found = os.lstat(self._at(path))
        instead = [{NOW: time.time_ns(), AS_IT_IS: known} for known in (found.st_atime_ns, found.st_mtime_ns)]
        accessed, modified = (known.get(time_ns, time_ns) for known, time_ns in zip(instead, times, strict=True))
        os.utime(self._at(path), ns=(accessed, modified), follow_symlinks=False)
        self._told.pop(path, None)
        return 0

    @remote
    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        fd = os.open(self._at(path), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        return 0

    # Files

    @remote
    def create(self, path: str, mode: int, flags: int) -> int:
        self._changed(path)
        return self._opened(path, flags | os.O_CREAT, mode)

    @remote
    def open(self, path: str, flags: int) -> int:
        return self._opened(path, flags, 0o600)

    def _opened(self, path: str, flags: int, mode: int) -> int:
        fd = os.open(self._at(path), flags & ~os.O_APPEND & ~os.O_DIRECT | os.O_CLOEXEC, mode)
        found = os.fstat(fd)
        with self._lock:
            self._told.pop(path, None)
            self._inodes[fd] = found.st_ino
            if flags & os.O_ACCMODE != os.O_RDONLY:
                self._writable.add(fd)
            if flags & os.O_APPEND:
                self._appending.add(fd)
            self._learn_size(found.st_ino, found.st_size)
        return fd

    def _inode(self, fd: int) -> int:
        """Return which file is open there; raise OSError where the server does not know any more."""
        if fd in self._stale:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self._inodes[fd]

    @remote
    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            inode = self._inode(fh)
            end, at = self._sizes[inode]
            if time.monotonic() - at >= CACHED_S:
                end = self._learn_size(inode, os.fstat(fh).st_size)
            data = bytearray(os.pread(fh, max(0, min(size, end - offset)), offset))
            for _, where, what in self._unsynced.get(inode, ()):
                begin, last = max(where, offset), min(where + len(what), offset + size)
                if begin < last:
                    data.extend(bytes(max(0, last - offset - len(data))))
                    data[begin - offset : last - offset] = what[begin - where : last - where]
        return bytes(data)

    @remote
    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._lock:
            inode = self._inode(fh)
            end, _ = self._sizes[inode]
            if fh in self._appending:
                offset = end = self._learn_size(inode, os.fstat(fh).st_size)
            self._unsynced[inode].append((fh, offset, data))
            self._told.pop(path, None)
            self._sizes[inode] = max(end, offset + len(data)), time.monotonic()
        return len(data)

    @remote
    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self._bring(os.stat(self._at(path)).st_ino)
        os.truncate(self._at(path), length)
        with self._lock:
            self._told.pop(path, None)
            self._learn_size(os.stat(self._at(path)).st_ino, length)
        return 0

    def flush(self, path: str, fh: int) -> int:
        return self._written(fh) if fh in self._writable else 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        return self._written(fh, sync=True)

    def _written(self, fh: int, *, sync: bool = False) -> int:
        """Bring to the server what was written, or lose it and say so."""
        try:
            self.faults.meet()
            self._bring(self._inode(fh))
            if sync:
                os.fdatasync(fh)
        except OSError:
            with self._lock:
                self._unsynced.pop(self._inodes[fh], None)
            raise
        return 0

    def _bring(self, inode: int) -> None:
        with self._lock:
            for fd, where, what in self._unsynced.pop(inode, ()):
                written = 0
                while written < len(what):
                    written += os.pwrite(fd, what[written:], where + written)

    def release(self, path: str, fh: int) -> int:
        with self._lock:
            inode = self._inodes.pop(fh)
            if self.faults.failing or fh in self._stale:
                self._unsynced.pop(inode, None)
            if fh in self._writable:
                self._bring(inode)
            for descriptors in (self._stale, self._writable, self._appending):
                descriptors.discard(fh)
            os.close(fh)
        return 0

    # Locks

    def lock(self, path: str, fh: int, cmd: int, lock: Any) -> int:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def flock(self, path: str, fh: int, op: int) -> int:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def obey(client: Client, mount: str) -> None:
    """Do what stdin says; unmount at its end."""
    commands: dict[str, Callable[..., None]] = {
        "hang": client.faults.hang,
        "fail": client.faults.fail,
        "stale": client.make_stale,
        "heal": client.faults.heal,
    }
    for line in sys.stdin:
        command, *arguments = line.split()
        commands[command](*arguments)
        print(command, flush=True)
    client.faults.heal()
    subprocess.run(["fusermount3", "-u", "-z", mount], check=False)
    os._exit(0)


def main(server: str, mount: str) -> None:
    """Show the directory until stdin ends."""
    client = Client(os.path.realpath(server))
    threading.Thread(target=obey, args=(client, mount), daemon=True).start()
    mfusepy.FUSE(
        client,
        mount,
        foreground=True,
        subtype="networkfs",
        fsname="server",
        attr_timeout=0,  # the client keeps them: the kernel asks again after each read
        entry_timeout=CACHED_S,
        negative_timeout=CACHED_S,
        use_ino=True,
        direct_io=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
