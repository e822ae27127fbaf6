"""How an agent follows a writer whose node is gone: it says so where the nodes meet, and writes once that stands.

Another node's agent may be quicker, and its word may not have arrived here yet: whoever's word stands is the writer.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from disttrack.writer.announcing import Announcement
from disttrack.writer.node import Node

__all__ = ["SUCCEED_S", "Succession"]

SUCCEED_S = 60.0  # without the writer: the lowest node that has the run's directory takes over
SUCCEED_STEP_S = 2.0  # ... the next one so much later


class Succession:
    """One agent's claim to be the next writer, once it has begun."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._said: Announcement | None = None

    @property
    def pending(self) -> bool:
        """Say whether we asked to be the writer, and do not know yet whether we are."""
        return self._said is not None

    def patience_s(self, lowest: int) -> float:
        """Return how long a node without its writer waits for others to follow it; lowest: of the node's ranks."""
        return SUCCEED_S + SUCCEED_STEP_S * min(lowest, 30)

    def begin(self, runs: Iterable[Path]) -> None:
        """Ask to be the writer, where the directories of the runs can be reached: their log says what is stored."""
        directories = list(runs)
        known = self._node.meeting is not None and self._node.meeting.found is not None
        if self._said is None and known and directories and all(any((d / "log").glob("*.dtl")) for d in directories):
            self._said = Announcement(self._node, listen=True, succeed=True)

    def won(self, *, linked: bool) -> Announcement | None:
        """Return our announcement once it stands; give it up where another is the writer, or we are linked to one."""
        said = self._said
        if said is None:
            return None
        said.renew()
        if linked or said.deposed():
            said.retract()
            self._said = None
        elif said.stands:
            self._node.complain("the writer's node has been gone for a minute; this node's process takes over")
            self._said = None
            return said
        return None

    def close(self) -> None:
        """Say that we are not the writer, where we had asked."""
        if self._said is not None:
            self._said.withdraw()
            self._said = None
