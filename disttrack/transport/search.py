"""Which writer a rank's records go to: its launch is known, and its node's process found, or started.

For the sender's thread, which does nothing else meanwhile but bring the journal to this disk.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from disttrack.errors import InitStartError
from disttrack.journal.outbox import Outbox
from disttrack.transport import rendezvous
from disttrack.transport.bell import Bell
from disttrack.transport.membership import Membership
from disttrack.transport.protocol import PROTOCOL_VERSION, Hello, Message, Moved, Refusal, Wait, Welcome
from disttrack.transport.seeking import Seeker

if TYPE_CHECKING:
    from disttrack.transport.dealer import Dealer

__all__ = ["Writer", "WriterSearch"]

LOOK_S = 0.02  # for a process group: a short script must not end before it was seen
PENDING_S = 5.0  # how long a process that may join a process group waits for one
START_AFTER_S = 2.0  # how long a rank that is not its node's first leaves it to that one to start its process
START_AGAIN_S = 2.0
STARTS = 3  # without an answer of any: then what they said is told
HANDSHAKE_S = 1.0
PING_S = 5.0
REST_S = 0.25

_log = logging.getLogger("disttrack")
_start_again: dict[str, float] = {}  # by launch key, until a writer answers: when this process may start another one


class Writer(NamedTuple):
    """A writer that welcomed us."""

    record: rendezvous.Record
    dealer: Dealer
    welcome: Welcome


class WriterSearch:
    """Finds one incarnation's writer, as often as it is lost."""

    def __init__(
        self,
        outbox: Outbox,
        membership: Membership,
        runtime: Path,
        bell: Bell,
        keep_safe: Callable[[], None],
        complain: Callable[[str], None],
    ) -> None:
        """keep_safe: brings to this disk what is logged meanwhile; called every REST_S. complain: says a thing once."""
        self._outbox, self._membership, self._runtime = outbox, membership, runtime
        self._bell, self._keep_safe, self._complain = bell, keep_safe, complain
        self._seeker = Seeker(membership.join)
        self._starts = 0  # of a writer, since one answered
        self._warned = False  # that no writer can be started
        self._first_run: tuple[rendezvous.Record, Welcome] | None = None

    def settle(self) -> None:
        """Return when the launch key is final, or will not get any better for now."""
        deadline = time.monotonic() + PENDING_S
        while not (self._bell.stopped or self._membership.upgrade() or self._bell.hurried):
            if time.monotonic() >= deadline:
                break
            self._bell.sleep(LOOK_S)
            self._keep_safe()
        self._membership.go_alone()
        while not (self._bell.stopped or self._seeker.answered):
            self.seek()
            self._rest(LOOK_S)

    def _rest(self, seconds: float) -> None:
        """Sleep, and bring to this disk what is logged meanwhile."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0 and not self._bell.sleep(min(left_s, REST_S)):
            self._keep_safe()

    def seek(self) -> bool:
        """Ask the launch's cluster, if it is on one, where its nodes meet; say whether they meet elsewhere now."""
        found = self._seeker.poll(time.monotonic())
        if self._seeker.trouble is not None:
            self._complain(
                f"disttrack: what this rank logs stays in its journal, {self._outbox.directory}, until the head of "
                f"the cluster can be asked for the writer ({self._seeker.trouble})"
            )
        return found and self._seeker.seat is not None and self._membership.meet_at(self._seeker.seat.meeting)

    def find(self) -> Writer | None:
        """Return our writer, or its agent on this node, once it welcomed us, started by us if need be; None to stop."""
        lost = time.monotonic()
        rank = self._membership.join.rank
        place = rank.rank if rank.local_rank is None else rank.local_rank
        patience_s = 0.0 if place == 0 and self._membership.join.role == "rank" else START_AFTER_S
        start_at = lost + patience_s + 0.05 * min(place, 20)  # lower ranks first
        while not self._bell.stopped:
            if not self._membership.key_known and self._membership.upgrade():
                return self.find()
            self.seek()  # whoever kept the writer running may be gone with it
            key = self._membership.join.launch_key
            record = rendezvous.read_record(self._runtime, key)
            if record is not None:
                writer = self._shake_hands(record)
                if writer is not None:
                    return writer
            elif time.monotonic() >= max(start_at, _start_again.get(key, 0.0)):
                _start_again[key] = time.monotonic() + START_AGAIN_S  # by other senders, too: of runs before this one
                self._start_writer(key)
            self._keep_safe()
            self._bell.sleep(0.01 if time.monotonic() - lost < 1.0 else REST_S)
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

    def _shake_hands(self, record: rendezvous.Record) -> Writer | None:
        from disttrack.transport.dealer import Dealer  # with zmq: in this thread, not in init

        dealer = Dealer(record.address)
        try:
            hello = Hello(version=PROTOCOL_VERSION, nonce=record.nonce, join=self._membership.join)
            answer = dealer.ask(hello, HANDSHAKE_S)
            if isinstance(answer, Wait):
                answer = self._be_patient(record, dealer, hello)
            if isinstance(answer, Welcome) and answer.nonce == record.nonce:
                self._be_welcome(record, answer)
                return Writer(record, dealer, answer)
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
        asked = time.monotonic()
        while not self._bell.stopped and record.may_answer():
            if dealer.wait(self._bell.fileno(), REST_S):
                self._bell.heard()
            for answer in dealer.answers():
                if isinstance(answer, Welcome | Refusal):
                    return answer
            if not self._membership.key_known and self._membership.upgrade():
                return None
            now = time.monotonic()
            self._keep_safe()
            if self.seek():
                return None
            if now - asked > PING_S and dealer.send(hello):
                asked = now
        return None

    def _be_welcome(self, record: rendezvous.Record, welcome: Welcome) -> None:
        if self._first_run is not None and self._first_run[1].run_id != welcome.run_id:
            self._tell_first_run(*self._first_run, welcome)
        self._starts = 0
        _start_again.pop(self._membership.join.launch_key, None)
        self._first_run = None if self._membership.key_known else (record, welcome)
        self._membership.belong_to(welcome.run_id)
        if self._outbox.asked_again(welcome.offset):
            self._complain(
                "the run's log was lost, and the oldest part of this rank's journal had made room for newer records: "
                "what was in it is lost, and counted as dropped"
            )

    def _tell_first_run(self, record: rendezvous.Record, first: Welcome, welcome: Welcome) -> None:
        """Tell the writer of the run we opened by ourselves that we turned out to belong to another."""
        from disttrack.transport.dealer import Dealer

        dealer = Dealer(record.address)
        try:
            dealer.ask(Moved(incarnation=first.incarnation, to=welcome.run_id), HANDSHAKE_S)
        finally:
            dealer.close()
