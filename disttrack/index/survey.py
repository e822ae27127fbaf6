"""What lies below a root: projects, runs, markers and segments, with as few file-system calls as will do.

A directory's modification time says whether to list it again; it is trusted only when it is older
than TRUST_S, since a directory can change twice in one tick of the clock.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from disttrack.environments.files import is_own_link, open_plain
from disttrack.index.decoder import SegmentSeen
from disttrack.records.names import DELETED, EDITS, LIVE

__all__ = [
    "NEVER",
    "ProjectLook",
    "ProjectTimes",
    "changed_ns",
    "look",
    "project_directories",
    "runs",
    "segment_number",
    "segments",
    "trusted",
]

TRUST_S = 2.0
SQL_INT = (1 << 63) - 1  # some file systems use all 64 bits of an inode number


class ProjectTimes(NamedTuple):
    """When a project's directory and its two directories of markers last changed, in ns; 0 where there is none.

    edits: how many bytes of its list of edited runs there are; -1 where there is none.
    """

    listed_ns: int
    live_ns: int
    deleted_ns: int
    edits: int


NEVER = ProjectTimes(-1, -1, -1, 0)


class ProjectLook(NamedTuple):
    """What a project's markers say, and whether its runs are to be listed again."""

    times: ProjectTimes  # to remember: -1 where too young to be trusted
    live: frozenset[str]  # this and the next are empty where nothing changed
    deleted: frozenset[str]
    edited: frozenset[str]  # since the times that are remembered
    changed: bool  # a run or a marker came or went
    woken: bool  # a live marker came or went: a run that had ended may have grown


def project_directories(root: Path) -> list[str]:
    """Return the names of the projects' directories."""
    with os.scandir(root) as found:
        return sorted(entry.name for entry in found if _is_directory(entry))


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Say whether this is a project or run: a directory, or a link to one that this user made.

    Through another's link we would put into an index that he reads what only we may read.
    """
    if entry.name.startswith("."):
        return False
    if entry.is_symlink() and not is_own_link(entry.stat(follow_symlinks=False)):
        return False
    return entry.is_dir()


def look(project: Path, known: ProjectTimes, now_ns: int) -> ProjectLook:
    """Look at a project whose times are remembered; raise OSError where it cannot be read."""
    listed_ns = os.stat(project).st_mtime_ns
    same = listed_ns == known.listed_ns  # what was not there then is not there now: one look less for each
    edited, edits = (frozenset[str](), -1) if same and known.edits < 0 else _edited(project / EDITS, known.edits)
    live_ns = 0 if same and not known.live_ns else changed_ns(project / LIVE)
    deleted_ns = 0 if same and not known.deleted_ns else changed_ns(project / DELETED)
    changes = listed_ns, live_ns, deleted_ns
    found = ProjectTimes(*changes, edits)
    listed_ns, live_ns, deleted_ns = (trusted(time_ns, now_ns) for time_ns in changes)
    times = ProjectTimes(listed_ns, live_ns, deleted_ns, edits)
    changed = found._replace(edits=known.edits) != known
    if not changed:  # and so every marker was seen before
        return ProjectLook(times, frozenset(), frozenset(), edited, changed=False, woken=False)
    deleted = _names(project / DELETED, found.deleted_ns)
    live = _names(project / LIVE, found.live_ns) - deleted
    return ProjectLook(times, live, deleted, edited, changed, woken=found.live_ns != known.live_ns)


def _edited(path: Path, known: int) -> tuple[frozenset[str], int]:
    """Return the runs named in a list of edits beyond its first known bytes, and how many bytes of it were read."""
    try:
        size = os.stat(path).st_size
        if size == known:
            return frozenset(), known
        with os.fdopen(open_plain(path), "rb") as file:
            file.seek(known if 0 <= known < size else 0)  # a shorter list is another one
            begin = file.tell()
            lines = file.read().rpartition(b"\n")[0]
    except FileNotFoundError:
        return frozenset(), -1
    return frozenset(os.fsdecode(line) for line in lines.split(b"\n") if line), begin + len(lines) + bool(lines)


def runs(project: Path) -> dict[str, int]:
    """Return the inodes of a project's runs by their directories' names."""
    with os.scandir(project) as found:
        return {entry.name: entry.inode() & SQL_INT for entry in found if _is_directory(entry)}


def _names(directory: Path, mtime_ns: int) -> frozenset[str]:
    return frozenset(os.listdir(directory)) if mtime_ns else frozenset()


def changed_ns(directory: Path | str) -> int:
    """Return when something last came into a directory or went; 0 where there is none."""
    try:
        return os.stat(directory).st_mtime_ns
    except FileNotFoundError:
        return 0


def trusted(time_ns: int, now_ns: int) -> int:
    """Return a time of changed_ns as it may be remembered: -1, which no directory has, where it is too young."""
    return time_ns if time_ns < now_ns - int(TRUST_S * 1e9) else -1


def segment_number(name: str) -> int | None:
    """Return the number of the segment whose file has this name; None where it is no segment's."""
    stem = name[:-4]
    return int(stem) if name.endswith(".dtl") and stem.isdecimal() and name == f"{int(stem):06d}.dtl" else None


def segments(log: Path | str, *, opened: bool = False) -> dict[int, SegmentSeen]:
    """Return the segments of a log by their numbers; none where there is no log.

    opened: as long as they are to who opens them. Unopened, a network file system tells the length of a while ago.
    """
    found: dict[int, SegmentSeen] = {}
    try:
        with os.scandir(log) as entries:
            for entry in entries:
                number = segment_number(entry.name)
                if number is not None:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found[number] = SegmentSeen(status.st_ino, _size(entry.path) if opened else status.st_size)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return found


def _size(path: str) -> int:
    fd = open_plain(path)
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)
