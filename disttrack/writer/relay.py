"""A node's agent: carries its ranks' messages to the writer on another node, and brings home what its dead ranks left.

It stores nothing: a rank's journal keeps what the writer has not acknowledged. While the writer cannot be reached,
its ranks are told to wait, so that nothing is sent in vain.

In: messages of the ranks here (take) and of the writer (work). Out: the same to the other side, and what writer.carried
reads in journals of the dead. Called by the loop in writer.process, as one of its parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from disttrack.environments.endings import Ending
from disttrack.journal.deaths import note_death
from disttrack.journal.directories import mark_home
from disttrack.records.names import directory_name
from disttrack.records.types import Incarnation, Join, RunId, changed
from disttrack.transport.protocol import (
    PROTOCOL_VERSION,
    Ack,
    Buried,
    Data,
    Died,
    Hello,
    Kept,
    Message,
    Moved,
    NodeWelcome,
    Over,
    Ping,
    Refusal,
    Unknown,
    Wait,
    Waiting,
    Wanted,
    Welcome,
)
from disttrack.transport.receiver import Peer
from disttrack.transport.status import Status
from disttrack.writer.announcing import Announcement
from disttrack.writer.carried import Carried
from disttrack.writer.carrying import Carrier
from disttrack.writer.earlier import run_of_job
from disttrack.writer.launch import Launch, run_key
from disttrack.writer.link import SILENT_S, Link
from disttrack.writer.node import Node, Part
from disttrack.writer.sampling import Placed
from disttrack.writer.succession import SUCCEED_S, Succession

__all__ = ["Relay"]

ADOPT_S = 5.0
LINGER_S = 5.0
GIVE_UP_S = 30 * 60.0  # with nobody alive here and no writer: the journals stay, for `ls` or the next process


class Relay:
    """The agent of one node."""

    def __init__(
        self,
        node: Node,
        become_writer: Callable[[Announcement], Part],
        choose_again: Callable[[], Part],
        former: Launch | None = None,
    ) -> None:
        """become_writer: in place of one whose node is gone, or of one before us on this node.

        choose_again: whether we are the writer, now that the last one has gone without our ranks' records.
        former: the runs of a writer that this process was until now.
        """
        self._node = node
        self._become_writer = become_writer
        self._choose_again = choose_again
        self._former = former
        self._members: dict[Incarnation, Carried] = {}
        self._runs: dict[RunId, Path] = {}  # where those lie that our ranks were welcomed to
        self._link = Link(node)
        self._carrier = Carrier(self._link.send)
        self._succession = Succession(node)
        self._adopted = 0.0
        self._busy_until = time.monotonic() + LINGER_S
        self._next: Part = self

    # What a part of a node's process does

    def due_s(self) -> float:
        """Return the seconds until the next beat, or look for the writer."""
        return min(self._link.due_s, self._carrier.due_s)

    def work(self) -> None:
        """Take what the writer said, and keep the link."""
        now = time.monotonic()
        for message in self._link.answers(now):
            self._node.guard(self._take_answer, message)
        self._link.look(now)
        if (won := self._succession.won(linked=self._link.linked)) is not None:
            self._leave_for(self._become_writer(won))
        else:
            self._keep_link(now)
        if self._link.linked:
            self._node.guard(self._carrier.work, now)

    def next_part(self) -> Part:
        """Return this, or the writer that we became."""
        return self._next

    def keep_house(self, now: float) -> None:
        """Notice the dead, and find those that died before they met anybody."""
        living = [member for member in self._members.values() if not member.died]
        for member, _ in self._node.watches.dead(living, lambda member: member.join):
            self._died(member)
        self._node.sampling.follow(self._placed())
        if now - self._adopted >= ADOPT_S:
            self._adopted = now
            self._node.guard(self._adopt)
        for member in self._members.values():
            self._node.guard(self._bring_home, member)
        lowest = min((member.join.rank.rank for member in self._members.values()), default=0)
        seat = self._node.meeting is not None and self._node.meeting.is_seat  # only its own node has the next writer
        gone_s, refused_s = self._link.gone_s(now), self._link.refused_s(now)
        if not seat and not self._link.linked and self._succession.is_due(lowest, gone_s=gone_s, refused_s=refused_s):
            self._node.guard(self._succession.begin, self._runs.values() or self._unseen_runs())

    def may_go(self, now: float) -> bool:
        """Say whether no rank of ours lives, and the writer has all they left (or cannot be had)."""
        if now < self._busy_until or any(
            self._lives(member) for member in self._members.values() if member.join.role != "node"
        ):
            return False
        if all(member.over for member in self._members.values()):
            return True
        if not self._link.linked and self._node.claim.is_wanted():
            return True  # a reader on this node can reach the root, and brings home what we cannot
        gone_s = self._link.gone_s(now)
        buried = self._all_home()
        if buried and self._link.withdrawn:
            return True
        return gone_s > (SUCCEED_S + SILENT_S if buried else GIVE_UP_S)

    def status(self) -> Status:
        """Return which ranks we serve, and how it stands with the writer."""
        now = time.monotonic()
        members = [member.status(now) for member in self._members.values()]
        pending_bytes = sum(member.sent - member.acked for member in self._members.values())
        return self._node.status("agent", members=members, link=self._link.status(), pending_bytes=pending_bytes)

    def _all_home(self) -> bool:
        return not self._carrier.busy and all(member.home for member in self._members.values())

    def close(self) -> None:
        """Leave the writer."""
        self._succession.close()
        self._unlink()
        self._carrier.close()

    # Ranks

    def take(self, peer: Peer, message: Message) -> None:
        """Take one message of a rank."""
        if peer.remote:
            return  # of the time when we were the writer
        if isinstance(message, Hello):
            self._take_hello(peer, message)
        elif isinstance(message, Waiting):
            if message.incarnation in self._members:
                self._carrier.look(self._members[message.incarnation].join)
        elif isinstance(message, Data | Ping | Moved):
            member = self._members.get(message.incarnation)
            if member is None or not member.welcomed or not self._link.connected:
                self._node.receiver.send(peer, Unknown(message.incarnation))
                return
            member.peer, member.heard = peer, time.monotonic()
            if isinstance(message, Data):
                self._pass_on(member, message)
            else:
                self._link.send(message)
                if isinstance(message, Ping):
                    self._node.receiver.send(peer, Ack(message.incarnation, member.acked))

    def _take_hello(self, peer: Peer, hello: Hello) -> None:
        join = hello.join
        if hello.nonce != self._node.nonce:
            reason = "this is not the process your record named"
            self._node.receiver.send(peer, Refusal(incarnation=join.incarnation, reason=reason))
            return
        self._node.meet(join)
        self._node.watches.add(join)
        self._busy_until = time.monotonic() + LINGER_S
        member = self._members.setdefault(join.incarnation, Carried(join))
        member.join, member.peer, member.hello = join, peer, True
        member.broke()
        member.heard = time.monotonic()
        if self._link.linked:
            self._say_hello(member)
        else:
            self._node.receiver.send(peer, Wait(join.incarnation))

    def _pass_on(self, member: Carried, data: Data) -> None:
        """Send what was not sent on this link yet: what goes over tcp arrives, or the link breaks."""
        end = data.offset + len(data.data)
        urgent = data.urgent or data.final
        if member.wants(data.offset, end, urgent=urgent) and self._link.send(data):
            member.passed(data)
        elif member.peer is not None:
            self._node.receiver.send(member.peer, Ack(data.incarnation, member.acked))

    # The writer

    def _take_answer(self, message: Message) -> None:
        if isinstance(message, NodeWelcome):
            self._take_welcome_of_node(message)
            return
        if isinstance(message, Refusal) and not message.incarnation:
            self._link.be_refused(f"the writer refused this node: {message.reason}")
            self._unlink()
            return
        incarnation = getattr(message, "incarnation", None)
        member = self._members.get(incarnation) if incarnation is not None else None
        if member is None:
            return
        if isinstance(message, Welcome):
            self._welcome(member, message)
        elif isinstance(message, Unknown):
            member.broke()
            member.told = False
            if member.died or member.final:
                self._speak_for(member)
                return
        elif isinstance(message, Ack):
            member.acknowledged(message.offset)
        elif isinstance(message, Wanted | Kept):
            self._carrier.take(message)
            if member.buried:
                mark_home(Path(member.join.journal))
            return
        elif isinstance(message, Buried):
            member.buried = True
            mark_home(Path(member.join.journal))
            return
        elif isinstance(message, Over):
            member.forget()
            return
        if member.journal is not None:
            self._bring_home(member)
        elif member.peer is not None:
            self._node.receiver.send(member.peer, message)

    def _take_welcome_of_node(self, message: NodeWelcome) -> None:
        if not self._link.welcome(message):
            return
        for member in self._members.values():
            if member.died:
                self._say_died(member)
            if member.died or member.hello:
                self._say_hello(member)  # who lives and was told so says it anew
            elif member.final and member.sent == member.acked:
                self._speak_for(member)  # it has ended, and may live on: it says nothing any more

    def _say_hello(self, member: Carried) -> None:
        self._link.send(Hello(version=PROTOCOL_VERSION, nonce=self._link.nonce, join=member.join))

    def _welcome(self, member: Carried, welcome: Welcome) -> None:
        member.hello = False
        member.welcome(welcome.offset)
        join = member.join
        member.run_id = welcome.run_id
        self._carrier.welcome(join)
        self._runs[welcome.run_id] = Path(join.root) / directory_name(join.project) / directory_name(welcome.run_id)
        if self._former is not None:
            self._former.leave(join.incarnation, welcome.run_id)
        if member.journal is None and member.peer is not None:
            self._node.receiver.send(member.peer, changed(welcome, nonce=self._node.nonce))

    # The link

    def _keep_link(self, now: float) -> None:
        if self._link.is_lost(now):
            self._unlink()
        found = self._link.found
        ours = not self._link.connected and found is not None and found.node == self._node.id
        if not self._succession.pending:
            if self._link.withdrawn and not self._link.linked and not self._all_home():
                self._leave_for(self._choose_again())  # the writer went in order, and never knew of these ranks
                return
            if ours:  # a writer before us on this node: its claim is ours
                self._leave_for(self._become_writer(Announcement(self._node, listen=True)))
                return
        if not ours:
            self._link.keep(now)

    def _unlink(self) -> None:
        if not self._link.connected:
            return
        was_linked = self._link.close()
        self._carrier.broke()
        for member in self._members.values():
            member.broke()
            member.told = False
            if was_linked and member.peer is not None and not member.died:
                self._node.receiver.send(member.peer, Unknown(member.join.incarnation))

    def _placed(self) -> Iterator[Placed]:
        """Yield the living ranks of this node."""
        for member in self._members.values():
            if member.join.role == "rank" and member.run_id and not (member.final or member.died or member.over):
                yield Placed(member.run_id, member.join)

    # The dead

    def _lives(self, member: Carried) -> bool:
        return member.join.role != "node" and not member.died and self._node.watches.lives(member.join)

    def _died(self, member: Carried) -> None:
        member.died = True
        member.died_us = note_death(member.join, self._ending(member.join))
        self._say_died(member)
        self._speak_for(member)

    def _say_died(self, member: Carried) -> None:
        ending = self._ending(member.join)
        self._link.send(
            Died(
                incarnation=member.join.incarnation,
                exit_code=ending.exit_code,
                signal=ending.signal,
                time_us=member.died_us,
            )
        )

    def _speak_for(self, member: Carried) -> None:
        """Take over from a rank that has said its last word: its journal holds it all."""
        member.open_journal()
        self._carrier.look(member.join)
        if member.journal is not None and self._link.linked and not member.welcomed:
            self._say_hello(member)

    def _adopt(self) -> None:
        """Find the journals of this launch whose process died before it met us."""
        for stored in self._node.left():
            if stored.join.incarnation not in self._members:
                member = self._members[stored.join.incarnation] = Carried(stored.join)
                self._died(member)

    def _bring_home(self, member: Carried) -> None:
        if self._link.connected:
            member.bring_home(self._link.send, self._ending)

    def _ending(self, join: Join) -> Ending:
        """Return how the process of a dead rank ended, as we saw it, or as the kernel still tells."""
        return self._node.watches.how_ended(join)

    def _unseen_runs(self) -> list[Path]:
        """Return where the runs of our ranks lie that the writer had opened before it could welcome one of them."""
        found: list[Path] = []
        for member in self._members.values():
            project = Path(member.join.root) / directory_name(member.join.project)
            run_id = self._link.runs.get(run_key(member.join)) or run_of_job(project, member.join)
            if run_id is None:
                return []
            found.append(project / directory_name(run_id))
        return found

    def _leave_for(self, part: Part) -> None:
        """Be something else from now on, and have our ranks say Hello to it."""
        self._unlink()
        self._carrier.close()
        self._next = part
        for member in self._members.values():
            if member.peer is not None and not member.died:
                self._node.receiver.send(member.peer, Unknown(member.join.incarnation))
