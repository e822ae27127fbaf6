"""The thread that carries a rank's journal to the writer, and nothing else.

It sends what the journal holds beyond the last acknowledgement, and has another writer found (transport.search)
whenever that one is gone. It shares no lock with log(); it reads two ints that the logging threads advance.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disttrack.journal.durability import Durability
from disttrack.journal.outbox import Outbox
from disttrack.records.types import Join
from disttrack.transport.bell import Bell
from disttrack.transport.membership import Membership
from disttrack.transport.protocol import Ack, Data, Ping, Unknown, Waiting, Welcome
from disttrack.transport.search import Writer, WriterSearch
from disttrack.transport.streams import WINDOW_BYTES, Outgoing

if TYPE_CHECKING:
    from disttrack.transport.dealer import Dealer

__all__ = ["Sender"]

WAKE_S = 0.25  # each look takes the interpreter from training a few times, whatever it finds: 13 µs a step at 0.1 s
FIRST_WAKE_S = 0.02
FRAME_BYTES = 256 << 10
LOOK_BYTES = WINDOW_BYTES // 4  # where so much comes in less than WAKE_S: look when it is there
WATCH_BYTES = WINDOW_BYTES // 2  # ... from here on each acknowledgement is read when it comes
CHECK_S = 1.0  # how often whether the writer lives
ANSWER_S = 8.0  # without an answer to anything: look for a writer again
PING_S = 5.0
LAST_LOOK_S = 0.02  # once only blobs are left to be stored
STALLED_S = 1.0  # nothing was stored for so long: a launch on a cluster may have its writer elsewhere, or none

_log = logging.getLogger("disttrack")
_abandoned: list[dict[str, Any]] = []  # what belongs to a parent process: never closed in its child, never collected


class Sender:
    """Carries one incarnation's journal home."""

    def __init__(self, outbox: Outbox, membership: Membership, runtime: Path) -> None:
        self.acked = 0
        self.welcome: Welcome | None = None
        self.welcomed = threading.Event()
        self.finished = threading.Event()  # everything up to the End is acknowledged, and all blobs are stored
        self._outbox = outbox
        self._membership = membership
        self._complaints: set[str] = set()
        self._end: tuple[int, int] | None = None  # where the End record begins and ends, once there is one
        self._bell = Bell()
        self._pause_s = FIRST_WAKE_S
        self._blobs_told = 0  # of so many the process we talk to knows
        self._durability = Durability(outbox, self._complain)
        self._search = WriterSearch(outbox, membership, runtime, self._bell, self._keep_safe, self._complain)
        self._thread = threading.Thread(target=self._run, name="disttrack-sender", daemon=True)
        self._thread.start()

    # Called by other threads.

    @property
    def join(self) -> Join:
        """What is known now about this incarnation."""
        return self._membership.join

    def hurry(self) -> None:
        """Stop waiting for a process group: somebody needs the run's id, or the run ends."""
        self._bell.hurry()

    def finish(self, start: int, end: int) -> None:
        """Send everything up to the End record at [start, end) at once; finished is set when that is done."""
        self._end = (start, end)
        self.hurry()

    def stop(self, timeout_s: float) -> None:
        """End the thread; what was not acknowledged stays in the journal."""
        self._bell.stop()
        self._thread.join(timeout_s)

    def abandon(self) -> None:
        """Forget everything without touching it: this is a forked child, and all of it is the parent's."""
        _abandoned.append(self.__dict__.copy())

    # The thread.

    def _run(self) -> None:
        delay_s = 0.1
        while not self._bell.stopped:
            try:
                self._carry()
            except Exception as error:  # training must not feel it, and the journal has every byte: try again
                self._complain(f"disttrack's sender failed and starts again; nothing is lost ({error!r})")
                self._bell.sleep(delay_s)
                delay_s = min(2 * delay_s, 5.0)
        self._bell.close()

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            _log.warning("%s", text)

    def _keep_safe(self) -> None:
        """Bring to this disk what has been nowhere else for too long."""
        self._durability.look(time.monotonic(), self.acked)

    def _carry(self) -> None:
        self._search.settle()
        while not self._bell.stopped:
            writer = self._search.find()
            if writer is None:
                return
            self.acked = writer.welcome.offset
            self.welcome = writer.welcome
            self.welcomed.set()
            try:
                self._converse(writer)
            finally:
                writer.dealer.close()
            self._membership.upgrade()

    def _converse(self, writer: Writer) -> None:
        """Send and be acknowledged until stopped, or until this writer is gone or no longer ours."""
        dealer = writer.dealer
        out = Outgoing(self.acked, time.monotonic())
        heard = spoke = checked = stored = time.monotonic()
        self._blobs_told = 0  # this writer was told of none
        while not self._bell.stopped:
            self._tell_blobs(dealer)
            for data in self._next_messages(out):
                if data.final:
                    self._tell_blobs(dealer)  # before the End: its run ends only when these are stored
                if not dealer.send(data):
                    break  # the writer does not read; the journal waits better than a socket's queue
                spoke = time.monotonic()
                out.took(data.offset + len(data.data), spoke, final=data.final)
            seen, looked = self._outbox.end, time.monotonic()
            self._wait(dealer)
            now = time.monotonic()
            self._pace(self._outbox.end - seen, now - looked)
            for answer in dealer.answers():
                heard = now
                if isinstance(answer, Unknown):
                    return
                if isinstance(answer, Ack):
                    out.acknowledged(answer.offset, now)
                    if out.acked > self.acked:
                        self.acked, stored = out.acked, now
                        self._outbox.settle(self.acked)
                        self._durability.settle(self.acked)
            if self._outbox.cramped:
                self._outbox.settle(self.acked)
            if not self._membership.key_known and self._membership.upgrade():
                return  # before it is finished: these records belong to another run
            if self._end is not None and self.acked >= self._end[1] and not self._outbox.spool.waiting:
                self._bell.stopped = True
                self.finished.set()
                return
            self._durability.look(now, self.acked)
            if self.acked >= self._outbox.end:
                stored = now
            elif now - stored > STALLED_S and self._search.seek():
                return
            out.resend(now)
            if now - spoke > PING_S and dealer.send(Ping(self.join.incarnation)):
                spoke = now
            if now - checked > CHECK_S:
                checked = now
                if not writer.record.may_answer() or (spoke > heard and now - heard > ANSWER_S):
                    return

    def _tell_blobs(self, dealer: Dealer) -> None:
        """Say that there are blobs to store, if there are new ones."""
        added = self._outbox.spool.added
        if added > self._blobs_told and dealer.send(Waiting(incarnation=self.join.incarnation, blobs=1)):
            self._blobs_told = added

    def _wait(self, dealer: Dealer) -> None:
        """Wait for the bell or the next look; for answers only while something depends on them.

        Where training computes in Python, each waking takes the interpreter from it a few times.
        """
        if self._end is None and self._outbox.end - self.acked < WATCH_BYTES:
            self._bell.sleep(self._pause_s)
        elif dealer.wait(
            self._bell.fileno(), WAKE_S if self._end is None or self.acked < self._end[1] else LAST_LOOK_S
        ):
            self._bell.heard()

    def _pace(self, new_bytes: int, waited_s: float) -> None:
        """Look less and less often, but before more than LOOK_BYTES wait at the pace at which they came just now."""
        pause_s = min(2 * self._pause_s, WAKE_S, waited_s * LOOK_BYTES / max(new_bytes, 1))
        self._pause_s = max(pause_s, FIRST_WAKE_S)

    def _next_messages(self, out: Outgoing) -> Iterator[Data]:
        """Yield what there is room for; the last one says so if it ends with the End record."""
        incarnation = self.join.incarnation
        last = self._end
        end = self._outbox.end
        while out.sent < end and out.has_room:
            data = self._outbox.read(out.sent, FRAME_BYTES)
            final = last is not None and out.sent + len(data) == last[1]
            yield Data(incarnation, out.sent, final, final, data)
        if last is not None and out.sent == last[1] and not out.final:  # it went before anyone said it is the End
            yield Data(incarnation, last[0], True, True, self._outbox.read(last[0], FRAME_BYTES))
