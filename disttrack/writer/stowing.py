"""The writer's care for blobs: those of its own node's spools, and those that other nodes send.

In: what ranks and agents say of blobs, and who died here. Out: files of the run and BLOB frames, and whether a run has
to wait for some. Called by Writer.
"""

from __future__ import annotations

from disttrack.transport.protocol import Offer, Piece, Waiting
from disttrack.transport.receiver import Peer
from disttrack.writer.arrivals import Arrivals
from disttrack.writer.blobs import has_left, sweep
from disttrack.writer.hearing import Hearing
from disttrack.writer.ingest import RunIngest
from disttrack.writer.node import Node
from disttrack.writer.porter import Porter
from disttrack.writer.roster import Source

__all__ = ["Stowing"]


class Stowing:
    """Stores the blobs of a launch's runs."""

    def __init__(self, node: Node, hearing: Hearing) -> None:
        self._node = node
        self._hearing = hearing
        self._porter = Porter(node.complain)
        self._arrivals = Arrivals(node.receiver, node.complain)

    @property
    def due_s(self) -> float:
        """The seconds until work is to be called."""
        return min(self._porter.due_s, self._arrivals.due_s)

    def work(self) -> bool:
        """Do what is due; say whether something came further."""
        return self._porter.work() | self._arrivals.work()

    def take(self, peer: Peer, message: Waiting | Offer | Piece, run: RunIngest, source: Source) -> None:
        """Take what a rank or an agent says of blobs."""
        if not isinstance(message, Waiting):
            self._arrivals.take(peer, message, run, source)
        elif self._node.is_local(source.join):
            self._porter.look(run, source)
        else:
            source.blobs_waiting = message.blobs

    def look(self, run: RunIngest, source: Source) -> None:
        """See to what a source has left, if it is of this node."""
        if self._node.is_local(source.join):
            self._porter.look(run, source)

    def holds(self, run: RunIngest, now: float) -> bool:
        """Say whether blobs of a run all of whose sources ended are not stored, and may be; see to those of here."""
        if self._porter.waits_for(run) or self._arrivals.waits_for(run):
            return True
        waits = False
        for source in run.sources.values():
            if self._node.is_local(source.join):
                if has_left(source.join.journal):
                    self._porter.look(run, source)
                    waits = True
            elif source.blobs_waiting and self._hearing.node_may_live(source.join.node, now):
                waits = True
        return waits

    def end(self, run: RunIngest) -> None:
        """Clean up behind a run that has ended."""
        sweep(run.directory)

    def close(self) -> None:
        """Leave what was not stored to whoever comes next."""
        self._porter.close()
        self._arrivals.close()
