"""This machine and its processes: who is alive, which disk is local, where private files may lie.

Linux is read through /proc; elsewhere each function has a fallback that its docstring names.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from disttrack.environments.files import change_mode
from disttrack.errors import UnsafeDirectory

__all__ = [
    "address_towards",
    "boot_id",
    "children_of",
    "filesystem_type",
    "hostname",
    "is_alive",
    "is_network_filesystem",
    "is_network_type",
    "journal_places",
    "local_world_size",
    "node_id",
    "own_name",
    "parent_of",
    "pid_namespace",
    "private_directory",
    "process_arguments",
    "process_environ",
    "process_start_time",
    "process_state",
    "runtime_directory",
    "runtime_places",
    "try_lock",
]

NETWORK_FILESYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs lustre gpfs beegfs ceph glusterfs afs panfs orangefs pvfs2 9p wekafs gfs2 ocfs2".split()
)
LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.snapfuse", "fuse.squashfuse"})
"""File systems of FUSE that are this host's alone; fuse-overlayfs is the root of containers without privileges."""

HOST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of the kernel: no container


@functools.cache
def hostname() -> str:
    """Return this host's name as its users know it."""
    return socket.gethostname()


@functools.cache
def boot_id() -> str:
    """Return what tells this boot of this host, and this container on it, from every other.

    Fallback: the network card's address.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{hostname()}-{uuid.getnode():x}"
    namespace = pid_namespace()
    return boot if namespace in (0, HOST_PID_NAMESPACE) else f"{boot}.{namespace}"


def pid_namespace() -> int:
    """Return the number of the namespace that pids mean something in; 0 where it cannot be known."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def node_id(runtime: Path) -> str:
    """Return what processes have in common that can watch each other and meet in this runtime directory.

    Two containers on one host are two nodes, unless they share both.
    """
    found = os.stat(runtime)
    return f"{boot_id()}/{found.st_dev:x}.{found.st_ino:x}"


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on, or None where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    return line[line.rindex(b")") + 2 :].decode().split()  # the name before may hold blanks and brackets


def process_start_time(pid: int) -> int:
    """Return when the process started, in clock ticks since boot; 0 where it is gone or this cannot be known."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else 0


def process_state(pid: int) -> str:
    """Return the kernel's letter for what a process does (R, S, D, T ...); "" where it is gone or cannot be known."""
    fields = _stat_fields(pid)
    return fields[0] if fields else ""


def parent_of(pid: int) -> int:
    """Return the pid of a process's parent; 0 where it is gone or this cannot be known."""
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else 0


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children; [] where this cannot be known."""
    try:
        everybody = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []
    return [other for other in everybody if parent_of(other) == pid]


def process_environ(pid: int) -> dict[str, str] | None:
    """Return the environment a process was started with; None where that may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            items = file.read().split(b"\0")
    except OSError:
        return None
    pairs = (os.fsdecode(item).partition("=") for item in items if b"=" in item)
    return {name: value for name, _, value in pairs}


def process_arguments(pid: int) -> list[str]:
    """Return the command line of a process; [] where it is gone or may not be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(item) for item in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def is_alive(pid: int, start_time: int) -> bool:
    """Say whether this very process runs; one that waits to be reaped does not. Fallback: whether the pid is in use."""
    if sys.platform == "linux":
        fields = _stat_fields(pid)
        return fields is not None and fields[0] not in "ZX" and int(fields[19]) == start_time
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def filesystem_type(path: Path) -> str:
    """Return the kernel's name for the file system a path lies (or would lie) on; "" where it cannot be known."""
    try:
        mountinfo = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return ""
    return mounted_type(os.path.realpath(path), mountinfo)


def mounted_type(where: str, mountinfo: bytes) -> str:
    """Return the file system type that /proc/<pid>/mountinfo gives for an absolute path without links."""
    best, kind = "", ""
    for line in filter(None, mountinfo.split(b"\n")):
        fields = os.fsdecode(line).split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])  # blanks and backslashes
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount on the same point hides the earlier
            best, kind = point, fields[fields.index("-") + 1]
    return kind


