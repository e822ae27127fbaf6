"""The files of one journal, each named by the offset of its first byte, and what stands in for bytes that are gone.

Every file begins with the same head (journal.heads), so that any of them says whose it is. The first one is never
removed, only emptied: its lock says whether the journal's process lives.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from disttrack.records.codec import HEADER, MAX_RECORD_BYTES, records
from disttrack.records.payloads import RecordKind

__all__ = ["FILE_NAME", "JournalFile", "damage_end", "file_name", "journal_files", "write_at"]

FILE_NAME = "000000.dtj"
SEARCH_BYTES = 256 << 10

_KINDS = b"".join(re.escape(bytes([kind])) for kind in RecordKind)
_HEADER_LIKE = re.compile(rb"(?=.{8}[" + _KINDS + rb"][\x00-\x03])", re.DOTALL)


class JournalFile(NamedTuple):
    """A file of a journal: it holds the bytes from start on, behind a head."""

    start: int
    path: Path
    head_bytes: int
    end: int  # where the next one begins, or as far as there are bytes
    last: bool

    @property
    def size(self) -> int:
        """How many bytes of the journal are in it, torn and damaged ones included."""
        return max(0, self.path.stat().st_size - self.head_bytes)


def file_name(start: int) -> str:
    """Return the name of the file that begins at this offset."""
    return f"{start:06d}.dtj"


def journal_files(directory: Path, head_bytes: int) -> list[JournalFile]:
    """Return the files of a journal in the order of their offsets."""
    starts = sorted(int(path.stem) for path in directory.glob("*.dtj") if path.stem.isdecimal())
    files: list[JournalFile] = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        path = directory / file_name(start)
        end = start + max(0, path.stat().st_size - head_bytes) if following is None else following
        files.append(JournalFile(start, path, head_bytes, end, following is None))
    return files


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
