"""What the node's process has whatever it is, writer or agent: its claim, its ears, its processes."""

from __future__ import annotations

import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ParamSpec, Protocol

from disttrack.environments.host import boot_id, hostname, node_id, process_start_time
from disttrack.journal.stored import StoredOutbox
from disttrack.records.types import Join
from disttrack.transport.meeting import Meeting
from disttrack.transport.protocol import PROTOCOL_VERSION, Message
from disttrack.transport.receiver import Peer, Receiver
from disttrack.transport.rendezvous import Claim, Record, socket_path
from disttrack.transport.seats import read_seat
from disttrack.transport.status import Complaint, LinkStatus, MemberStatus, NodeStatus, PartName, Status
from disttrack.writer.attempts import requeued
from disttrack.writer.liveness import dead_journals
from disttrack.writer.sampling import Sampling
from disttrack.writer.watches import Watches

__all__ = ["Node", "Part"]

P = ParamSpec("P")


class Part(Protocol):
    """What a node's process is now: it waits for the writer to be known, is it, or is its agent."""

    def take(self, peer: Peer, message: Message) -> None:
        """Take one message."""
        ...

    def due_s(self) -> float:
        """Return the seconds until work is due."""
        ...

    def work(self) -> None:
        """Do what is due now; called after every wait."""
        ...

    def keep_house(self, now: float) -> None:
        """Look after what changes slowly, and after processes that ended; called every second, and at each end."""
        ...

    def next_part(self) -> Part:
        """Return what the process is from now on: most often this."""
        ...

    def may_go(self, now: float) -> bool:
        """Say whether nobody needs the process any more."""
        ...

    def status(self) -> Status:
        """Return what to tell somebody who asks how we are."""
        ...

    def close(self) -> None:
        """Let go of everything, for good."""
        ...


class Node:
    """The claim on a launch on this node, where its ranks find us, and the processes watched."""

    def __init__(self, runtime: Path, launch_key: str, claim: Claim) -> None:
        self.runtime = runtime
        self.launch_key = launch_key
        self.claim = claim
        self.id = node_id(runtime)
        self.nonce = secrets.token_hex(16)
        self.receiver = Receiver(socket_path(runtime, launch_key, self.nonce))
        self.watches = Watches(self.receiver)
        self.sampling = Sampling(runtime, self.complain)
        self.meeting: Meeting | None = None
        self.rounds = 0
        self._met: Join | None = None  # a rank of ours that a scheduler started
        self._complaints: dict[str, float] = {}  # when each was made last
        self._since = time.monotonic()

    def is_local(self, join: Join) -> bool:
        """Say whether an incarnation is of this node, so that its process and journal are ours to look after."""
        return join.node == self.id or (not join.node and join.boot_id == boot_id())

    def left(self) -> Iterator[StoredOutbox]:
        """Yield the journals that ranks of this launch left on this node when they died, home or not."""
        return dead_journals(self.runtime, lambda join: self.is_ours(join) or self.is_of_earlier_start(join))

    def is_ours(self, join: Join) -> bool:
        """Say whether an incarnation is of this launch, and of this node."""
        return join.launch_key == self.launch_key and self.is_local(join)

    def is_of_earlier_start(self, join: Join) -> bool:
        """Say whether an incarnation is of this node, and of this launch before a scheduler started it anew."""
        return self._met is not None and requeued(join, self._met) and self.is_local(join)

    def meet(self, join: Join) -> None:
        """Meet the other nodes where a rank of ours says: elastic launches move on to another store."""
        if join.job and join.launch_key == self.launch_key:
            self._met = join
        if join.meeting and not self.take_seat():
            self._meet(join.meeting, Path(join.root), shared=join.shared)

    def take_seat(self) -> bool:
        """Say whether this node is the one that the writer is to run on; then meet the others where that says."""
        seat = read_seat(self.runtime, self.launch_key)
        if seat is None:
            return False
        self._meet(seat.meeting, self.runtime, shared=False)
        return True

    def _meet(self, meeting: str, root: Path, *, shared: bool) -> None:
        if self.meeting is None or self.meeting.name != meeting:
            if self.meeting is not None:
                self.meeting.close()
            self.meeting = Meeting(meeting, root, shared=shared)
            self.rounds += 1

    def publish(self) -> None:
        """Tell the ranks of this node where we listen."""
        pid = os.getpid()
        self.claim.publish(
            Record(
                address=self.receiver.address,
                nonce=self.nonce,
                pid=pid,
                start_time=process_start_time(pid),
                boot_id=boot_id(),
            )
        )

    def guard(self, action: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> None:
        """Do one thing; what goes wrong with it must not cost the other ranks their writer."""
        try:
            action(*arguments, **named)
        except Exception as error:  # crash-only is for us; a poisoned message would crash each next writer, too
            self.complain(f"{type(error).__name__}: {error}", trace=True)

    def complain(self, text: str, *, trace: bool = False) -> None:
        """Say once, in the launch's log, what goes wrong."""
        known = text in self._complaints
        self._complaints[text] = time.monotonic()
        if not known:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), text, file=sys.stderr, flush=True)
            if trace:
                traceback.print_exc(file=sys.stderr)

    def status(
        self,
        part: PartName,
        *,
        members: Iterable[MemberStatus],
        term: int | None = None,
        nodes: Iterable[NodeStatus] = (),
        link: LinkStatus | None = None,
        endpoints: tuple[str, ...] = (),
        pending_bytes: int = 0,
    ) -> Status:
        """Return what a part tells of itself, with what the node's process has whatever it is."""
        now = time.monotonic()
        return Status(
            protocol=PROTOCOL_VERSION,
            part=part,
            launch_key=self.launch_key,
            host=hostname(),
            pid=os.getpid(),
            time_us=time.time_ns() // 1000,
            age_s=now - self._since,
            meeting="" if self.meeting is None else self.meeting.name,
            meeting_answers=self.meeting is not None and self.meeting.reached,
            term=term,
            members=tuple(members),
            nodes=tuple(nodes),
            link=link,
            endpoints=endpoints,
            refused=self.receiver.refused,
            pending_bytes=pending_bytes,
            complaints=tuple(Complaint(text=text, ago_s=now - when) for text, when in self._complaints.items()),
        )

    def close(self) -> None:
        """Stop sampling, listening and meeting."""
        self.sampling.close()
        if self.meeting is not None:
            self.meeting.close(timeout_s=4.0)
        self.receiver.close()
