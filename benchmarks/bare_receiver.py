"""The limit of fan-in: a socket that takes the same messages and appends them to one file."""

from __future__ import annotations

import os
import resource
import time

import msgspec
import zmq

from disttrack.records.types import Incarnation, Offset, RunId
from disttrack.transport.curve import new_credentials
from disttrack.transport.meeting import Address
from disttrack.transport.protocol import Ack, Data, Hello, Message, NodeHello, NodeWelcome, Welcome, pack, unpack

__all__ = ["receive"]

SYNC_S, SYNC_BYTES = 0.1, 1 << 20  # as the writer commits
NONCE = "bare"


def receive() -> None:
    """In a process of its own: say where it listens, append what comes, and answer once it is on the disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    secret, _, credentials = new_credentials(NONCE)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    for option, value in ((zmq.RCVHWM, 0), (zmq.SNDHWM, 0), (zmq.BACKLOG, 4096)):
        router.setsockopt(option, value)
    router.curve_secretkey, router.curve_server = secret, True
    router.bind("tcp://127.0.0.1:*")
    endpoint = router.getsockopt_string(zmq.LAST_ENDPOINT)
    address = Address(endpoints=(endpoint,), credentials=credentials, nonce=NONCE, node="", host="", pid=os.getpid())
    print(msgspec.json.encode(address).decode(), flush=True)
    fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    waiting: dict[Incarnation, tuple[bytes, int]] = {}
    synced, appended = time.monotonic(), 0
    while True:
        if router.poll(int(1000 * SYNC_S)):
            peer, frame = router.recv_multipart()
            message = unpack([frame])
            if isinstance(message, Data):
                appended += os.write(fd, message.data)
                waiting[message.incarnation] = peer, message.offset + len(message.data)
            else:
                router.send_multipart([peer, *pack(_answer(message))])
        if waiting and (appended >= SYNC_BYTES or time.monotonic() - synced >= SYNC_S):
            os.fdatasync(fd)
            synced, appended = time.monotonic(), 0
            for incarnation, (peer, end) in waiting.items():
                router.send_multipart([peer, *pack(Ack(incarnation, end))])
            waiting.clear()


def _answer(message: Message) -> Message:
    if isinstance(message, NodeHello):
        return NodeWelcome(nonce=NONCE)
    assert isinstance(message, Hello)
    return Welcome(
        incarnation=message.join.incarnation,
        nonce=NONCE,
        run_id=RunId("run"),
        name="run",
        group=None,
        attempt=0,
        role="rank",
        offset=Offset(0),
    )
