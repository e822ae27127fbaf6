"""What a node's process tells of itself when it is asked (protocol.Ask): numbers and names, and no secret."""

from __future__ import annotations

from typing import Literal

import msgspec

from disttrack.records.structs import prepare
from disttrack.records.types import Role, RunId

__all__ = ["Complaint", "LinkStatus", "MemberStatus", "NodeStatus", "PartName", "Status"]

PartName = Literal["writer", "agent", "undecided"]


class MemberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation, as its node's process or its writer knows it.

    over: it ended, and all it left is stored. heard_s: since its last message; None where it has said nothing yet.
    stored: bytes of its journal that are in the run's log.
    """

    rank: int
    role: Role
    run_id: RunId | None
    host: str
    pid: int
    over: bool
    heard_s: float | None
    stored: int


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Another node, as the writer knows it. heard_s: since a message of its agent."""

    host: str
    heard_s: float


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's connection to the writer. since_s: how long it has been so. why: what is in the way, if not linked."""

    linked: bool
    since_s: float
    endpoint: str | None
    host: str | None
    why: str | None


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, and how long ago it did so last."""

    text: str
    ago_s: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A node's process, as it knows itself.

    protocol: PROTOCOL_VERSION. term: of the writer. pending_bytes: received, and not known to be in a run's log.
    refused: messages that were none, and connections of strangers. endpoints: where it listens for other nodes.
    """

    protocol: int
    part: PartName
    launch_key: str
    host: str
    pid: int
    time_us: int
    age_s: float
    meeting: str
    meeting_answers: bool
    term: int | None = None
    members: tuple[MemberStatus, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    link: LinkStatus | None = None
    endpoints: tuple[str, ...] = ()
    refused: int = 0
    pending_bytes: int = 0
    complaints: tuple[Complaint, ...] = ()


prepare(globals())
