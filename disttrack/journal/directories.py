"""Where journals lie on this host, and what can be said of one by its directory alone.

A place (a directory on a disk of this node) holds a directory for each incarnation. Called by whoever makes a journal,
and by all who look for journals of others: the writer, the agent, `disttrack recover` and `disttrack doctor`.
"""

from __future__ import annotations

import os
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from disttrack.environments.files import is_owned, open_plain
from disttrack.environments.host import is_network_filesystem, private_directory, try_lock
from disttrack.journal.files import FILE_NAME
from disttrack.journal.spool import has_blobs
from disttrack.records.types import Join

__all__ = [
    "is_abandoned",
    "is_good_place",
    "is_held",
    "is_home",
    "is_journal",
    "is_rest",
    "journal_directories",
    "mark_home",
    "note_place",
    "outbox_directory",
    "remove",
    "remove_rests",
]

REMOVED = ".removed-"  # what the name of a journal begins with while it is being removed
HOME_NAME = "home"  # beside it, once its process is dead and all it holds is stored


def outbox_directory(place: Path, join: Join) -> Path:
    """Return where in a journal place this incarnation's journal lies."""
    return place / f"{join.incarnation:016x}"


def note_place(runtime: Path, place: Path) -> None:
    """Leave a note in the runtime directory that journals may lie in place, for whoever looks for them later."""
    notes = private_directory(runtime / "journal-places")
    note = notes / f"{zlib.crc32(os.fsencode(place)):08x}"
    if not note.exists():
        temporary = notes / f".{note.name}-{os.getpid()}"
        with os.fdopen(open_plain(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.fsencode(place))
        temporary.replace(note)


def journal_directories(runtime: Path) -> Iterator[Path]:
    """Yield where journals lie on this host, in the places that this user's processes noted."""
    for place in _places(runtime):
        yield from (path for path in sorted(place.iterdir()) if not is_rest(path))


def _places(runtime: Path) -> Iterator[Path]:
    notes = runtime / "journal-places"
    places = [Path(os.fsdecode(note.read_bytes())) for note in sorted(notes.glob("[!.]*"))] if notes.is_dir() else []
    for place in places:
        # A cleaner of temporary files may have removed the place, and another user made it anew.
        if place.is_dir() and is_owned(place.lstat()) and is_owned(place.stat()):
            yield place


def is_good_place(place: Path) -> bool:
    """Say whether a journal may be made here: writable, ours, and not shared with other hosts."""
    try:
        return not is_network_filesystem(private_directory(private_directory(place.parent) / place.name))
    except Exception:  # unwritable, another's, a file in the way: the next place is tried
        return False


def is_journal(directory: Path) -> bool:
    """Say whether this is a journal of this user's: a run log, which others may write, may name any path as one."""
    try:
        found, file = os.lstat(directory), os.lstat(directory / FILE_NAME)
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(found.st_mode) and stat.S_ISREG(file.st_mode) and is_owned(found) and is_owned(file)


def is_held(directory: Path) -> bool:
    """Say whether a process has a journal open for writing: its own, or a child that inherited it."""
    try:
        fd = open_plain(directory / FILE_NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


def is_abandoned(directory: Path) -> bool:
    """Say whether a journal lies here that no process has open; False where there is none, as that of another host."""
    return (directory / FILE_NAME).exists() and not is_held(directory)


def is_home(directory: Path) -> bool:
    """Say whether everything a dead incarnation's journal holds is stored."""
    return (directory / HOME_NAME).exists()


def mark_home(directory: Path) -> None:
    """Note that a dead incarnation's journal holds nothing that is not stored (it stays until its run ends).

    Not while it has blobs: whoever stores those says it then.
    """
    try:
        if is_journal(directory) and not has_blobs(directory):
            os.close(open_plain(directory / HOME_NAME, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        pass  # removed meanwhile, or a full disk: whoever looks next finds nothing new in it


def remove(directory: Path) -> None:
    """Remove a journal whose records are all stored elsewhere.

    It has another name first: whoever is killed meanwhile leaves a whole journal, or what remove_rests removes.
    """
    removed = directory.with_name(f"{REMOVED}{directory.name}")
    try:
        directory.rename(removed)
    except OSError:  # it is gone, or its place takes no changes
        removed = directory
    shutil.rmtree(removed, ignore_errors=True)


def is_rest(directory: Path) -> bool:
    """Say whether this is what is left of a journal that was being removed."""
    return directory.name.startswith(REMOVED)


def remove_rests(runtime: Path) -> list[Path]:
    """Remove what those left who were killed while they removed a journal; return the journals it was of."""
    rests = [path for place in _places(runtime) for path in sorted(place.glob(f"{REMOVED}*"))]
    for path in rests:
        shutil.rmtree(path, ignore_errors=True)
    return [path.with_name(path.name.removeprefix(REMOVED)) for path in rests]
