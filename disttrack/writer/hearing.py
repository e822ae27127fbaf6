"""When the ranks of a launch and their nodes were heard last, and so which of them may live.

In: each word of theirs, and the time. Out: who may live, and in the run logs, who fell silent, came back, or is lost.
Called by Writer and Door.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from disttrack.records.types import Incarnation, Sighting
from disttrack.transport.status import NodeStatus
from disttrack.writer.ingest import RunIngest, now_us
from disttrack.writer.node import Node
from disttrack.writer.roster import Source

__all__ = ["Hearing"]

SILENT_S = 15.0
STOPPED_S = 5.0  # a gap in our own loop: we were stopped, not the ranks
LOST_S = 30 * 60.0  # without a word of another node: its ranks are lost


class Hearing:
    """The ears of one writer. Times are of the monotonic clock."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._heard: dict[Incarnation, float] = {}
        self._heard_node: dict[str, float] = {}
        self._host_of: dict[str, str] = {}  # by node
        self._looked = time.monotonic()

    def wake(self, now: float) -> None:
        """Note that we look; where that was not possible for a while, nobody was silent meanwhile."""
        if now - self._looked > STOPPED_S:
            self._heard = dict.fromkeys(self._heard, now)
            self._heard_node = dict.fromkeys(self._heard_node, now)
        self._looked = now

    def expect(self, source: Source) -> None:
        """Wait for a word of a rank from now on."""
        self._heard.setdefault(source.join.incarnation, time.monotonic())

    def hear(self, run: RunIngest, source: Source) -> None:
        """Note a word of a rank; store that it runs where it was silent."""
        incarnation = source.join.incarnation
        self._heard[incarnation] = time.monotonic()
        if source.silent and not source.died:
            run.see(source, Sighting(incarnation=incarnation, seen="running", time_us=now_us()))

    def expect_node(self, node: str, host: str) -> None:
        """Wait for a word of another node from now on, which is on this host."""
        self._heard_node.setdefault(node, time.monotonic())
        self._host_of[node] = host

    def hear_node(self, node: str, host: str) -> None:
        """Note a word of another node, which is on this host."""
        self._heard_node[node] = time.monotonic()
        self._host_of[node] = host

    def notice_silence(self, run: RunIngest, now: float) -> None:
        """Store who of a run has been silent for too long, or is lost."""
        for incarnation, source in run.sources.items():
            heard = self._heard.setdefault(incarnation, now)
            if source.over:
                continue
            silent = not source.silent and source.admission.role not in ("helper", "node")  # these may be for long
            if not self._node.is_local(source.join) and (
                (now - heard > LOST_S and not self.may_live(source, now))
                or (now - heard > SILENT_S and run.sources.is_replaced(source))
            ):
                run.see(source, Sighting(incarnation=incarnation, seen="lost", time_us=now_us()))
            elif silent and now - heard > SILENT_S:
                run.see(source, Sighting(incarnation=incarnation, seen="silent", time_us=now_us()))

    def any_lives(self, run: RunIngest, now: float) -> bool:
        """Say whether the process of a rank of a run may live."""
        return any(
            self.may_live(source, now)
            for source in run.sources.values()
            if source.admission.role in ("rank", "claimant")
        )

    def may_live(self, source: Source, now: float) -> bool:
        """Say whether a source's process lives, as far as we or its node's agent can tell."""
        if self._node.is_local(source.join):
            return self._node.watches.lives(source.join)
        return not source.died and not source.over and self.node_may_live(source.join.node, now)

    def node_may_live(self, node: str, now: float) -> bool:
        """Say whether another node is not lost."""
        return now - self._heard_node.setdefault(node, now) < LOST_S

    def silent_s(self, incarnation: Incarnation, now: float) -> float | None:
        """Return how long ago a rank was heard; None where it never was."""
        return now - self._heard[incarnation] if incarnation in self._heard else None

    def nodes(self, waited_for: Collection[str], now: float) -> list[NodeStatus]:
        """Return what to tell of those of the other nodes that are waited for."""
        return [
            NodeStatus(host=self._host_of.get(node, ""), heard_s=now - heard)
            for node, heard in self._heard_node.items()
            if node in waited_for
        ]
