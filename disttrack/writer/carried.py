"""One rank of a node, as the node's agent carries its records to the writer; once the rank is dead, from its journal.

In: what was passed on of it, and what the writer acknowledged. Out: messages for the writer. Called by Relay, which has
the link and the rank's address.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from disttrack.environments.endings import Ending
from disttrack.journal.directories import remove
from disttrack.journal.spool import has_blobs
from disttrack.journal.stored import StoredOutbox
from disttrack.records.types import Join
from disttrack.transport.protocol import Data, Gone, Message
from disttrack.transport.receiver import Peer
from disttrack.transport.status import MemberStatus
from disttrack.transport.streams import Passing

__all__ = ["Carried"]

FRAME_BYTES = 256 << 10


class Carried(Passing):
    """One incarnation of this node, as its agent knows it."""

    def __init__(self, join: Join) -> None:
        super().__init__()
        self.join = join
        self.peer: Peer | None = None
        self.heard: float | None = None
        self.run_id = join.run_id
        self.hello = False  # it waits for a Welcome
        self.final = False  # its last record was passed on
        self.died = False
        self.died_us: int | None = None  # when that was seen first
        self.journal: StoredOutbox | None = None  # once it died: we speak for it
        self.told = False  # the writer was told how it ended, on this link
        self.buried = False
        self.over = False  # its run has ended

    @property
    def home(self) -> bool:
        """Whether nothing of it is missing at the writer: it said so; a node's own process has nothing else to tell."""
        stored = self.join.role == "node" and self.final and self.acked >= self.sent
        return self.over or self.buried or stored

    def passed(self, data: Data) -> None:
        """Note that a piece of its journal was passed on."""
        self.took(data.offset + len(data.data))
        self.final |= data.final

    def open_journal(self) -> None:
        """Take over from the rank, which has said its last word."""
        if self.journal is not None:
            return
        try:
            self.journal = StoredOutbox(Path(self.join.journal))
        except (OSError, ValueError):
            self.over = True  # removed: its run is over
            return
        self.join = self.journal.join

    def bring_home(self, send: Callable[[Message], bool], ending: Callable[[Join], Ending]) -> None:
        """Send the rest of a dead rank's journal, as far as there is room, then how it ended.

        send says whether a message was taken. ending: how a process ended, as this node saw it.
        """
        if self.over or self.journal is None or not self.welcomed:
            return
        while self.has_room:
            data = Data(self.join.incarnation, self.sent, False, False, self.journal.read(self.sent, FRAME_BYTES))
            if not data.data or not send(data):
                break
            self.passed(data)
        if self.acked == self.sent and not self.told and not self.journal.read(self.sent, FRAME_BYTES):
            seen = ending(self.join)
            self.told = send(
                Gone(
                    incarnation=self.join.incarnation,
                    said=self.journal.said(),
                    exit_code=seen.exit_code,
                    signal=seen.signal,
                    exception=seen.exception,
                    time_us=self.died_us,
                )
            )

    def forget(self) -> None:
        """Remove its journal where its run's log holds it whole, now that the run has ended."""
        self.over = True
        directory = Path(self.join.journal)
        try:
            rest = StoredOutbox(directory).read(self.acked, FRAME_BYTES)
        except (OSError, ValueError):
            return
        if not rest and not has_blobs(directory):
            remove(directory)

    def status(self, now: float) -> MemberStatus:
        """Return what to tell of it."""
        return MemberStatus(
            rank=self.join.rank.rank,
            role=self.join.role,
            run_id=self.run_id,
            host=self.join.host,
            pid=self.join.pid,
            over=self.over,
            heard_s=None if self.heard is None else now - self.heard,
            stored=self.acked,
        )
