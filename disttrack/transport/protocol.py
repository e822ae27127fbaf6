"""The messages between ranks, node agents and the writer, as pure functions from values to frames and back.

A message is one ZeroMQ frame: a kind byte and its body. A second frame would be one more hand-over of the
interpreter in the sender's thread, which training pays for. Every message of a rank and every answer to it names the
incarnation, so a node's agent passes both on as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from disttrack.records.blobs import Blob
from disttrack.records.payloads import End
from disttrack.records.structs import prepare
from disttrack.records.types import Incarnation, Join, Offset, Role, RunId
from disttrack.transport.status import Status

__all__ = [
    "PROTOCOL_VERSION",
    "Ack",
    "Ask",
    "Buried",
    "Data",
    "Died",
    "Gone",
    "Hello",
    "Kept",
    "Message",
    "Moved",
    "NodeHello",
    "NodeWelcome",
    "Offer",
    "Over",
    "Piece",
    "Ping",
    "Refusal",
    "Unknown",
    "Wait",
    "Waiting",
    "Wanted",
    "Welcome",
    "pack",
    "unpack",
]

PROTOCOL_VERSION = 4

_DATA = struct.Struct("<BQQB")
_ACK = struct.Struct("<BQQ")
_WHO = struct.Struct("<BQ")
_BLOB = struct.Struct("<BQQQ")


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """A rank to the writer: this is who I am; the nonce is the one your record named."""

    version: int
    nonce: str
    join: Join


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """The writer's answer: the run you belong to, and the offset up to which its log is whole.

    speaks: you are the one that tells what there is to know of your node in this attempt.
    """

    incarnation: Incarnation
    nonce: str
    run_id: RunId
    name: str
    group: str | None
    attempt: int
    role: Role
    offset: Offset
    speaks: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The writer's answer to a Hello it cannot accept."""

    incarnation: Incarnation = Incarnation(0)  # 0: a node's Hello
    reason: str


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A rank to the writer of a run it opened by itself: I turned out to belong to another run."""

    incarnation: Incarnation
    to: RunId


class NodeHello(msgspec.Struct, frozen=True, kw_only=True):
    """A node's agent to the writer, first and then every few seconds: this node is here."""

    version: int
    nonce: str
    node: str
    host: str


class NodeWelcome(msgspec.Struct, frozen=True, kw_only=True):
    """The writer's answer to each of them."""

    nonce: str


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """An agent to the writer: this process is gone, and you have its whole journal.

    said: its last record, if that is an End. exit_code, signal, exception: how the process ended, where the node could
    tell; time_us: when the node saw it.
    """

    incarnation: Incarnation
    said: End | None
    exit_code: int | None
    signal: int | None
    exception: str | None = None
    time_us: int | None = None


class Died(msgspec.Struct, frozen=True, kw_only=True):
    """An agent to the writer, at once: this process is gone; what its journal holds follows.

    exit_code, signal, time_us: as of Gone, which may come too late where a scheduler kills the writer for what
    happened here.
    """

    incarnation: Incarnation
    exit_code: int | None = None
    signal: int | None = None
    time_us: int | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to a node's process: how are you? Changes nothing, and keeps nobody alive; answered by a Status."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A rank to its node's process, an agent to the writer: so many blobs of this incarnation are not stored yet."""

    incarnation: Incarnation
    blobs: int


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """An agent to the writer: this blob is here. Answered by Wanted, or Kept where there is nothing to send."""

    incarnation: Incarnation
    blob: Blob


class Data(NamedTuple):
    """Whole journal records from offset on. urgent: commit at once; final: the last of them is the End."""

    incarnation: Incarnation
    offset: int
    urgent: bool
    final: bool
    data: bytes


class Ack(NamedTuple):
    """Everything below offset is on the writer's disk."""

    incarnation: Incarnation
    offset: int


class Wanted(NamedTuple):
    """The writer to an agent: the next piece of this blob is the one at offset."""

    incarnation: Incarnation
    blob: int
    offset: int


class Piece(NamedTuple):
    """A piece of a blob that was offered."""

    incarnation: Incarnation
    blob: int
    offset: int
    data: bytes


class Kept(NamedTuple):
    """The writer to an agent: this blob is stored, and said in the log."""

    incarnation: Incarnation
    blob: int


