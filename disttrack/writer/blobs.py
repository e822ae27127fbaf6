"""Blobs into a run's directory: stored once by hash, and as files where the run keeps them (docs/decisions/0025)."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from disttrack.environments.files import make_directory, open_plain
from disttrack.journal.directories import is_journal
from disttrack.journal.spool import Spooled, has_blobs, spooled
from disttrack.records.blobs import Blob
from disttrack.records.types import Incarnation
from disttrack.writer.encoding import Content, Unreadable, content_of

__all__ = ["Arrival", "has_left", "left_in", "store_all", "sweep", "told"]

MEDIA, FILES = "media", "files"
BATCH_BYTES = 16 << 20  # raw, stored with one frame's sync; or one larger blob
BATCH = 64
PART = ".part-"

_NAME = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9]{1,16})?")


def has_left(journal: str) -> bool:
    """Say whether a journal of this user's on this node has blobs left."""
    return bool(journal) and has_blobs(Path(journal)) and is_journal(Path(journal))


def left_in(journal: str) -> list[Spooled]:
    """Return the first of the blobs that a journal of this user's on this node has left, as many as come at once."""
    return spooled(Path(journal), BATCH) if has_left(journal) else []


def store_all(run: Path, incarnation: Incarnation, blobs: Sequence[Spooled]) -> list[tuple[Spooled, Blob]]:
    """Store the first of these blobs, as many as come at once, and return what is to be said of each.

    Raises OSError where the run's disk takes nothing, or its directory is gone; then it can be called again.
    """
    stored: list[tuple[Spooled, Blob]] = []
    room = BATCH_BYTES
    for blob in blobs:
        if stored and blob.note.size > room:
            break
        room -= blob.note.size
        stored.append((blob, _store(run, incarnation, blob)))
    _sync_directory(run / MEDIA)
    return stored


def _store(run: Path, incarnation: Incarnation, blob: Spooled) -> Blob:
    try:
        content = content_of(blob)
    except Unreadable as why:
        return Blob(incarnation=incarnation, blob=blob.number, path=blob.note.path, lost=str(why))
    said = told(incarnation, blob, content)
    _keep(run, said, content)
    return said


def told(incarnation: Incarnation, blob: Spooled, content: Content) -> Blob:
    """Return what is to be said of a blob with this content."""
    return Blob(
        incarnation=incarnation,
        blob=blob.number,
        sha256=content.sha256,
        size=content.size,
        format=content.format,
        path=blob.note.path,
    )


def _keep(run: Path, blob: Blob, content: Content) -> None:
    make_directory(run / MEDIA)
    target = _target(run, blob)
    if not _is_there(target, blob.size):
        part = _part(target)
        try:
            with open(open_plain(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                if isinstance(content.data, bytes):
                    file.write(content.data)
                else:
                    with open(open_plain(content.data), "rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    if blob.path is not None:
        _link(run, blob.path, target)


def _target(run: Path, blob: Blob) -> Path:
    """Return where a blob is stored; raise OSError for a name that no disttrack gave."""
    if not _NAME.fullmatch(blob.name) and blob.lost is None:
        raise OSError(errno.EINVAL, "no name of a blob", blob.name)
    return run / MEDIA / blob.name


def _is_there(target: Path, size: int) -> bool:
    try:
        return target.lstat().st_size == size
    except FileNotFoundError:
        return False


def _part(target: Path) -> Path:
    return target.with_name(f"{PART}{target.name[:16]}-{secrets.token_hex(4)}")


def _link(run: Path, path: str, target: Path) -> None:
    """Have a stored file as the run's file `path`, instead of what was there."""
    directory = run / FILES
    make_directory(directory)
    *folders, name = PurePosixPath(path).parts
    if not name or any(part in ("", "/", "..") for part in (*folders, name)):
        return  # a note that no disttrack wrote: nothing lands outside
    for folder in folders:
        directory = directory / folder
        make_directory(directory)
    part = directory / f"{PART}{secrets.token_hex(8)}"
    try:
        try:
            os.link(target, part, follow_symlinks=False)
        except OSError:  # a file system without links
            with open(open_plain(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                with open(open_plain(target), "rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, directory / name)
    finally:
        part.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # all of them were lost: there is no directory
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Arrival:
    """A blob that comes in pieces from another node."""

    def __init__(self, run: Path, blob: Blob) -> None:
        """Raise OSError where the run's disk takes nothing."""
        self.blob = blob
        self.offset = 0  # so far it is here
        self._run = run
        self._target = _target(run, blob)
        if blob.lost is None:
            make_directory(run / MEDIA)
        self._part = _part(self._target)
        self._digest = hashlib.sha256()
        if _is_there(self._target, blob.size):
            self.offset = blob.size

    def take(self, offset: int, data: bytes) -> None:
        """Take the next piece; one that is not the next is passed over. Raises OSError."""
        if offset != self.offset or offset + len(data) > self.blob.size:
            return
        flags = os.O_WRONLY | os.O_APPEND | (0 if offset else os.O_CREAT | os.O_EXCL)
        with open(open_plain(self._part, flags), "ab") as file:
            if file.seek(0, os.SEEK_END) != offset:
                file.truncate(offset)
            file.write(data)
        self._digest.update(data)
        self.offset += len(data)

    @property
    def is_whole(self) -> bool:
        """Say whether all of it is here."""
        return self.offset == self.blob.size

    def store(self) -> bool:
        """Bring it to the disk under its own name; say whether the bytes were the right ones. Raises OSError."""
        if self.blob.lost is not None:
            return True  # there is nothing to store, but that to be said
        if not _is_there(self._target, self.blob.size):
            if not self.blob.size and not self._part.exists():
                os.close(open_plain(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            if self._digest.hexdigest() != self.blob.sha256:
                self.give_up()
                return False
            fd = open_plain(self._part, os.O_RDWR)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(self._part, self._target)
            _sync_directory(self._target.parent)
        if self.blob.path is not None:
            _link(self._run, self.blob.path, self._target)
        return True

    def give_up(self) -> None:
        """Remove what came of it."""
        self._part.unlink(missing_ok=True)


def sweep(run: Path) -> None:
    """Remove what killed writers left half written, now that the run has ended."""
    for part in (run / MEDIA).glob(f"{PART}*"):
        part.unlink(missing_ok=True)