def is_network_filesystem(path: Path) -> bool:
    """Say whether a path lies on a file system that is, or may be, shared with other hosts."""
    return is_network_type(filesystem_type(path))


def is_network_type(kind: str) -> bool:
    """Say whether file systems that the kernel gives this name are, or may be, shared with other hosts.

    What is not known counts as local, but not if it is one of FUSE: most of these stand for storage elsewhere.
    """
    return kind in NETWORK_FILESYSTEMS or (kind.partition(".")[0] == "fuse" and kind not in LOCAL_FUSE)


def private_directory(path: Path) -> Path:
    """Return the directory, made if need be, readable by its owner alone; raise UnsafeDirectory if it is another's."""
    for parent in reversed(path.parents):  # made for this one: as private, whatever the umask
        if not parent.exists():
            parent.mkdir(mode=0o700, exist_ok=True)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise UnsafeDirectory(path, "it is not a directory") from error
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectory(path, "it is a link, not a directory")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise UnsafeDirectory(path, f"it belongs to user {found.st_uid}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        change_mode(path, 0o700)
    return path


def address_towards(host: str, port: int) -> str | None:
    """Return this host's address on the way to another (nothing is sent); None where there is no way."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect(address)
                except OSError:
                    continue
                return str(probe.getsockname()[0])
    except (OSError, UnicodeError):
        pass  # a name that nobody knows
    return None


def try_lock(fd: int) -> bool:
    """Take the lock on an open file for as long as it stays open, without waiting; say whether it is ours.

    Fallback without flock (Windows): a lock on its first byte.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def own_name() -> str:
    """Return the name of this user's directories among those of others."""
    return f"disttrack-{os.getuid() if hasattr(os, 'getuid') else os.environ.get('USERNAME', 'user')}"


def local_world_size(world_size: int, nodes: int | None, environ: Mapping[str, str]) -> int:
    """Return how many ranks of a launch share this node: as its launcher says, or at most.

    Where nobody says how many nodes there are: no more than there are processors, or 8.
    """
    said = environ.get("LOCAL_WORLD_SIZE", "")
    if said.isdecimal() and 1 <= int(said) <= world_size:
        return int(said)
    if nodes is not None and nodes > 0:
        return max(1, -(-world_size // nodes))
    return max(1, min(world_size, max(os.cpu_count() or 1, 8)))


def runtime_directory(chosen: str | None) -> Path:
    """Return where this user's processes on this host meet: sockets, claims, and notes of where journals lie.

    The system's own temporary directory, not TMPDIR: that one may differ from rank to rank. Where somebody else
    holds our name there, the user's runtime directory, then the home directory.
    Raises OSError or UnsafeDirectory where none can be had.
    """
    places = runtime_places(chosen)
    for place in places[:-1]:
        try:
            return private_directory(place)
        except (OSError, UnsafeDirectory):
            continue
    return private_directory(places[-1])


def runtime_places(chosen: str | None) -> list[Path]:
    """Return where the runtime directory may be, best first."""
    if chosen:
        return [Path(chosen)]
    base = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
    others = [os.environ.get("XDG_RUNTIME_DIR"), os.path.expanduser("~")]
    return [base / own_name(), *(Path(other) / f".{own_name()}" for other in others if other)]


def journal_places(chosen: str | None, environ: Mapping[str, str]) -> Iterable[Path]:
    """Yield the directories where a journal may lie, best first: node-local and, if possible, surviving a reboot."""
    named = (chosen, environ.get("SLURM_TMPDIR"), environ.get("TMPDIR"), "/var/tmp", "/tmp")
    # Python's own choice only where it is needed: it writes a file in each directory that it considers.
    for candidate in chain(named, (_temporary() for _ in range(1))):
        if candidate and not is_network_filesystem(Path(candidate)):
            # Absolute: whoever brings it home has another current directory.
            yield Path(os.path.abspath(candidate)) / own_name() / "journals"


def _temporary() -> str | None:
    """Return Python's own choice of a temporary directory; None where it finds none that it can write to now."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return None
