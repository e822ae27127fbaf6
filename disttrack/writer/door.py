"""How ranks and nodes come to a writer: refused where they are not meant, else placed, and welcomed after one sync.

In: their Hellos. Out: Refusals and Welcomes, and who may speak for which incarnation from then on. Called by Writer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from disttrack.errors import DisttrackError
from disttrack.records.types import Incarnation, Join, Offset
from disttrack.transport.protocol import PROTOCOL_VERSION, Hello, NodeHello, NodeWelcome, Refusal, Welcome
from disttrack.transport.receiver import Peer
from disttrack.writer.hearing import Hearing
from disttrack.writer.ingest import RunIngest
from disttrack.writer.launch import Launch
from disttrack.writer.node import Node
from disttrack.writer.roster import Source

__all__ = ["Door"]


class Door:
    """Lets ranks into the runs of a launch."""

    def __init__(self, node: Node, launch: Launch, hearing: Hearing, expect: Callable[[Join], None]) -> None:
        """expect: told of each rank of this node that knocks."""
        self.peers: dict[Incarnation, Peer] = {}  # of those that were welcomed: the rank, or its node's agent
        self.asked = time.monotonic()  # when a rank said Hello last
        self._node = node
        self._launch = launch
        self._hearing = hearing
        self._expect = expect
        self._joining: dict[RunIngest, dict[Incarnation, tuple[Peer, Source]]] = {}  # placed, not welcomed yet
        self._watching: set[RunIngest] = set()  # runs whose earlier sources are watched

    @property
    def somebody_waits(self) -> bool:
        """Say whether somebody that was placed waits for a Welcome."""
        return bool(self._joining)

    def take_node(self, peer: Peer, hello: NodeHello) -> None:
        """Welcome another node's agent."""
        reason = self._objection(hello.nonce, hello.version)
        if reason is not None:
            self._node.receiver.send(peer, Refusal(reason=reason))
            return
        self._hearing.hear_node(hello.node, hello.host)
        self._node.receiver.send(peer, NodeWelcome(nonce=self._node.nonce))

    def take(self, peer: Peer, hello: Hello) -> None:
        """Place a rank; raise what is in the way, once the rank was told."""
        join = hello.join
        reason = self._objection(hello.nonce, hello.version)
        if reason is not None:
            self._node.receiver.send(peer, Refusal(incarnation=join.incarnation, reason=reason))
            return
        local = self._node.is_local(join)
        if local:
            self._node.meet(join)
            self._expect(join)
        try:
            run, source = self._launch.place(join)
        except (DisttrackError, OSError) as error:  # a newer format, a disk that cannot be read: the rank asks again
            self._node.receiver.send(peer, Refusal(incarnation=join.incarnation, reason=str(error)))
            raise
        self.asked = time.monotonic()
        self._joining.setdefault(run, {})[join.incarnation] = peer, source

    def welcome_all(self) -> None:
        """Welcome those who said Hello since the last wait, after one sync for all of them: ranks come by thousands."""
        joining, self._joining = self._joining, {}
        for run, those in joining.items():
            self._node.guard(self._open, run, those)

    def _open(self, run: RunIngest, joining: dict[Incarnation, tuple[Peer, Source]]) -> None:
        try:
            run.open(source for _, source in joining.values())
        except OSError as error:  # a full or unwritable disk: the ranks ask again
            for incarnation, (peer, _) in joining.items():
                self._node.receiver.send(peer, Refusal(incarnation=incarnation, reason=str(error)))
            raise
        if run not in self._watching:  # those an earlier writer admitted are ours to watch, too
            self._watching.add(run)
            for source in run.sources.values():
                self._look_to(source)
        for peer, source in joining.values():
            self._look_to(source)
            self._welcome(peer, run, source)

    def _look_to(self, source: Source) -> None:
        """Watch the process of a source of this node."""
        if self._node.is_local(source.join):
            self._node.watches.add(source.join)
            self._hearing.expect(source)

    def _welcome(self, peer: Peer, run: RunIngest, source: Source) -> None:
        join = source.join
        self.peers[join.incarnation] = peer
        if not self._node.is_local(join):
            self._hearing.expect_node(join.node, join.host)
        self._hearing.hear(run, source)
        self._node.receiver.send(
            peer,
            Welcome(
                incarnation=join.incarnation,
                nonce=self._node.nonce,
                run_id=run.header.run_id,
                name=run.header.name,
                group=run.header.group,
                attempt=source.admission.attempt,
                role=source.admission.role,
                offset=Offset(source.committed),
                speaks=run.sources.speaks(source),
            ),
        )

    def _objection(self, nonce: str, version: int) -> str | None:
        if nonce != self._node.nonce:
            return "this is not the writer your record named"
        if version != PROTOCOL_VERSION:
            return f"it speaks protocol {version}, this writer {PROTOCOL_VERSION}: use one version of disttrack"
        return None
