"""The files of one journal, each named by the offset of its first byte, and what stands in for bytes that are gone.

Every file begins with the same head (journal.heads), so that any of them says whose it is. The first one is never
removed, only emptied: its lock says whether the journal's process lives. Where bytes could not be synced, a file of
another name holds them a second time.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from disttrack.environments.files import open_plain
from disttrack.records.codec import HEADER, MAX_RECORD_BYTES, records
from disttrack.records.payloads import RecordKind

__all__ = ["FILE_NAME", "JournalFile", "copy_name", "damage_end", "file_name", "journal_files", "write_at"]

FILE_NAME = "000000.dtj"
SEARCH_BYTES = 256 << 10

_COPY = re.compile(r"copy-(\d{6,20})-(\d{6,20})\.dtj")
_KINDS = b"".join(re.escape(bytes([kind])) for kind in RecordKind)
_HEADER_LIKE = re.compile(rb"(?=.{8}[" + _KINDS + rb"][\x00-\x03])", re.DOTALL)


class JournalFile(NamedTuple):
    """A part of a journal: the bytes from start to end are those of a file that begins, behind a head, with `first`."""

    start: int
    path: Path
    head_bytes: int
    first: int
    end: int  # where the next one begins, or as far as there are bytes
    last: bool = False

    @property
    def size(self) -> int:
        """How many bytes of this part are there, torn and damaged ones included."""
        return max(0, min(self.path.stat().st_size - self.position(self.start), self.end - self.start))

    def position(self, offset: int) -> int:
        """Return where in the file an offset of the journal lies."""
        return self.head_bytes + offset - self.first


def file_name(start: int) -> str:
    """Return the name of the file that begins at this offset."""
    return f"{start:06d}.dtj"


def copy_name(start: int, end: int) -> str:
    """Return the name of a file that holds these bytes a second time, as their sync failed where they lay."""
    return f"copy-{start:06d}-{end:06d}.dtj"


def journal_files(directory: Path, head_bytes: int) -> list[JournalFile]:
    """Return the files of a journal in the order of their offsets; whole copies stand in for what they copy."""
    starts = sorted(int(path.stem) for path in directory.glob("*.dtj") if path.stem.isdecimal())
    files: list[JournalFile] = []
    for start in starts:
        path = directory / file_name(start)
        held = start + max(0, path.stat().st_size - head_bytes)
        files.append(JournalFile(start, path, head_bytes, start, held))
    for copy in _copies(directory, head_bytes):
        files = [
            *(file for file in files if file.start < copy.start),
            copy,
            *(file._replace(start=max(file.start, copy.end)) for file in _reaching(files, copy.end)),
        ]
    last = [file._replace(last=True) for file in files[-1:]]
    return [file._replace(end=following.start) for file, following in pairwise(files)] + last


def _reaching(files: list[JournalFile], offset: int) -> list[JournalFile]:
    """Return the files that hold something beyond an offset."""
    ends = [*(file.start for file in files[1:]), *(file.end for file in files[-1:])]
    return [file for file, end in zip(files, ends, strict=True) if end > offset]


def _copies(directory: Path, head_bytes: int) -> Iterator[JournalFile]:
    """Yield the copies that are whole: a power cut may have come while one was written."""
    for path in directory.glob("copy-*.dtj"):
        found = _COPY.fullmatch(path.name)
        if found is None:
            continue
        start, end = int(found[1]), int(found[2])
        try:
            with os.fdopen(open_plain(path), "rb") as file:
                data = os.pread(file.fileno(), end - start, head_bytes)
        except OSError:
            continue  # removed this moment
        whole = 0
        for record in records(data):
            whole = record.end
        if 0 < whole == end - start:
            yield JournalFile(start, path, head_bytes, start, end)


def write_at(fd: int, data: bytes, position: int) -> None:
    """Write all of data at a position; raise OSError where it does not fit."""
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], position + written)


def damage_end(read: Callable[[int, int], bytes], offset: int, end: int) -> int | None:
    """Return where the first whole record beyond offset begins, or None where none does before end.

    read(size, offset) returns what lies there. A record counts by its checksum, over its kind and length as well.
    """
    position = offset + 1
    while position + HEADER.size <= end:
        window = read(min(SEARCH_BYTES, end - position), position)
        if len(window) < HEADER.size:
            return None
        for match in _HEADER_LIKE.finditer(window):
            at = match.start()
            if at + HEADER.size > len(window):
                break
            length: int = struct.unpack_from("<I", window, at)[0]
            if length > MAX_RECORD_BYTES or position + at + HEADER.size + length > end:
                continue
            stop = at + HEADER.size + length
            whole = window[at:stop] if stop <= len(window) else read(HEADER.size + length, position + at)
            if next(records(whole), None) is not None:
                return position + at
        position += len(window) - HEADER.size + 1
    return None
