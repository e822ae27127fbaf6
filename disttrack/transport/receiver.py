"""The writer's end of the wire: one ROUTER socket, and the processes it watches beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import zmq

from disttrack.transport.protocol import Message, pack, unpack

__all__ = ["Peer", "Receiver"]

Peer = bytes  # the routing id ZeroMQ gave a connection
MAX_MESSAGE_BYTES = 96 << 20  # one record of 64 MiB and its envelope; strangers may claim 2^62
BATCH = 256  # messages taken before commits and processes are looked at again


class Receiver:
    """Receives messages of ranks, and waits for messages and process ends together."""

    def __init__(self, path: Path) -> None:
        """Listen at a socket path in a directory that is ours alone."""
        self.address = f"ipc://{path}"
        self.refused = 0  # messages that were none
        self._path = path
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # bounded by each rank's window of un-acknowledged bytes
        self._socket.setsockopt(zmq.SNDHWM, 0)  # acknowledgements only: 17 bytes each
        self._socket.bind(self.address)
        os.chmod(path, 0o600)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)

    def watch(self, fd: int) -> None:
        """Let wait return when fd becomes readable."""
        self._poller.register(fd, zmq.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop watching fd (before it is closed)."""
        self._poller.unregister(fd)

    def wait(self, timeout_s: float) -> list[int]:
        """Wait until a message, a watched descriptor or the timeout comes; return the descriptors that are readable."""
        ready = self._poller.poll(max(0, int(1000 * timeout_s + 0.999)))
        return [item for item, _ in ready if isinstance(item, int)]

    def messages(self) -> Iterator[tuple[Peer, Message]]:
        """Yield the messages that have arrived, at most BATCH; what is no message is counted and dropped."""
        for _ in range(BATCH):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = unpack(frames)
            except ValueError:
                self.refused += 1
                continue
            yield peer, message

    def send(self, peer: Peer, message: Message) -> None:
        """Send a message to a peer; one that is gone is no error (it will say Hello again)."""
        self._socket.send_multipart([peer, *pack(message)], zmq.NOBLOCK)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close(linger=100)  # the last acknowledgements may still be on their way
        self._context.term()
        self._path.unlink(missing_ok=True)