class Ping(NamedTuple):
    """A rank that has nothing to say; answered by an Ack."""

    incarnation: Incarnation


class Unknown(NamedTuple):
    """The writer to a rank it does not know (any more): say Hello again."""

    incarnation: Incarnation


class Wait(NamedTuple):
    """The node's process to a rank: it has not found the writer yet; say nothing until it has."""

    incarnation: Incarnation


class Buried(NamedTuple):
    """The writer to an agent: how this process ended is stored."""

    incarnation: Incarnation


class Over(NamedTuple):
    """The writer to an agent: the run has ended, and its log holds all of this journal."""

    incarnation: Incarnation


_Struct = Hello | Welcome | Refusal | Moved | NodeHello | NodeWelcome | Died | Gone | Waiting | Offer | Ask | Status
_Word = Ping | Unknown | Wait | Buried | Over
_Blob = Wanted | Piece | Kept
Message = _Struct | _Word | _Blob | Data | Ack

_STRUCTS: dict[int, type[_Struct]] = {
    ord("H"): Hello,
    ord("W"): Welcome,
    ord("R"): Refusal,
    ord("M"): Moved,
    ord("N"): NodeHello,
    ord("n"): NodeWelcome,
    ord("d"): Died,
    ord("G"): Gone,
    ord("B"): Waiting,
    ord("O"): Offer,
    ord("Q"): Ask,
    ord("S"): Status,
}
_WORDS: dict[int, type[_Word]] = {
    ord("P"): Ping,
    ord("U"): Unknown,
    ord("w"): Wait,
    ord("b"): Buried,
    ord("o"): Over,
}
_BLOB_KINDS = frozenset(b"fpk")
_KINDS = {kind_type: kind for kinds in (_STRUCTS, _WORDS) for kind, kind_type in kinds.items()}


def pack(message: Message) -> list[bytes]:
    """Return the frames of a message."""
    if isinstance(message, Data):
        flags = message.urgent | message.final << 1
        return [_DATA.pack(ord("D"), message.incarnation, message.offset, flags) + message.data]
    if isinstance(message, Ack):
        return [_ACK.pack(ord("A"), *message)]
    if isinstance(message, Wanted):
        return [_BLOB.pack(ord("f"), *message)]
    if isinstance(message, Piece):
        return [_BLOB.pack(ord("p"), *message[:3]) + message.data]
    if isinstance(message, Kept):
        return [_BLOB.pack(ord("k"), *message, 0)]
    kind = _KINDS[type(message)]
    if isinstance(message, msgspec.Struct):
        return [bytes([kind]) + msgspec.msgpack.encode(message)]
    return [_WHO.pack(kind, message.incarnation)]


def unpack(frames: Sequence[bytes]) -> Message:
    """Return the message in the frames; raise ValueError where they are none (strangers send garbage)."""
    try:
        head = frames[0]
        kind = head[0]
        if kind == ord("D"):
            _, incarnation, offset, flags = _DATA.unpack_from(head)
            return Data(Incarnation(incarnation), offset, bool(flags & 1), bool(flags & 2), head[_DATA.size :])
        if kind == ord("A"):
            _, incarnation, offset = _ACK.unpack(head)
            return Ack(Incarnation(incarnation), offset)
        if kind in _BLOB_KINDS:
            return _unpack_blob(kind, head)
        word = _WORDS.get(kind)
        if word is not None:
            _, incarnation = _WHO.unpack(head)
            return word(Incarnation(incarnation))
        return msgspec.msgpack.decode(memoryview(head)[1:], type=_STRUCTS[kind])
    except (IndexError, KeyError, struct.error, msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a message: {error}") from error


def _unpack_blob(kind: int, head: bytes) -> Wanted | Piece | Kept:
    _, number, blob, offset = _BLOB.unpack_from(head)
    incarnation = Incarnation(number)
    if kind == ord("p"):
        return Piece(incarnation, blob, offset, head[_BLOB.size :])
    if len(head) != _BLOB.size:
        raise struct.error(f"{len(head)} bytes")
    return Wanted(incarnation, blob, offset) if kind == ord("f") else Kept(incarnation, blob)


prepare(globals())
