"""An agent's connection to the writer on another node: one DEALER over tcp, encrypted and proven both ways."""

from __future__ import annotations

from collections.abc import Iterator

import zmq

from disttrack.transport.curve import client_key
from disttrack.transport.meeting import Address
from disttrack.transport.protocol import Message, pack, unpack
from disttrack.transport.receiver import HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, MAX_MESSAGE_BYTES

__all__ = ["Uplink"]

QUEUE = 1024  # messages; what does not fit is not taken, and the rank sends it again


class Uplink:
    """The connection of one node to one endpoint: a DEALER with two would deal its messages out to both."""

    def __init__(self, address: Address, endpoint: str) -> None:
        """Begin to connect; raise PermissionError where this node has no right to."""
        key = client_key(address.credentials, address.nonce)
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, QUEUE)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self.socket.setsockopt(zmq.IPV6, "[" in endpoint)
        self.socket.curve_serverkey = address.credentials.server_key.encode()
        self.socket.curve_publickey = key.public
        self.socket.curve_secretkey = key.secret
        self.socket.connect(endpoint)

    def send(self, message: Message) -> bool:
        """Send a message; say whether it was taken. Never blocks."""
        try:
            self.socket.send_multipart(pack(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def messages(self) -> Iterator[Message]:
        """Yield the messages that have arrived; what is none is passed over."""
        while int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                yield unpack(frames)
            except ValueError:
                continue

    def close(self) -> None:
        """Disconnect."""
        self.socket.close(linger=0)
        self._context.term()
