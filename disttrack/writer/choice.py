"""Whether this node's process is the launch's writer or an agent of it: decided once the first rank has said Hello."""

from __future__ import annotations

import os
import time

from disttrack.journal.directories import is_home
from disttrack.journal.stored import stored_outboxes
from disttrack.records.types import Incarnation, Join
from disttrack.transport.protocol import Data, Hello, Message, Moved, Ping, Unknown, Wait
from disttrack.transport.receiver import Peer
from disttrack.transport.status import MemberStatus, Status
from disttrack.writer.announcing import Announcement
from disttrack.writer.launch import Launch
from disttrack.writer.liveness import lives
from disttrack.writer.node import Node, Part
from disttrack.writer.relay import Relay
from disttrack.writer.serving import Writer

__all__ = ["Choice"]

LOOK_S = 0.02
HELLO_S = 0.5  # without one: whoever started us may be dead already
FIRST_S = 2.0  # how long a node without rank 0 leaves the claim to the one that has it
BLIND_S = 3.5  # ... and how long the one that has it waits for the place to answer
ALONE_S = 60.0  # with nobody to serve
WANTED_S = 1.5  # ... and somebody waiting for our claim


def writer_of(node: Node, announcement: Announcement | None) -> Writer:
    """Return a node's process as the writer of its launch."""
    return Writer(node, announcement, lambda launch: agent_of(node, launch))


def agent_of(node: Node, former: Launch | None = None) -> Relay:
    """Return a node's process as an agent of its launch's writer."""

    def become_writer(announcement: Announcement) -> Writer:
        return writer_of(node, announcement)

    return Relay(node, become_writer, lambda: Choice(node), former)


class Choice:
    """Keeps the ranks of this node waiting until it is known where their writer is."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._hellos: dict[Peer, Hello] = {}
        self._left: dict[Incarnation, Join] = {}  # by ranks that died before they met us
        self._expects = True  # somebody lives on this node who may still say Hello
        self._announcement: Announcement | None = None
        self._since = self._needed = time.monotonic()
        self._next: Part = self

    def take(self, peer: Peer, message: Message) -> None:
        """Keep Hellos for whoever we become."""
        if isinstance(message, Hello):
            if not self._hellos:
                self._since = time.monotonic()
            self._node.meet(message.join)
            self._node.watches.add(message.join)
            self._hellos[peer] = message
            self._node.receiver.send(peer, Wait(message.join.incarnation))
        elif isinstance(message, Data | Ping | Moved):
            self._node.receiver.send(peer, Unknown(message.incarnation))

    def due_s(self) -> float:
        """Return when to look again whether it is known."""
        return LOOK_S if self._hellos or self._left else 0.5

    def work(self) -> None:
        """Decide, if it can be decided."""
        if self._next is not self:
            return
        if self._node.take_seat():
            part: Part | None = writer_of(self._node, Announcement(self._node, listen=True))
        elif self._hellos or self._left:
            part = self._decide()
        else:
            return
        if part is not None:
            self._next = part
            for peer, hello in self._hellos.items():
                self._node.guard(part.take, peer, hello)

    def _decide(self) -> Part | None:
        """Return the writer where it is ours to be, the agent where another node has it, None until that is known."""
        node, meeting = self._node, self._node.meeting
        if meeting is None:
            return writer_of(node, None)
        found = meeting.found
        if found is not None and found.writer is not None and found.writer.node != node.id:
            if self._announcement is not None:
                self._announcement.retract()
            return agent_of(node)
        if meeting.is_seat:
            return None  # its writer is elsewhere, and may not have been started yet
        joins = [*(hello.join for hello in self._hellos.values()), *self._left.values()]
        first = any(join.rank.rank == 0 for join in joins)
        alone = all(join.nodes == 1 for join in joins)
        if first and alone:
            return writer_of(node, Announcement(node, listen=False))
        waited_s = time.monotonic() - self._since
        if self._announcement is None:
            if meeting.reached and (first or waited_s > FIRST_S):
                self._announcement = Announcement(node, listen=any((join.nodes or 1) > 1 for join in joins))
            elif first and waited_s > BLIND_S:
                return writer_of(node, Announcement(node, listen=not alone))
            return None
        self._announcement.renew()
        return writer_of(node, self._announcement) if self._announcement.stands else None

    def keep_house(self, now: float) -> None:
        """Notice whether anybody lives whom we keep waiting, and what the dead left."""
        if not self._hellos and now - self._since > HELLO_S:
            self._look_around()
        if any(self._node.watches.lives(hello.join) for hello in self._hellos.values()):
            self._needed = now

    def _look_around(self) -> None:
        """Note what those left who died before they met us, and whether anybody lives who may still come."""
        self._expects = False
        for stored in stored_outboxes(self._node.runtime):
            join = stored.join
            mine = join.launch_key == self._node.launch_key
            if not self._node.is_local(join) or (join.role, join.pid) == ("node", os.getpid()):
                continue  # ours: its samples say Hello themselves
            if lives(join):
                self._expects |= mine or not join.rank.settled
            elif mine and not is_home(stored.directory):
                self._node.meet(join)
                self._left[join.incarnation] = join

    def next_part(self) -> Part:
        """Return what was decided."""
        return self._next

    def may_go(self, now: float) -> bool:
        """Say whether no rank came, or all that came have gone; a reader on this node may want what they left.

        At once where none lives who could come: another process of the launch stored everything while we started.
        """
        if not (self._hellos or self._left or self._expects):
            return True
        return now - self._needed > (WANTED_S if self._node.claim.is_wanted() else ALONE_S)

    def status(self) -> Status:
        """Return who waits here."""
        waiting = [*(hello.join for hello in self._hellos.values()), *self._left.values()]
        since_s = time.monotonic() - self._since
        members = [
            MemberStatus(
                rank=join.rank.rank,
                role=join.role,
                run_id=join.run_id,
                host=join.host,
                pid=join.pid,
                over=False,
                heard_s=since_s,
                stored=0,
            )
            for join in waiting
        ]
        return self._node.status("undecided", members=members)

    def close(self) -> None:
        """Nothing is held."""
