"""A node process's end of the wire: a ROUTER socket for its own ranks, one for other nodes where there are any.

It also waits for the processes that are watched beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.auth.thread import ThreadAuthenticator

from disttrack.transport.curve import ClientKey
from disttrack.transport.protocol import Message, pack, unpack

__all__ = ["MAX_MESSAGE_BYTES", "Peer", "Receiver"]

MAX_MESSAGE_BYTES = 96 << 20  # one record of 64 MiB and its envelope; strangers may claim 2^62
BATCH = 256  # messages taken before commits and processes are looked at again
BACKLOG = 4096  # connections begun at once; beyond libzmq's 100 the kernel drops them, and they try again after 1 s
QUEUE = 16  # messages of one connection that wait here; the rest waits where it was said
HANDSHAKE_MS = 10_000
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 5_000, 20_000
ZAP_DOMAIN = "disttrack"
# As plain ints: to join two of pyzmq's enumerations takes longer than to send an acknowledgement.
NOBLOCK, NOBLOCK_MORE, RCVMORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.RCVMORE)


class Peer(NamedTuple):
    """A connection: whether it comes from another node, and the routing id that ZeroMQ gave it."""

    remote: bool
    id: bytes


class _AllowList:
    """The ZAP answer: this one client key."""

    def __init__(self, client: ClientKey) -> None:
        self._allowed = client.public
        self.refused = 0

    def callback(self, domain: str, key: bytes) -> bool:
        if domain == ZAP_DOMAIN and key == self._allowed:
            return True
        self.refused += 1
        return False


class Receiver:
    """Receives messages of ranks and nodes, and waits for messages and process ends together."""

    def __init__(self, path: Path) -> None:
        """Listen at a socket path in a directory that is ours alone."""
        self.address = f"ipc://{path}"
        self._garbage = 0
        self._path = path
        self._context = zmq.Context()
        self._local = self._router()
        self._local.bind(self.address)
        os.chmod(path, 0o600)
        self._remote: zmq.Socket[bytes] | None = None
        self._authenticator: ThreadAuthenticator | None = None
        self._allow_list: _AllowList | None = None
        self._poller = zmq.Poller()
        self._poller.register(self._local, zmq.POLLIN)

    def _router(self) -> zmq.Socket[bytes]:
        router = self._context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        router.setsockopt(zmq.RCVHWM, 0)  # bounded by each rank's window of un-acknowledged bytes
        router.setsockopt(zmq.SNDHWM, 0)  # acknowledgements only: 17 bytes each
        router.setsockopt(zmq.BACKLOG, BACKLOG)
        return router

    @property
    def refused(self) -> int:
        """What strangers tried: messages that were none, and connections without the right key."""
        return self._garbage + (self._allow_list.refused if self._allow_list is not None else 0)

    def listen(self, hosts: list[str], server_secret: bytes, client: ClientKey) -> list[str]:
        """Listen for other nodes on a free port of each of these addresses; return where.

        Only who has the client key's secret gets in; without an answer of the allow-list, nobody. Raises OSError.
        """
        self._allow_list = _AllowList(client)
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain=ZAP_DOMAIN, credentials_provider=self._allow_list)
        router = self._router()
        router.curve_secretkey = server_secret
        router.curve_publickey = zmq.curve_public(server_secret)
        router.curve_server = True
        router.setsockopt(zmq.RCVHWM, QUEUE)
        router.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        router.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        router.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        router.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)
        router.setsockopt(zmq.IPV6, any(":" in host for host in hosts))
        addresses: list[str] = []
        for host in hosts:
            name = f"[{host}]" if ":" in host else host
            router.bind(f"tcp://{name}:*")
            addresses.append(router.getsockopt_string(zmq.LAST_ENDPOINT))
        self._remote = router
        self._poller.register(router, zmq.POLLIN)
        return addresses

    def deafen(self) -> None:
        """Stop listening for other nodes."""
        if self._remote is not None:
            self._poller.unregister(self._remote)
            self._remote.close(linger=0)
            self._remote = None
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None

    def watch(self, fd: int) -> None:
        """Let wait return when fd becomes readable."""
        self._poller.register(fd, zmq.POLLIN)

    def listen_to(self, socket: zmq.Socket[bytes]) -> None:
        """Let wait return when another socket has something."""
        self._poller.register(socket, zmq.POLLIN)

    def forget(self, socket: zmq.Socket[bytes]) -> None:
        """Stop waiting for another socket (before it is closed)."""
        self._poller.unregister(socket)

    def unwatch(self, fd: int) -> None:
        """Stop watching fd (before it is closed)."""
        self._poller.unregister(fd)

    def wait(self, timeout_s: float) -> list[int]:
        """Wait until a message, a watched descriptor or the timeout comes; return the descriptors that are readable."""
        ready = self._poller.poll(max(0, int(1000 * timeout_s + 0.999)))
        return [item for item, _ in ready if isinstance(item, int)]

    def messages(self) -> Iterator[tuple[Peer, Message]]:
        """Yield the messages that have arrived, at most BATCH a socket; what is no message is counted and dropped."""
        for remote, socket in ((False, self._local), (True, self._remote)):
            if socket is not None:
                yield from self._messages(socket, remote)

    def _messages(self, socket: zmq.Socket[bytes], remote: bool) -> Iterator[tuple[Peer, Message]]:
        for _ in range(BATCH):
            try:
                id = socket.recv(NOBLOCK)
            except zmq.Again:
                return
            frames = [socket.recv(NOBLOCK)]
            while socket.getsockopt(RCVMORE):
                frames.append(socket.recv(NOBLOCK))
            try:
                message = unpack(frames)
            except ValueError:
                self._garbage += 1
                continue
            yield Peer(remote, id), message

    def send(self, peer: Peer, message: Message) -> None:
        """Send a message to a peer; one that is gone is no error (it will say Hello again)."""
        socket = self._remote if peer.remote else self._local
        if socket is not None:
            socket.send(peer.id, NOBLOCK_MORE)
            (frame,) = pack(message)
            socket.send(frame, NOBLOCK)

    def close(self) -> None:
        """Stop listening."""
        if self._remote is not None:
            self._remote.setsockopt(zmq.LINGER, 100)
        self.deafen()
        self._local.close(linger=100)  # the last acknowledgements may still be on their way
        self._context.term()
        self._path.unlink(missing_ok=True)
