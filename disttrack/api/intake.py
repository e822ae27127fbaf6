"""What a journal takes of an incarnation's records, and the count of what it does not.

Nothing here waits: a record that finds no room, or a disk that takes nothing, is dropped, counted by class and reason,
and written down as soon as there is room again. Not for two threads at once: the Recorder gives the turns.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from disttrack.journal.ledger import Ledger
from disttrack.journal.outbox import Outbox
from disttrack.records.classes import CAPTURED, LOWEST_SHARE, Dropped, DropReason, RecordClass, share
from disttrack.records.codec import encode
from disttrack.records.payloads import End, RecordKind

__all__ = ["Intake"]

LARGE_BYTES = 4096
RETRY_S = 0.1  # after the disk took nothing
TELL_S = 1.0  # between two writings of what was dropped

_METRICS = RecordClass.METRICS
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Intake:
    """Appends records to a journal, or counts them as dropped."""

    def __init__(self, outbox: Outbox | None, warn: Callable[[str], None], announce_again: Callable[[], None]) -> None:
        """outbox: None where no journal could be made; then everything is dropped.

        announce_again: called where the announcement of a schema may be missing from what was written.
        """
        self.outbox = outbox
        self._warn = warn
        self._announce_again = announce_again
        self._ledger = Ledger()
        # From which size on a record needs leave: all, where something was dropped and is not written down, or the
        # journal is filling up; else large ones, as one may take all the room there is.
        self._ask_from_bytes = LARGE_BYTES
        self._failed: DropReason | None = None  # why the journal took nothing at the last try
        self._retry_at = self._tell_at = 0.0
        self.captured = 0  # records that disttrack made by itself, those included that were dropped

    @property
    def logged(self) -> int:
        """How many records the script made, those included that were dropped."""
        return (self.outbox.count if self.outbox is not None else 0) + self._ledger.total

    @property
    def dropped(self) -> int:
        """How many of them are lost."""
        return self._ledger.total + self._removed

    @property
    def drops(self) -> tuple[Dropped, ...]:
        """What of them is lost, by class and reason."""
        told = (drop for drop in self._ledger.counts() if drop.record_class not in CAPTURED)
        return (*told, *([Dropped(_METRICS, "removed", self._removed)] if self._removed else []))

    @property
    def captured_drops(self) -> tuple[Dropped, ...]:
        """What is lost of that which disttrack made by itself, by class and reason."""
        return tuple(drop for drop in self._ledger.counts() if drop.record_class in CAPTURED)

    @property
    def _removed(self) -> int:
        return self.outbox.lost if self.outbox is not None else 0

    def append(self, record: bytes, record_class: RecordClass, step: int | None = None, *, counts: bool = True) -> None:
        """Append a record, or count it as dropped.

        step: of a row. counts: whether the script made the record; see USER_KINDS.
        """
        outbox = self.outbox
        if not counts and record_class in CAPTURED:
            self.captured += 1
        if outbox is None:
            self._ledger.add(record_class, "no journal", step)
            return
        if len(record) >= self._ask_from_bytes:
            refusal = self._refusal(outbox, record_class, len(record))
            if refusal is not None:
                self._drop(record_class, refusal, step)
                return
        try:
            if outbox.append(record, int(counts)):
                self._look(outbox)
        except OSError as error:
            self._drop(record_class, self.fail(error), step)

    def _drop(self, record_class: RecordClass, reason: DropReason, step: int | None) -> None:
        self.drop(record_class, reason, step)
        self._announce_again()  # the schema may have been in what was not written

    def drop(self, record_class: RecordClass, reason: DropReason, step: int | None = None) -> None:
        """Count a record that is in no journal."""
        self._ledger.add(record_class, reason, step)
        self._ask_from_bytes = 0

    def refusal(self, record_class: RecordClass, size: int) -> DropReason | None:
        """Return why as many bytes, of a record or beside the journal, are not to be kept; None where they are."""
        return "no journal" if self.outbox is None else self._refusal(self.outbox, record_class, size)

    def _look(self, outbox: Outbox) -> None:
        """See what a journal wants that has grown by some more."""
        if outbox.announcement_due:
            outbox.announcement_due = False
            self._announce_again()
        if outbox.filled >= LOWEST_SHARE:
            self._ask_from_bytes = 0

    def _refusal(self, outbox: Outbox, record_class: RecordClass, size: int) -> DropReason | None:
        """Return why a record is not to be appended; what was dropped before is written first."""
        now = time.monotonic()
        if self._failed is not None and now < self._retry_at:
            return self._failed
        if not outbox.has_room(size, share(record_class)):
            self._warn(
                f"the journal in {outbox.directory} is full: what is logged is not stored as fast as it comes, or "
                f"nobody stores it; new {record_class} records are dropped, and counted, until there is room again"
            )
            return "quota"
        untold = self._ledger.untold
        if untold and now >= self._tell_at:
            self._tell_at = now + TELL_S
            try:
                self._tell(outbox)
            except OSError as error:
                return self.fail(error)
            untold = False
        self._failed = None
        self._ask_from_bytes = 0 if untold or outbox.filled >= LOWEST_SHARE else LARGE_BYTES
        return None

    def _tell(self, outbox: Outbox) -> None:
        """Write down what was dropped: at most once, also if a signal handler ends the run meanwhile."""
        drops = self._ledger.take()
        try:
            outbox.append(b"".join(encode(RecordKind.DROP, drop) for drop in drops), 0)
        except OSError:
            self._ledger.put_back(drops)
            raise

    def fail(self, error: OSError) -> DropReason:
        """Note that the disk took nothing, and say so; it is tried again a little later."""
        reason: DropReason = "disk full" if error.errno in _FULL else "disk error"
        self._failed = reason
        self._retry_at = time.monotonic() + RETRY_S
        where = self.outbox.directory if self.outbox is not None else "memory"
        self._warn(f"the journal in {where} takes nothing ({error}); what is logged now is lost")
        return reason

    def end(self, exit_code: int, exception: str | None, *, stopped: bool) -> tuple[int, int] | None:
        """Append what was dropped, then the End, for which room is kept; return where the End lies, None if nowhere."""
        outbox = self.outbox
        if outbox is None:
            return None
        end = End(
            exit_code=exit_code,
            logged=self.logged,
            dropped=self.dropped,
            time_us=time.time_ns() // 1000,
            exception=exception,
            captured=self.captured,
            captured_dropped=self._ledger.captured,
            stopped=stopped,
        )
        if outbox.lost:
            self._ledger.forget(_METRICS, "removed", outbox.lost)
        try:
            return self._append_last(outbox, end)
        except OSError:
            outbox.use_reserve()
            try:
                return self._append_last(outbox, end)
            except OSError as error:
                self.fail(error)
                return None

    def _append_last(self, outbox: Outbox, end: End) -> tuple[int, int]:
        if self._ledger.untold:
            self._tell(outbox)
        start = outbox.end
        outbox.append(encode(RecordKind.END, end), 0)
        return start, outbox.end
