"""A journal read from outside its process: by a child, the writer, `disttrack recover` and `disttrack doctor`.

In: a directory. Out: the Join it belongs to, as its process left it last, and checked records, up to a torn tail.
"""

from __future__ import annotations

import bisect
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from disttrack.environments.files import open_plain
from disttrack.errors import UnsupportedFormat
from disttrack.journal.directories import journal_directories
from disttrack.journal.files import JournalFile, damage_end, journal_files
from disttrack.journal.heads import find_head
from disttrack.records.codec import HEADER, MAX_RECORD_BYTES, decode, records, removed_bytes
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Join

__all__ = ["StoredOutbox", "end_record", "newest_join", "stored_outboxes"]

SAID_BYTES = 256 << 10


class StoredOutbox:
    """A journal read from outside its process, up to a torn tail."""

    def __init__(self, directory: Path) -> None:
        """Read the header; raise OSError, ValueError (no journal, torn header) or UnsupportedFormat."""
        self.directory = directory
        self.join, head_bytes = find_head(directory)
        self._files = journal_files(directory, head_bytes)

    @property
    def size(self) -> int:
        """How many bytes of records lie here, a torn tail included."""
        return sum(file.size for file in self._files)

    def read(self, offset: int, limit: int) -> bytes:
        """Return whole, checked records from offset on: at most limit bytes, or one larger record; b"" at the end.

        Where no record begins at offset but one does further on, the bytes up to there, as they are: what follows
        keeps its offset, and who reads them finds them damaged. removed_bytes stand for those that were removed.
        """
        file = self._files[bisect.bisect_right(self._files, offset, key=lambda file: file.start) - 1]
        if offset >= file.end:
            return b""
        position = file.position(offset)
        with os.fdopen(open_plain(file.path), "rb") as opened:
            data = os.pread(opened.fileno(), min(limit, file.end - offset), position)
            whole = _whole(data)
            if not whole and len(data) >= HEADER.size:
                length: int = struct.unpack_from("<I", data)[0]
                if len(data) - HEADER.size < length <= min(MAX_RECORD_BYTES, file.end - offset - HEADER.size):
                    data = os.pread(opened.fileno(), HEADER.size + length, position)
                    whole = _whole(data)
            return data[:whole] if whole else self._unreadable(file, opened.fileno(), offset, limit)

    def said(self) -> End | None:
        """Return the End that its process said last, looked for in its last SAID_BYTES.

        What is damaged may follow it, and so may a row that was being appended when a signal's handler said the End.
        """
        file = next((file for file in reversed(self._files) if file.size), self._files[0])
        offset = self._boundary(file, file.end - SAID_BYTES)
        said = None
        while data := self.read(offset, SAID_BYTES):
            said = end_record(data) or said
            offset += len(data)
        return said

    def _boundary(self, file: JournalFile, offset: int) -> int:
        """Return where a record of a file begins, at offset or beyond it; its end where none does."""
        if offset <= file.start:
            return file.start
        with os.fdopen(open_plain(file.path), "rb") as opened:

            def read(size: int, at: int) -> bytes:
                return os.pread(opened.fileno(), size, file.position(at))

            found = damage_end(read, offset - 1, file.end)
        return file.end if found is None else found

    def _unreadable(self, file: JournalFile, fd: int, offset: int, limit: int) -> bytes:
        """Return what lies at offset, where no record does, up to the next one."""
        held = min(file.end, file.start + file.size)

        def read(size: int, at: int) -> bytes:
            return os.pread(fd, size, file.position(at))

        end = damage_end(read, offset, held)
        if end is None and file.last and _is_torn(read(HEADER.size, offset), held - offset):
            return b""
        size = min((end or file.end) - offset, limit)
        data = read(size, offset)
        if not data and file.start == 0 and held == 0:
            return removed_bytes(size)
        return data + bytes(size - len(data))  # a file that lost its end: what was there is nowhere


def newest_join(directory: Path) -> Join | None:
    """Return what is known last about the incarnation whose journal this is; None where there is none (any more)."""
    try:
        return StoredOutbox(directory).join
    except (OSError, ValueError, UnsupportedFormat):
        return None


def stored_outboxes(runtime: Path) -> Iterator[StoredOutbox]:
    """Yield every readable journal on this host that this user's processes noted; what is no journal is passed over."""
    for directory in journal_directories(runtime):
        try:
            yield StoredOutbox(directory)
        except (OSError, ValueError, UnsupportedFormat):
            continue  # being created, being removed, or a newer disttrack's: its owner still has it


def end_record(data: bytes) -> End | None:
    """Return the last End record among whole journal records, if there is one."""
    end = None
    for record in records(data):  # checked: damaged bytes of a journal come here, too
        if record.kind == RecordKind.END:
            end = record
    return None if end is None else decode(data[end.start : end.end], End)


def _is_torn(header: bytes, room: int) -> bool:
    """Say whether a record that would begin so was cut short by the end of its journal."""
    return len(header) < HEADER.size or HEADER.size + int(struct.unpack_from("<I", header)[0]) > room


def _whole(data: bytes) -> int:
    last = 0
    for record in records(data):
        last = record.end
    return last
