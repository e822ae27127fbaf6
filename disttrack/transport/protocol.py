"""The messages between sender and writer, as pure functions from values to frames and back.

A message is one ZeroMQ frame: a kind byte and its body. A second frame would be one more hand-over of the
interpreter in the sender's thread, which training pays for.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from disttrack.records.types import Incarnation, Join, Offset, Role, RunId

__all__ = [
    "PROTOCOL_VERSION",
    "Ack",
    "Data",
    "Hello",
    "Message",
    "Moved",
    "Ping",
    "Refusal",
    "Unknown",
    "Welcome",
    "pack",
    "unpack",
]

PROTOCOL_VERSION = 2

_DATA = struct.Struct("<BQQB")
_ACK = struct.Struct("<BQQ")
_WHO = struct.Struct("<BQ")


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """A rank to the writer: this is who I am; the nonce is the one your record named."""

    version: int
    nonce: str
    join: Join


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """The writer's answer: the run you belong to, and the offset up to which its log is whole."""

    incarnation: Incarnation
    nonce: str
    run_id: RunId
    name: str
    group: str | None
    attempt: int
    role: Role
    offset: Offset


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The writer's answer to a Hello it cannot accept."""

    reason: str


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A rank to the writer of a run it opened by itself: I turned out to belong to another run."""

    incarnation: Incarnation
    to: RunId


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


class Ping(NamedTuple):
    """A rank that has nothing to say; answered by an Ack."""

    incarnation: Incarnation


class Unknown(NamedTuple):
    """The writer to a rank it does not know (any more): say Hello again."""

    incarnation: Incarnation


Message = Hello | Welcome | Refusal | Moved | Data | Ack | Ping | Unknown

_STRUCTS: dict[int, type[Hello] | type[Welcome] | type[Refusal] | type[Moved]] = {
    ord("H"): Hello,
    ord("W"): Welcome,
    ord("R"): Refusal,
    ord("M"): Moved,
}
_KINDS = {struct_type: bytes([kind]) for kind, struct_type in _STRUCTS.items()}


def pack(message: Message) -> list[bytes]:
    """Return the frames of a message."""
    if isinstance(message, Data):
        flags = message.urgent | message.final << 1
        return [_DATA.pack(ord("D"), message.incarnation, message.offset, flags) + message.data]
    if isinstance(message, Ack):
        return [_ACK.pack(ord("A"), *message)]
    if isinstance(message, Ping):
        return [_WHO.pack(ord("P"), message.incarnation)]
    if isinstance(message, Unknown):
        return [_WHO.pack(ord("U"), message.incarnation)]
    return [_KINDS[type(message)] + msgspec.msgpack.encode(message)]


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
        if kind in b"PU":
            _, incarnation = _WHO.unpack(head)
            return Ping(Incarnation(incarnation)) if kind == ord("P") else Unknown(Incarnation(incarnation))
        return msgspec.msgpack.decode(memoryview(head)[1:], type=_STRUCTS[kind])
    except (IndexError, KeyError, struct.error, msgspec.MsgspecError) as error:
        raise ValueError(f"not a message: {error}") from error
