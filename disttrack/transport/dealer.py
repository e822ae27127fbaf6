"""The rank's end of the wire: one DEALER socket to one writer. Imported by the sender's thread only.

zmq is loaded here and in receiver, so that neither `import disttrack` nor init pay for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import zmq

from disttrack.transport.protocol import Message, pack, unpack

__all__ = ["Dealer"]

SPARE_DESCRIPTORS = 16  # libzmq ends the process where its context, its threads or a connection get none

_contexts: dict[int, zmq.Context[zmq.Socket[bytes]]] = {}
_parents: list[zmq.Context[zmq.Socket[bytes]]] = []  # in a forked child: never closed, never collected


def _context() -> zmq.Context[zmq.Socket[bytes]]:
    """Return this process's context (one made before a fork belongs to the parent)."""
    return _contexts.get(os.getpid()) or _contexts.setdefault(os.getpid(), zmq.Context())


def _keep_parents_contexts() -> None:
    _parents.extend(_contexts.values())
    _contexts.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_parents_contexts)


def _check_descriptors() -> None:
    """Raise OSError where this process has too few descriptors left for libzmq to live with."""
    probes: list[int] = []
    try:
        for _ in range(SPARE_DESCRIPTORS):
            probes.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise OSError(errno.EMFILE, "this process has too few file descriptors left to reach its writer") from error
    finally:
        for fd in probes:
            os.close(fd)


class Dealer:
    """A connection to a writer. Nothing waits in it: what the writer does not read is not taken (LINGER 0)."""

    def __init__(self, address: str) -> None:
        """Connect; raise OSError where the process has no descriptors left."""
        _check_descriptors()
        self._socket = _context().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(address)

    def send(self, message: Message) -> bool:
        """Send a message; say whether it was taken. Never blocks."""
        try:
            self._socket.send_multipart(pack(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def answers(self) -> Iterator[Message]:
        """Yield the answers that have arrived; raise ValueError where one is no message."""
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:  # recv lets go of the interpreter even for nothing
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield unpack(frames)

    def ask(self, message: Message, timeout_s: float) -> Message | None:
        """Send a message and return the first answer; None where none comes in time."""
        self._socket.send_multipart(pack(message))
        return unpack(self._socket.recv_multipart()) if self._socket.poll(int(1000 * timeout_s)) else None

    def wait(self, bell: int, timeout_s: float) -> bool:
        """Wait until an answer comes, the descriptor bell is readable, or the timeout; say whether the bell rang."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(bell, zmq.POLLIN)
        return bell in dict(poller.poll(int(1000 * timeout_s)))

    def close(self) -> None:
        """Disconnect."""
        self._socket.close(linger=0)
