"""An agent's way to the writer on another node: found where the nodes meet, kept, and made again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from disttrack.environments.host import hostname
from disttrack.transport.meeting import Address
from disttrack.transport.protocol import PROTOCOL_VERSION, Message, NodeHello, NodeWelcome
from disttrack.transport.status import LinkStatus
from disttrack.transport.uplink import Uplink
from disttrack.writer.node import Node

__all__ = ["SILENT_S", "Link"]

BEAT_S = 2.0
SOON_S = 0.01  # a connection takes some milliseconds
SILENT_S = 10.0  # without an answer of the writer: it is gone, or its node, or the way there
CONNECT_S = 6.0  # ... without a first one: the next endpoint is tried, and each next one given as much longer
CONNECT_AT_MOST_S = 60.0


class Link:
    """The connection to the writer, if there is one. linked: the writer has welcomed this node on it."""

    def __init__(self, node: Node) -> None:
        self.linked = False
        self._node = node
        self._uplink: Uplink | None = None
        self._address: Address | None = None
        self._endpoint: str | None = None
        self._attempts = 0
        self._refusal: str | None = None  # why the writer, or our own keys, would not have us
        now = time.monotonic()
        self._heard = self._lasted = now  # lasted: the last moment of a link, or of waiting for one to a new writer
        self._known: str | None = None  # the writer that was found last
        self._since = now  # when a link began or ended
        self._beat = 0.0

    @property
    def connected(self) -> bool:
        """Say whether there is a connection; the writer may not have welcomed us yet."""
        return self._uplink is not None

    @property
    def nonce(self) -> str:
        """Of the writer that we are connected to."""
        assert self._address is not None
        return self._address.nonce

    @property
    def found(self) -> Address | None:
        """What is known of the writer from where the nodes meet."""
        notice = self._node.meeting.found if self._node.meeting is not None else None
        return notice.writer if notice is not None else None

    @property
    def withdrawn(self) -> bool:
        """Say whether the writer went in order, and no other has come."""
        notice = self._node.meeting.found if self._node.meeting is not None else None
        return notice is not None and notice.writer is None

    @property
    def due_s(self) -> float:
        """The seconds until the next beat, or look for the writer."""
        if self.linked:
            return BEAT_S / 2
        return SOON_S if self.connected and time.monotonic() - self._heard < 1.0 else 0.1

    def gone_s(self, now: float) -> float:
        """Return how long there has been no link to the writer that is known."""
        return now - self._lasted

    def send(self, message: Message) -> bool:
        """Send a message; say whether it was taken."""
        return self._uplink is not None and self._uplink.send(message)

    def answers(self, now: float) -> Iterator[Message]:
        """Yield what the writer said."""
        uplink = self._uplink
        for message in uplink.messages() if uplink is not None else ():
            self._heard = now
            yield message
            if self._uplink is not uplink:
                return  # closed over what it said

    def is_lost(self, now: float) -> bool:
        """Say whether a connection leads nowhere: the writer is silent, or another one is the writer."""
        found = self.found
        new = found is not None and found.nonce != self._known
        if self.linked or new:  # who has just come gets as much time as its predecessor had
            self._lasted, self._known = now, found.nonce if found is not None else self._known
        moved = found is not None and self._address is not None and found.nonce != self._address.nonce
        patience_s = SILENT_S if self.linked else min(CONNECT_S * self._attempts, CONNECT_AT_MOST_S)
        return self.connected and (moved or now - self._heard > patience_s)

    def keep(self, now: float) -> None:
        """Connect where a writer is known, and say now and then that this node is here."""
        if self._uplink is None and (found := self.found) is not None:
            self._connect(found, now)
        if self._uplink is not None and now - self._beat >= BEAT_S:
            hello = NodeHello(version=PROTOCOL_VERSION, nonce=self.nonce, node=self._node.id, host=hostname())
            if self.send(hello):  # not before the connection stands: then at once, not a beat later
                self._beat = now

    def _connect(self, address: Address, now: float) -> None:
        if not address.endpoints:
            if self._node.meeting is not None:
                self._node.meeting.knock()
            return
        endpoint = address.endpoints[self._attempts % len(address.endpoints)]
        self._attempts += 1
        try:
            self._uplink = Uplink(address, endpoint)
        except PermissionError as error:
            self.be_refused(str(error))
            return
        self._node.receiver.listen_to(self._uplink.socket)
        self._address, self._endpoint, self._heard, self._beat = address, endpoint, now, 0.0

    def welcome(self, message: NodeWelcome) -> bool:
        """Take the writer's welcome; say whether it makes a link."""
        if self.linked or self._address is None or message.nonce != self._address.nonce:
            return False
        self.linked, self._attempts, self._refusal = True, 0, None
        self._since = time.monotonic()
        return True

    def be_refused(self, reason: str) -> None:
        """Note, and complain, that this node may not speak to the writer."""
        self._refusal = reason
        self._node.complain(reason)

    def close(self) -> bool:
        """Disconnect; say whether that ended a link."""
        if self._uplink is None:
            return False
        self._node.receiver.forget(self._uplink.socket)
        self._uplink.close()
        self._uplink, self._address, self._endpoint = None, None, None
        was_linked, self.linked = self.linked, False
        if was_linked:
            self._since = time.monotonic()
        return was_linked

    def status(self) -> LinkStatus:
        """Return what to tell of it."""
        writer = self._address or self.found
        known = writer.endpoints if writer is not None else ()
        return LinkStatus(
            linked=self.linked,
            since_s=time.monotonic() - self._since,
            endpoint=self._endpoint or next(iter(known), None),
            host=None if writer is None else writer.host,
            why=None if self.linked else self._refusal or self._in_the_way(writer),
        )

    def _in_the_way(self, writer: Address | None) -> str:
        """Return why there is no link."""
        if writer is None:
            reached = self._node.meeting is not None and self._node.meeting.reached
            return "no writer is announced where the nodes meet" if reached else "the place to meet has never answered"
        if not writer.endpoints:
            return "the writer does not listen for other nodes yet"
        return "the writer does not answer"
