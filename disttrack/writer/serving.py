"""The writer of a launch: takes records of ranks and agents, commits them, and knows when a run is over.

In: messages (take), processes that ended and the time (keep_house). Out: run logs, through writer.launch, and answers:
acknowledgements after the sync. Called by the loop in writer.process, as one of its parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from disttrack.environments.endings import Ending
from disttrack.environments.launch import launcher_lives
from disttrack.journal.deaths import note_death
from disttrack.journal.stored import stored_outboxes
from disttrack.records.types import Join, Sighting
from disttrack.transport.protocol import (
    Ack,
    Buried,
    Data,
    Died,
    Gone,
    Hello,
    Message,
    Moved,
    NodeHello,
    Offer,
    Over,
    Piece,
    Ping,
    Unknown,
    Waiting,
)
from disttrack.transport.receiver import Peer
from disttrack.transport.seats import leave_seat
from disttrack.transport.status import MemberStatus, Status
from disttrack.writer.announcing import Announcement
from disttrack.writer.door import Door
from disttrack.writer.hearing import Hearing
from disttrack.writer.ingest import RunIngest, now_us
from disttrack.writer.launch import Launch
from disttrack.writer.liveness import lives
from disttrack.writer.node import Node, Part
from disttrack.writer.roster import Source
from disttrack.writer.sampling import Placed
from disttrack.writer.stowing import Stowing

__all__ = ["Writer"]

MARKER_S = 15.0
ADOPT_S = 5.0
LATE_S = 2.0  # after the last rank of a run ended; whoever joins later opens it again
LINGER_S = 5.0  # after somebody said Hello, for the next run of the same processes
COMING_S = 30.0  # ... for somebody who has begun and not said it yet
SEATED_S = 30.0  # ... for the next trial, on any node
GIVE_UP_S = 300.0  # with records of the dead that the disk does not take

# What only a rank that was welcomed says, or its agent.
_Spoken = Data | Ping | Moved | Died | Gone | Waiting | Offer | Piece


class Writer:
    """The one process that appends to the logs of a launch's runs."""

    def __init__(self, node: Node, announcement: Announcement | None, become_agent: Callable[[Launch], Part]) -> None:
        """announcement: ours, where the launch has a place for its nodes to meet. become_agent: of another writer."""
        self._node = node
        self._announcement = announcement
        self._become_agent = become_agent
        self._launch = Launch(
            node.runtime, node.launch_key, node.claim, node.nonce, self._known_runs, ending=node.watches.how_ended
        )
        self._receiver = node.receiver
        self._hearing = Hearing(node)
        self._stowing = Stowing(node, self._hearing)
        self._door = Door(node, self._launch, self._hearing, self._expect)
        self._peers = self._door.peers
        self._last_words: list[tuple[RunIngest, Source, int, bytes]] = []  # ... that end at this offset
        self._buried: list[tuple[Peer, RunIngest, Source]] = []  # their agents wait to hear so
        self._progressed = time.monotonic()
        self._marked = self._adopted = 0.0
        self._seated = node.take_seat()  # others may come to us here alone
        self._next: Part = self

    # What a part of a node's process does

    def due_s(self) -> float:
        """Return the seconds until the next commit."""
        if self._door.somebody_waits or self._buried:
            return 0.0
        due = (run.due_in() for run in self._launch.runs.values())
        return min(self._stowing.due_s, *(due_s for due_s in due if due_s is not None), 60.0)

    def work(self) -> None:
        """Welcome who came, commit what is due, and store ends after the last words before them."""
        self._door.welcome_all()
        for run in list(self._launch.runs.values()):
            if run.due_in() == 0.0:
                self._node.guard(self._commit, run)
            for source in run.given_up():  # else what an agent has passed on already would not be said again
                peer = self._peers.get(source.join.incarnation)
                if peer is not None:
                    self._receiver.send(peer, Unknown(source.join.incarnation))
        self._say_ends()
        self._say_buried()
        self._node.guard(self._stow)

    def _stow(self) -> None:
        if self._stowing.work():
            self._progressed = time.monotonic()

    def next_part(self) -> Part:
        """Return this, or the agent of another node's writer that we became."""
        return self._next

    def keep_house(self, now: float) -> None:
        """Bury the dead, adopt what they left, notice silence, end what is over."""
        self._hearing.wake(now)
        self._bury_the_dead()
        self._node.sampling.follow(self._placed())
        if now - self._adopted >= ADOPT_S:
            self._adopted = now
            self._node.guard(self._adopt)
        mark = now - self._marked >= MARKER_S
        if mark:
            self._marked = now
        for run in list(self._launch.runs.values()):
            if not run.ended:
                if mark and self._waits_for_unheard(run):
                    self._node.guard(run.heed_others)
                self._node.guard(self._look_after, run, now, mark)
        self._announce()

    def _waits_for_unheard(self, run: RunIngest) -> bool:
        """Say whether a run waits for the end of somebody on another node of whom we know by its log alone."""
        return any(not (each.over or each.heard or self._node.is_local(each.join)) for each in run.sources.values())

    def may_go(self, now: float) -> bool:
        """Say whether nobody needs us: all runs ended, or what is left cannot be stored and nobody lives to say more.

        In the second case the journals keep it, and the next reader on this host brings it home.
        """
        runs = self._launch.runs.values()
        alone = not any(self._hearing.any_lives(run, now) for run in runs)
        if any(not run.ended for run in runs):
            return alone and now - self._progressed > GIVE_UP_S
        if self._announcement is not None and self._announcement.listens and launcher_lives(self._node.launch_key):
            return False  # it may start its ranks again, on any node
        if self._seated:
            return now >= self._door.asked + SEATED_S
        if now < self._door.asked + LINGER_S and not (runs and alone):
            return False
        if now < self._door.asked + COMING_S and self._somebody_comes():
            return False
        self._node.guard(self._adopt)  # who died since the last look, and met nobody
        return all(run.ended for run in runs)

    def _somebody_comes(self) -> bool:
        """Say whether a rank of this launch lives here that has not met us: if it were killed, nobody would bury it."""
        for stored in stored_outboxes(self._node.runtime):
            join = stored.join
            ours = self._node.is_ours(join) and join.role != "node"  # those are samples, of this very process
            if ours and self._launch.run_of(join.incarnation) is None and lives(join):
                return True
        return False

    def status(self) -> Status:
        """Return which ranks and nodes we hear, and what waits to be stored."""
        now = time.monotonic()
        runs = list(self._launch.runs.values())
        members = [
            MemberStatus(
                rank=source.join.rank.rank,
                role=source.admission.role,
                run_id=run.header.run_id,
                host=source.join.host,
                pid=source.join.pid,
                over=source.over,
                heard_s=self._hearing.silent_s(incarnation, now),
                stored=source.committed,
            )
            for run in runs
            for incarnation, source in run.sources.items()
        ]
        waited_for = {source.join.node for run in runs for source in run.sources.values() if not source.over}
        said = self._announcement
        return self._node.status(
            "writer",
            members=members,
            term=said.term if said is not None else None,
            nodes=self._hearing.nodes(waited_for, now),
            endpoints=said.endpoints if said is not None else (),
            pending_bytes=sum(run.pending_bytes for run in runs),
        )

    def close(self) -> None:
        """Close all runs, and say that this writer has gone."""
        self._stowing.close()
        self._launch.close()
        if self._announcement is not None:
            self._announcement.withdraw()
        if self._seated:
            leave_seat(self._node.runtime, self._node.launch_key)

    # Other nodes

    def _known_runs(self) -> dict[str, str]:
        return self._announcement.runs if self._announcement is not None else {}

    def _expect(self, join: Join) -> None:
        """Be found by the other nodes where a rank of ours says that there are some."""
        if self._announcement is not None:
            self._announcement.expect(join)

    def _announce(self) -> None:
        self._seated = self._node.take_seat()
        if self._announcement is None and self._node.meeting is not None:
            self._announcement = Announcement(self._node, listen=self._seated)
        if self._announcement is not None:
            self._announcement.remember(self._launch.run_ids())
            if self._announcement.deposed():
                self._step_down(self._announcement)

    def _step_down(self, announcement: Announcement) -> None:
        """Leave the launch to its other writer, and become its agent."""
        self._node.complain("another node's process is this launch's writer; this one becomes its agent")
        for run in self._launch.runs.values():
            if run.due_in() is not None:
                self._node.guard(self._commit, run)
        announcement.retract()
        self._stowing.close()
        self._next = self._become_agent(self._launch)
        for incarnation, peer in self._peers.items():
            if not peer.remote:
                self._receiver.send(peer, Unknown(incarnation))

    # Messages

    def take(self, peer: Peer, message: Message) -> None:
        """Take one message of a rank or an agent."""
        if isinstance(message, Hello):
            self._door.take(peer, message)
        elif isinstance(message, NodeHello):
            self._door.take_node(peer, message)
        elif isinstance(message, _Spoken):
            run = self._launch.run_of(message.incarnation)
            if run is None or self._peers.get(message.incarnation) is None:
                self._receiver.send(peer, Unknown(message.incarnation))
                return
            self._peers[message.incarnation] = peer
            self._progressed = time.monotonic()
            self._take_known(peer, message, run, run.sources[message.incarnation])

    def _take_known(self, peer: Peer, message: _Spoken, run: RunIngest, source: Source) -> None:
        if isinstance(message, Died):
            if not source.died:
                source.died = True
                self._launch.died(run, source, Ending(message.exit_code, message.signal), message.time_us)
        elif isinstance(message, Waiting | Offer | Piece):
            self._stowing.take(peer, message, run, source)
        elif isinstance(message, Gone):
            ending = Ending(message.exit_code, message.signal, message.exception)
            self._launch.gone(run, source, message.said, ending, message.time_us)
            self._buried.append((peer, run, source))
        elif isinstance(message, Moved):
            run.see(source, Sighting(incarnation=message.incarnation, seen="moved", time_us=now_us()))
            run.become_alias(message.to)
            self._receiver.send(peer, Ack(message.incarnation, source.committed))
        else:
            self._hearing.hear(run, source)
            before = source.end
            if isinstance(message, Data):
                run.receive(source, message.offset, message.data, urgent=message.urgent)
                if message.final:
                    self._last_words.append((run, source, message.offset + len(message.data), message.data))
            if isinstance(message, Data) and message.offset + len(message.data) > source.end:
                self._receiver.send(peer, Unknown(message.incarnation))  # not taken: an agent says nothing twice
            elif source.end == before:
                self._receiver.send(peer, Ack(message.incarnation, source.committed))

    def _commit(self, run: RunIngest) -> None:
        for source in run.commit():
            peer = self._peers.get(source.join.incarnation)
            if peer is not None:
                self._receiver.send(peer, Ack(source.join.incarnation, source.committed))

    def _say_ends(self) -> None:
        """Store that ranks ended, after their last records were stored and acknowledged."""
        waiting, self._last_words = self._last_words, []
        for run, source, end, data in waiting:
            if source.over or source.end < end:
                continue  # said twice; or the disk took nothing, and the rank says it again
            if source.committed < end:
                self._last_words.append((run, source, end, data))
            else:
                self._node.guard(self._launch.ended, run, source, data)

    def _say_buried(self) -> None:
        """Tell agents which ends of ranks are on the disk."""
        waiting, self._buried = self._buried, []
        for peer, run, source in waiting:
            if not run.synced:
                self._buried.append((peer, run, source))
            elif source.over:
                self._receiver.send(peer, Buried(source.join.incarnation))
                if run.ended:  # and its node was not there to hear it
                    self._receiver.send(peer, Over(source.join.incarnation))

    # Processes

    def _bury_the_dead(self) -> None:
        local = (
            (run, source)
            for run in self._launch.runs.values()
            for source in run.sources.values()
            if self._node.is_local(source.join)
        )
        dead = self._node.watches.dead(local, lambda one: one[1].join)
        for (_, source), ending in dead:  # at first: each burial waits for the run's disk
            if not source.over:
                note_death(source.join, ending)
        for (run, source), ending in dead:
            if not source.over:
                self._node.guard(self._bury, run, source, ending)
            else:
                self._node.guard(self._launch.outlived, run, source, ending)

    def _placed(self) -> Iterator[Placed]:
        """Yield the living ranks of this node."""
        for run in self._launch.runs.values():
            for source in run.sources.values():
                if source.admission.role == "rank" and not source.over and self._node.is_local(source.join):
                    yield Placed(run.header.run_id, source.join)

    def _bury(self, run: RunIngest, source: Source, ending: Ending) -> None:
        self._launch.bury(run, source, ending)
        self._stowing.look(run, source)
        self._progressed = time.monotonic()

    def _adopt(self) -> None:
        for run, source, _ in self._launch.adopt(also=self._node.is_of_earlier_start):
            self._stowing.look(run, source)

    # Now and then

    def _look_after(self, run: RunIngest, now: float, mark: bool) -> None:
        if run.is_lost():
            self._refill(run)
        self._launch.end_earlier_starts(run)
        self._hearing.notice_silence(run, now)
        if self._is_over(run, now):
            self._adopt()
            if self._is_over(run, now):
                self._launch.end_run(run)
                self._stowing.end(run)
                self._progressed = now
                self._send_over(run)
        elif mark:
            run.mark()

    def _refill(self, run: RunIngest) -> None:
        """Have everybody say everything again: the run's directory is gone, and the journals hold it all."""
        self._node.complain(f"the log of run {run.header.run_id} is gone from {run.directory}; it is written again")
        over = run.begin_again()
        for incarnation in run.sources:
            peer = self._peers.pop(incarnation, None)
            if peer is not None:
                self._receiver.send(peer, Unknown(incarnation))
        for source in over:
            if self._node.is_local(source.join) and not run.moved:  # else another run has what its journal holds
                self._node.guard(self._launch.bury_again, run, source)

    def _send_over(self, run: RunIngest) -> None:
        """Tell the agents that the journals of a run may go."""
        for incarnation, source in run.sources.items():
            peer = self._peers.get(incarnation)
            if peer is not None and peer.remote and not self._node.is_local(source.join):
                self._receiver.send(peer, Over(incarnation))

    def _is_over(self, run: RunIngest, now: float) -> bool:
        """Say whether every source of a run ended, and its blobs are stored.

        While their processes live, a late rank is given a moment.
        """
        if not run.sources.all_over():
            return False
        nobody = now - run.changed_at >= LATE_S or not self._hearing.any_lives(run, now)
        return nobody and not self._stowing.holds(run, now)
