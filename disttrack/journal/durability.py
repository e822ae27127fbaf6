"""When one journal is brought to its disk, and what becomes of bytes that the disk refused at first.

A sync that fails once is no sync that can be tried again: the kernel may have dropped what it could not write, and
calls the file clean. So those bytes, which it still reads back, are written a second time, to files of their own
(journal.files), before they count as being on this disk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from disttrack.journal.files import copy_name, write_at
from disttrack.journal.outbox import Outbox

__all__ = ["SYNC_S", "Durability"]

SYNC_S = 0.5  # twice, and a look of the sender's, is how long bytes may be in memory only: P3 grants 1.5 s
RETRY_AT_MOST_S = 8.0  # between two tries on a disk that fails
COPY_BYTES = 4 << 20  # in one file: readers verify it whole, in memory
MOST_BYTES = 64 << 20  # on a disk that has failed for long, and with no writer: what else is in doubt stays so


class Durability:
    """Sees to it that what a journal holds is on a disk soon: the writer's, or this one. For the sender's thread."""

    def __init__(self, outbox: Outbox, complain: Callable[[str], None]) -> None:
        """complain: says a thing once."""
        self._outbox = outbox
        self._complain = complain
        self._safe = 0  # up to here all is on a disk
        self._unsafe = (0, 0.0)  # up to here not all was, and when that was seen
        self._doubtful = 0  # up to here a sync of the journal's own files failed
        self._pause_s = SYNC_S
        self._copies: list[tuple[int, Path]] = []  # where each ends

    def look(self, now: float, acked: int) -> None:
        """Bring to this disk what has been nowhere else for SYNC_S (P3); nothing, while acknowledgements come.

        Blobs, whose bytes nobody acknowledges, all the same.
        """
        self._outbox.spool.sync(now - SYNC_S)
        self._safe = max(self._safe, acked)
        offset, since = self._unsafe
        if offset <= self._safe:
            self._unsafe = (self._outbox.end, now)
        elif now - since >= self._pause_s:
            try:
                self._sync()
                self._pause_s = SYNC_S
            except OSError as error:
                self._unsafe = (offset, now)
                self._pause_s = min(2 * self._pause_s, RETRY_AT_MOST_S)
                self._complain(
                    f"disttrack: the disk of the journal in {self._outbox.directory} fails ({error}); it is tried "
                    "again. Until then a power cut may take what the writer has not stored yet"
                )

    def settle(self, acked: int) -> None:
        """Remove copies of what the writer has on its disk."""
        while self._copies and self._copies[0][0] <= acked:
            self._copies.pop(0)[1].unlink(missing_ok=True)

    def _sync(self) -> None:
        """Bring all to this disk; raise OSError where it cannot be, or not within MOST_BYTES."""
        end = self._outbox.end
        try:
            self._outbox.sync()
        except OSError as error:
            end = self._doubtful = self._outbox.end  # of now: a logging thread went on while it was tried
            if end - self._safe > MOST_BYTES:
                raise
            self._complain(
                f"disttrack: the disk of the journal in {self._outbox.directory} failed ({error}); what it may not "
                "hold is written to it once more, and nothing is lost"
            )
        while self._safe < self._doubtful <= self._safe + MOST_BYTES:
            self._safe = self._copy(self._safe)
        if self._safe < self._doubtful:
            raise OSError(errno.EIO, f"more than {MOST_BYTES >> 20} MiB may be missing from it")
        self._safe = max(self._safe, end)

    def _copy(self, start: int) -> int:
        """Write some of what lies from start on once more, and return where that ends; raise OSError where it fails."""
        data = self._outbox.read(start, COPY_BYTES)
        path = self._outbox.directory / copy_name(start, start + len(data))
        path.unlink(missing_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_at(fd, self._outbox.head + data, 0)
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        self._copies.append((start + len(data), path))
        return start + len(data)
