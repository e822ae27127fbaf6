"""The thread that carries a rank's journal to the writer, and nothing else.

It finds out which launch the process belongs to, finds or starts the writer, sends what the journal
holds beyond the last acknowledgement, and looks again whenever that writer is gone. It shares no lock
with log(); it reads two ints that the logging threads advance.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from disttrack.errors import InitStartError
from disttrack.journal.durability import Durability
from disttrack.journal.outbox import Outbox
from disttrack.records.types import Join
from disttrack.transport import rendezvous
from disttrack.transport.membership import Membership
from disttrack.transport.protocol import (
    PROTOCOL_VERSION,
    Ack,
    Data,
    Hello,
    Message,
    Moved,
    Ping,
    Refusal,
    Unknown,
    Wait,
    Waiting,
    Welcome,
)
from disttrack.transport.seeking import Seeker
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
LOOK_S = 0.02  # for a process group: a short script must not end before it was seen
PENDING_S = 5.0  # how long a process that may join a process group waits for one
START_AFTER_S = 2.0  # how long a rank that is not its node's first leaves it to that one to start its process
START_AGAIN_S = 2.0
STARTS = 3  # without an answer of any: then what they said is told
HANDSHAKE_S = 1.0
STALLED_S = 3.0  # nothing was stored for so long: a launch on a cluster may have its writer elsewhere, or none

_log = logging.getLogger("disttrack")
_start_again: dict[str, float] = {}  # by launch key, until a writer answers: when this process may start another one
_abandoned: list[dict[str, Any]] = []  # what belongs to a parent process: never closed in its child, never collected


class _Writer(NamedTuple):
    """A writer that welcomed us."""

    record: rendezvous.Record
    dealer: Dealer
    welcome: Welcome


class Sender:
    """Carries one incarnation's journal home."""

    def __init__(self, outbox: Outbox, membership: Membership, runtime: Path) -> None:
        self.acked = 0
        self.welcome: Welcome | None = None
        self.welcomed = threading.Event()
        self.finished = threading.Event()  # everything up to the End is acknowledged, and all blobs are stored
        self._outbox = outbox
        self._membership = membership
        self._runtime = runtime
        self._complaints: set[str] = set()
        self._hurry = False
        self._starts = 0  # of a writer, since one answered
        self._warned = False  # that no writer can be started
        self._end: tuple[int, int] | None = None  # where the End record begins and ends, once there is one
        self._stop = False
        self._bell, self._bell_push = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_push.setblocking(False)
        self._first_run: tuple[rendezvous.Record, Welcome] | None = None
        self._bell_poll = select.poll()  # not select(): it cannot watch descriptors beyond 1,023
        self._bell_poll.register(self._bell, select.POLLIN)
        self._pause_s = FIRST_WAKE_S
        self._blobs_told = 0  # of so many the process we talk to knows
        self._durability = Durability(outbox, self._complain)
        self._seeker = Seeker(membership.join)
        self._thread = threading.Thread(target=self._run, name="disttrack-sender", daemon=True)
        self._thread.start()

    # Called by other threads.

    @property
    def join(self) -> Join:
        """What is known now about this incarnation."""
        return self._membership.join

    def hurry(self) -> None:
        """Stop waiting for a process group: somebody needs the run's id, or the run ends."""
        self._hurry = True
        self._wake()

    def finish(self, start: int, end: int) -> None:
        """Send everything up to the End record at [start, end) at once; finished is set when that is done."""
        self._end = (start, end)
        self.hurry()

    def stop(self, timeout_s: float) -> None:
        """End the thread; what was not acknowledged stays in the journal."""
        self._stop = True
        self._wake()
        self._thread.join(timeout_s)

    def abandon(self) -> None:
        """Forget everything without touching it: this is a forked child, and all of it is the parent's."""
        _abandoned.append(self.__dict__.copy())

    def _wake(self) -> None:
        try:
            self._bell_push.send(b"!")
        except OSError:
            pass  # full, so the thread is awake; or closed, so it has ended

    # The thread.

    def _run(self) -> None:
        delay_s = 0.1
        while not self._stop:
            try:
                self._carry()
            except Exception as error:  # training must not feel it, and the journal has every byte: try again
                self._complain(f"disttrack's sender failed and starts again; nothing is lost ({error!r})")
                self._sleep(delay_s)
                delay_s = min(2 * delay_s, 5.0)
        self._bell.close()
        self._bell_push.close()

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            _log.warning("%s", text)

    def _carry(self) -> None:
        self._settle()
        while not (self._stop or self._seeker.answered):
            self._seek()
            self._rest(LOOK_S)
        while not self._stop:
            writer = self._find_writer()
            if writer is None:
                return
            try:
                self._converse(writer)
            finally:
                writer.dealer.close()
            self._membership.upgrade()

    def _settle(self) -> None:
        """Return when the launch key is final, or will not get any better for now."""
        deadline = time.monotonic() + PENDING_S
        while not (self._stop or self._membership.upgrade() or self._hurry) and time.monotonic() < deadline:
            self._sleep(LOOK_S)
            self._durability.look(time.monotonic(), self.acked)
        self._membership.go_alone()

    def _seek(self) -> bool:
        """Ask the launch's cluster, if it is on one, where its nodes meet; say whether they meet elsewhere now."""
        found = self._seeker.poll(time.monotonic())
        if self._seeker.trouble is not None:
            self._complain(
                f"disttrack: what this rank logs stays in its journal, {self._outbox.directory}, until the head of "
                f"the cluster can be asked for the writer ({self._seeker.trouble})"
            )
        return found and self._seeker.seat is not None and self._membership.meet_at(self._seeker.seat.meeting)

    def _sleep(self, seconds: float) -> bool:
        """Wait, but not if somebody is in a hurry to hear of us; say whether somebody was."""
        if not self._bell_poll.poll(int(1000 * seconds)):
            return False
        self._drain_bell()
        return True

    def _rest(self, seconds: float) -> None:
        """Sleep, and bring to this disk what is logged meanwhile."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0 and not self._sleep(min(left_s, WAKE_S)):
            self._durability.look(time.monotonic(), self.acked)

    def _drain_bell(self) -> None:
        try:
            self._bell.recv(4096)
        except BlockingIOError:
            pass

    # Which writer?

    def _find_writer(self) -> _Writer | None:
        """Return our writer, or its agent on this node, once it welcomed us, started by us if need be; None to stop."""
        lost = time.monotonic()
        rank = self.join.rank
        place = rank.rank if rank.local_rank is None else rank.local_rank
        patience_s = 0.0 if place == 0 and self.join.role == "rank" else START_AFTER_S
        start_at = lost + patience_s + 0.05 * min(place, 20)  # lower ranks first
        while not self._stop:
            if not self._membership.key_known and self._membership.upgrade():
                return self._find_writer()
            key = self.join.launch_key
            record = rendezvous.read_record(self._runtime, key)
            if record is not None:
                writer = self._shake_hands(record)
                if writer is not None:
                    return writer
            elif time.monotonic() >= max(start_at, _start_again.get(key, 0.0)):
                _start_again[key] = time.monotonic() + START_AGAIN_S  # by other senders, too: of runs before this one
                self._start_writer(key)
            self._durability.look(time.monotonic(), self.acked)
            self._sleep(0.01 if time.monotonic() - lost < 1.0 else WAKE_S)
        return None

    def _start_writer(self, key: str) -> None:
        try:
            seat = self._seeker.seat
            rendezvous.start_writer(self._runtime, key, None if seat is None else seat.job_key)
        except OSError as error:  # tried again: what is missing may come
            self._warn_of_start(str(error))
            return
        self._starts += 1
        if self._starts >= STARTS:  # each of them went away again before it could be asked
            for cause in rendezvous.said(self._runtime, key):
                self._warn_of_start(cause)

    def _warn_of_start(self, cause: str) -> None:
        if self._warned:
            return
        self._warned = True
        warning = InitStartError(cause, self._outbox.directory)
        try:
            warnings.warn(warning, stacklevel=1)
        except InitStartError:  # where warnings are errors: not in this thread, nobody could catch it
            _log.warning("disttrack: %s: %s", type(warning).__name__, warning)

    def _shake_hands(self, record: rendezvous.Record) -> _Writer | None:
        from disttrack.transport.dealer import Dealer  # with zmq: in this thread, not in init

        dealer = Dealer(record.address)
        try:
            hello = Hello(version=PROTOCOL_VERSION, nonce=record.nonce, join=self.join)
            answer = dealer.ask(hello, HANDSHAKE_S)
            if isinstance(answer, Wait):
                answer = self._be_patient(record, dealer, hello)
            if isinstance(answer, Welcome) and answer.nonce == record.nonce:
                self._be_welcome(record, answer)
                return _Writer(record, dealer, answer)
        except BaseException:
            dealer.close()
            raise
        dealer.close()
        if isinstance(answer, Refusal):
            self._complain(f"disttrack's writer refused this rank ({answer.reason}); its records stay in its journal")
            self._rest(START_AGAIN_S)
        return None

    def _be_patient(self, record: rendezvous.Record, dealer: Dealer, hello: Hello) -> Message | None:
        """Return what our node's process answers once it has found the writer; None where that is not to be had."""
        asked = began = time.monotonic()
        while not self._stop and record.may_answer():
            if dealer.wait(self._bell.fileno(), WAKE_S):
                self._drain_bell()
            for answer in dealer.answers():
                if isinstance(answer, Welcome | Refusal):
                    return answer
            if not self._membership.key_known and self._membership.upgrade():
                return None
            now = time.monotonic()
            self._durability.look(now, self.acked)
            if now - began > STALLED_S and self._seek():
                return None
            if now - asked > PING_S and dealer.send(hello):
                asked = now
        return None

    def _be_welcome(self, record: rendezvous.Record, welcome: Welcome) -> None:
        if self._first_run is not None and self._first_run[1].run_id != welcome.run_id:
            self._tell_first_run(*self._first_run, welcome)
        self._starts = 0
        _start_again.pop(self.join.launch_key, None)
        self._first_run = None if self._membership.key_known else (record, welcome)
        self._membership.belong_to(welcome.run_id)
        if self._outbox.asked_again(welcome.offset):
            self._complain(
                "the run's log was lost, and the oldest part of this rank's journal had made room for newer records: "
                "what was in it is lost, and counted as dropped"
            )
        self.acked = welcome.offset
        self.welcome = welcome
        self.welcomed.set()

    def _tell_first_run(self, record: rendezvous.Record, first: Welcome, welcome: Welcome) -> None:
        """Tell the writer of the run we opened by ourselves that we turned out to belong to another."""
        from disttrack.transport.dealer import Dealer

        dealer = Dealer(record.address)
        try:
            dealer.ask(Moved(incarnation=first.incarnation, to=welcome.run_id), HANDSHAKE_S)
        finally:
            dealer.close()

    # What to say?

    def _converse(self, writer: _Writer) -> None:
        """Send and be acknowledged until stopped, or until this writer is gone or no longer ours."""
        dealer = writer.dealer
        out = Outgoing(self.acked, time.monotonic())
        heard = spoke = checked = stored = time.monotonic()
        self._blobs_told = 0  # this writer was told of none
        while not self._stop:
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
                self._stop = True
                self.finished.set()
                return
            self._durability.look(now, self.acked)
            if self.acked >= self._outbox.end:
                stored = now
            elif now - stored > STALLED_S and self._seek():
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
            self._sleep(self._pause_s)
        elif dealer.wait(self._bell.fileno(), WAKE_S if self._end is None or self.acked < self._end[1] else LOOK_S):
            self._drain_bell()

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
