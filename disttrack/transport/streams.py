"""How one incarnation's bytes come whole and in order from its journal into a run log, as three small state machines.

Outgoing is the rank's, Passing the node agent's, Incoming the writer's. None knows a socket, a clock or a file: they
are told what was taken, what arrived and what time it is, and say what may go on. Messages may be lost, doubled or late
at any hop, and any of the three may begin anew; the journal and the log are what lasts.
"""

from __future__ import annotations

__all__ = ["WINDOW_BYTES", "Incoming", "Outgoing", "Passing"]

WINDOW_BYTES = 4 << 20  # sent and not acknowledged; the rest waits in the journal
RESEND_S, RESEND_AT_MOST_S = 1.0, 4.0  # at most: P10 grants a disk with room again 5 s


class Outgoing:
    """What a rank has said to one writer: sent up to one offset, acknowledged up to another."""

    def __init__(self, offset: int, now: float) -> None:
        """offset: up to which the writer's log is whole, as its Welcome says."""
        self.acked = self.sent = offset
        self.final = False  # the End record was sent as such
        self.progressed = self.waits = now  # waits: since when the first of what is not acknowledged does
        self._resend_s = RESEND_S

    @property
    def has_room(self) -> bool:
        """Say whether more may be sent before anything is acknowledged."""
        return self.sent - self.acked < WINDOW_BYTES

    def took(self, end: int, now: float, *, final: bool = False) -> None:
        """Note that everything up to end was sent; final: with the End record as the last one."""
        if self.sent == self.acked:
            self.waits = now  # whatever is sent after it: a rank that goes on logging always has more to say
        self.sent, self.final = max(self.sent, end), self.final or final

    def acknowledged(self, offset: int, now: float) -> None:
        """Note that everything below offset is on the writer's disk."""
        if offset > self.acked:
            self.acked, self.progressed, self._resend_s = offset, now, RESEND_S
            self.sent = max(self.sent, offset)

    def resend(self, now: float) -> bool:
        """Say whether what was sent counts as lost, and begin again where the acknowledgements ended if it does."""
        if self.sent == self.acked or now - max(self.progressed, self.waits) <= self._resend_s:
            return False
        self.sent, self.final = self.acked, False
        self._resend_s = min(2 * self._resend_s, RESEND_AT_MOST_S)  # a slow way to another node is no lost message
        return True


class Passing:
    """What an agent has passed on to one writer, over a connection that loses nothing until it breaks."""

    def __init__(self) -> None:
        self.welcomed = False  # on this connection
        self.sent = self.acked = 0

    @property
    def has_room(self) -> bool:
        """Say whether more of a dead rank's journal may be passed on before anything is acknowledged."""
        return self.sent - self.acked < WINDOW_BYTES

    def welcome(self, offset: int) -> None:
        """Begin where the writer's log ends."""
        self.welcomed, self.sent, self.acked = True, offset, offset

    def broke(self) -> None:
        """Forget the connection: what was passed on may be lost, and the rank is asked to begin anew."""
        self.welcomed = False

    def wants(self, offset: int, end: int, *, urgent: bool = False) -> bool:
        """Say whether the bytes from offset to end are to be passed on: they have not been, and leave no gap."""
        return self.welcomed and offset <= self.sent and (end > self.sent or urgent)

    def took(self, end: int) -> None:
        """Note that everything up to end was passed on."""
        self.sent = max(self.sent, end)

    def acknowledged(self, offset: int) -> None:
        """Note what the writer has on its disk."""
        self.acked = max(self.acked, offset)
        self.sent = max(self.sent, offset)


class Incoming:
    """What a writer has of an incarnation: arrived up to one offset, on disk up to another."""

    def __init__(self, offset: int) -> None:
        """offset: up to which the log is whole."""
        self.end = self.committed = offset

    def fresh(self, offset: int, size: int) -> int | None:
        """Return how many of size bytes from offset on are known already; None where none are new or some are missing.

        After a gap nothing is taken: it is sent again.
        """
        if offset > self.end or offset + size <= self.end:
            return None
        return self.end - offset

    def take(self, size: int) -> None:
        """Note that so many fresh bytes have arrived."""
        self.end += size

    def commit(self) -> None:
        """Note that all that has arrived is on disk."""
        self.committed = self.end

    def give_up(self) -> None:
        """Forget what has arrived and could not be brought to the disk: it is sent again."""
        self.end = self.committed
