"""Thousands of simulated ranks in one process: they say what real ranks and agents say, over as many connections."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import zmq

from benchmarks.rows import rows
from disttrack.records.codec import EXPLICIT_STEP, RowEncoder, encode
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Incarnation, Join
from disttrack.transport.curve import ClientKey
from disttrack.transport.protocol import (
    PROTOCOL_VERSION,
    Ack,
    Data,
    Hello,
    Message,
    NodeHello,
    NodeWelcome,
    Unknown,
    Welcome,
    pack,
    unpack,
)

__all__ = ["ON_THE_WAY", "Crowd", "Way"]

KEYS, ROWS_A_BATCH = 10, 10  # a batch: what a rank says at one flush, 1.1 kB
POOL = 2_000  # different batches: 2 MB, twice what one commit compresses at a time
ON_THE_WAY = 2_000  # batches that are not acknowledged yet, of all ranks: two commits; more would only wait
BEAT_S = 2.0  # of agents
RESEND_S = 1.0
SILENT_S = 60.0
LOOKS = 256  # messages read before something else is done


class Way(NamedTuple):
    """Where and how to connect; over ipc without keys."""

    endpoint: str
    nonce: str
    server_key: bytes | None
    client_key: ClientKey | None


class _Rank:
    """One simulated rank, and what it has sent that was not acknowledged."""

    __slots__ = ("at", "connection", "end", "hello", "incarnation", "join", "waiting")

    def __init__(self, join: Join, nonce: str, connection: bytes) -> None:
        self.join = join
        self.incarnation = join.incarnation
        self.hello = pack(Hello(version=PROTOCOL_VERSION, nonce=nonce, join=join))
        self.connection = connection
        self.end = 0
        self.at = random.Random(join.rank.rank).randrange(POOL)  # in the pool
        self.waiting: deque[tuple[Data, float]] = deque()  # and when


class Crowd:
    """Ranks, each over a connection of its own, or all of a node over its agent's.

    One ROUTER that connects again and again under another routing id makes real connections, each with its own
    handshake, and one socket is polled.
    """

    def __init__(self, joins: list[Join], ranks_an_agent: int, way: Way) -> None:
        """ranks_an_agent: 0 or 1 where each rank has a connection; without agents' own messages if it is 0."""
        self._agents = ranks_an_agent > 1
        self._way = way
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        for option in (zmq.LINGER, zmq.SNDHWM, zmq.RCVHWM):
            self._socket.setsockopt(option, 0)
        if way.server_key is not None and way.client_key is not None:
            self._socket.curve_serverkey = way.server_key
            self._socket.curve_publickey, self._socket.curve_secretkey = way.client_key
        self._ranks: dict[Incarnation, _Rank] = {}
        self._on: dict[bytes, list[_Rank]] = {}
        for number, join in enumerate(joins):
            rank = _Rank(join, way.nonce, b"%08d" % (number // max(ranks_an_agent, 1)))
            self._ranks[rank.incarnation] = rank
            self._on.setdefault(rank.connection, []).append(rank)
        self._schema, self._pool = _batches()
        self._beat = self._progressed = 0.0

    def connect(self) -> float:
        """Return the seconds until every rank is welcome."""
        began = time.perf_counter()
        self._beat = began
        for connection, ranks in self._on.items():
            self._socket.setsockopt(zmq.CONNECT_ROUTING_ID, connection)
            self._socket.connect(self._way.endpoint)
            self._send(connection, self._node_hello(ranks[0]) if self._agents else ranks[0].hello)
        strangers, greeted = set(self._ranks), set[bytes]()
        for connection, message in self._answers():
            if isinstance(message, NodeWelcome) and connection not in greeted:
                greeted.add(connection)
                for rank in self._on[connection]:
                    self._send(connection, rank.hello)
            elif isinstance(message, Welcome):
                strangers.discard(message.incarnation)
                if not strangers:
                    break
        return time.perf_counter() - began

    def flood(self, batches: int, on_the_way: int = ON_THE_WAY) -> float:
        """Return the seconds until so many batches of every rank are durable, with no rank ever idle.

        on_the_way: batches of all ranks that are not acknowledged yet.
        """
        began = time.perf_counter()
        left = dict.fromkeys(self._ranks, batches)
        window = -(-on_the_way // len(self._ranks))
        for incarnation, rank in self._ranks.items():
            for _ in range(min(batches, window)):
                left[incarnation] -= 1
                self._say(rank)
        undone = batches * len(self._ranks)
        for _, message in self._answers():
            if isinstance(message, Ack):
                rank = self._ranks[message.incarnation]
                done = len(self._acknowledge(rank, message.offset))
                undone -= done
                for _ in range(min(done, left[message.incarnation])):
                    left[message.incarnation] -= 1
                    self._say(rank)
                if not undone:
                    break
        return time.perf_counter() - began

    def pace(self, batches_s: float, duration_s: float) -> list[float]:
        """Return after how many seconds each batch was durable, with so many a second and all ranks in turn."""
        ranks, began = list(self._ranks.values()), time.perf_counter()
        said, done, total = 0, list[float](), int(batches_s * duration_s)
        while len(done) < total:
            owed = min(total, int((time.perf_counter() - began) * batches_s))
            for number in range(said, owed):
                self._say(ranks[number % len(ranks)])
            said = max(said, owed)
            for _, message in self._look(wait_ms=1):
                if isinstance(message, Ack):
                    done += self._acknowledge(self._ranks[message.incarnation], message.offset)
        return done

    def end(self) -> dict[Incarnation, int]:
        """Let every rank say its last record; return where each journal ends, once all is durable."""
        last = encode(RecordKind.END, End(exit_code=0, logged=0, dropped=0, time_us=0))
        left = dict(self._ranks)
        for rank in self._ranks.values():
            self._say(rank, last, final=True)
        for _, message in self._answers():
            if isinstance(message, Ack):
                rank = self._ranks[message.incarnation]
                self._acknowledge(rank, message.offset)
                if not rank.waiting:
                    left.pop(message.incarnation, None)
                if not left:
                    break
        return {incarnation: rank.end for incarnation, rank in self._ranks.items()}

    def close(self) -> None:
        """Disconnect all."""
        self._socket.close(linger=0)
        self._context.term()

    def _say(self, rank: _Rank, data: bytes | None = None, *, final: bool = False) -> None:
        if data is None:
            data = self._pool[rank.at % POOL] if rank.end else self._schema + self._pool[rank.at % POOL]
            rank.at += 1
        message = Data(rank.incarnation, rank.end, final, final, data)
        self._send(rank.connection, pack(message))
        rank.end += len(data)
        rank.waiting.append((message, time.perf_counter()))

    def _acknowledge(self, rank: _Rank, offset: int) -> list[float]:
        now, done = time.perf_counter(), list[float]()
        while rank.waiting and rank.waiting[0][0].offset < offset:
            done.append(now - rank.waiting.popleft()[1])
        if done:
            self._progressed = now
        return done

    def _node_hello(self, rank: _Rank) -> list[bytes]:
        join = rank.join
        return pack(NodeHello(version=PROTOCOL_VERSION, nonce=self._way.nonce, node=join.node, host=join.host))

    def _send(self, connection: bytes, frames: list[bytes]) -> None:
        self._socket.send_multipart([connection, *frames], zmq.NOBLOCK)

    def _answers(self) -> Iterator[tuple[bytes, Message]]:
        """Yield what the writer says, for ever; raise TimeoutError once it has been silent for long."""
        heard = time.perf_counter()
        while True:
            for answer in self._look(wait_ms=200):
                heard = time.perf_counter()
                yield answer
            if time.perf_counter() - heard > SILENT_S:
                raise TimeoutError(f"the writer has said nothing for {SILENT_S:g} s")

    def _send_again(self) -> None:
        """Say once more what was not acknowledged, as ranks do: it was not taken, or a connection broke with it."""
        for rank in self._ranks.values():
            for message, _ in rank.waiting:
                self._send(rank.connection, pack(message))

    def _look(self, wait_ms: int) -> Iterator[tuple[bytes, Message]]:
        """Yield what is there after at most wait_ms."""
        now = time.perf_counter()
        if now - self._progressed > RESEND_S:
            self._progressed = now
            self._send_again()
        if self._agents and now - self._beat >= BEAT_S:
            self._beat = now
            for connection, ranks in self._on.items():
                self._send(connection, self._node_hello(ranks[0]))
        if self._socket.poll(wait_ms):
            for _ in range(LOOKS):
                try:
                    connection, frame = self._socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    return
                message = unpack([frame])
                if isinstance(message, Unknown):
                    raise RuntimeError("the writer does not know a rank that it welcomed")
                yield connection, message


def _batches() -> tuple[bytes, list[bytes]]:
    """Return a row that says the schema, and POOL batches of rows that need no more, as journals hold them."""
    encoder = RowEncoder()
    data = rows(POOL * ROWS_A_BATCH, KEYS)
    schema = encoder.encode(data[0], 0, 0, EXPLICIT_STEP, [])
    encoded = [encoder.encode(row, step, step, EXPLICIT_STEP, []) for step, row in enumerate(data)]
    return schema, [b"".join(encoded[at : at + ROWS_A_BATCH]) for at in range(0, len(encoded), ROWS_A_BATCH)]
