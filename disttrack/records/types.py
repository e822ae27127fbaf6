"""Who says something, and what the writer adds, as typed values: the same bytes on the wire and on disk.

What a process says of itself and its training, the records of its journal, is in records.payloads.

Structs are msgpack maps, so that a field can be added without a new format version: a reader
ignores fields it does not know and fills those it misses with their defaults.
"""

from __future__ import annotations

import os
from typing import Literal, NewType, TypeVar

import msgspec

from disttrack.records.structs import prepare

__all__ = [
    "Admission",
    "Alias",
    "Edit",
    "Incarnation",
    "Join",
    "Lineage",
    "Offset",
    "Rank",
    "Role",
    "RowSchema",
    "RunEnd",
    "RunHeader",
    "RunId",
    "Sighting",
    "changed",
    "new_incarnation",
]

_Value = TypeVar("_Value", bound=msgspec.Struct)
RunId = NewType("RunId", str)
Incarnation = NewType("Incarnation", int)  # one life of one rank process, 64 random bits
Offset = NewType("Offset", int)  # bytes from the start of an incarnation's journal

Role = Literal["rank", "helper", "claimant", "node"]
"""claimant: a second living process that says it is this rank; node: the process that takes samples of a node."""
RowSchema = tuple[tuple[str, ...], str]  # keys, and one kind letter a key: d float64, q int64, ? bool


def changed(value: _Value, **fields: object) -> _Value:
    """Return a copy of a Struct with some fields changed."""
    return msgspec.structs.replace(value, **fields)


def new_incarnation() -> Incarnation:
    """Return 64 random bits, never zero."""
    return Incarnation(int.from_bytes(os.urandom(8), "little") or 1)


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process stands in its launch, and which source said so.

    local_rank is None where the source does not know it. settled is False while a process group may
    still tell more (DESIGN: pending processes).
    """

    rank: int
    world_size: int
    local_rank: int | None = None
    source: str
    settled: bool = True


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where an attempt begins: behind a step of its own run (resumed, rewound), or of another one (forked).

    step: the last one that counts; None: there was none, or it was not found in time.
    """

    kind: Literal["resumed", "rewound", "forked"]
    run_id: str
    step: int | None = None


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to file one incarnation's records, now or a year from now.

    It is the header of the journal, part of the hello to the writer, and of its admission to the run log. A
    rank that learns its launch later leaves a newer one beside the journal (docs/decisions/0001).
    """

    incarnation: Incarnation
    launch_key: str
    ordinal: int  # how many-th init with this project, group and id in its process: 0, 1, ...
    root: str
    shared: bool = False  # the root is made for its group, if it is made now
    project: str
    group: str | None  # as given
    given_id: str | None
    own_id: RunId  # the run's id if this incarnation is the one that opens it
    name: str | None  # as given
    job_type: str | None  # as given; the rank's own is made from it
    rank_job_type: str | None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    entity: str | None = None  # as given
    cwd: str = ""  # the working directory
    auto: bool = False  # resume="auto": it goes on with the last run of its directory that failed
    lineage: Lineage | None = None  # as the primary found it
    rank: Rank
    role: Role = "rank"
    parent: Incarnation | None = None  # of a helper; of a node, a rank on it
    hints: tuple[tuple[str, str], ...] = ()  # what tells one attempt from the next
    host: str
    boot_id: str
    node: str = ""  # environments.host.node_id: processes of one node can watch each other
    nodes: int | None = None  # of the launch; None where the launcher does not say
    meeting: str = ""  # where the nodes of the launch meet (environments.launch.Identity)
    job: str = ""  # what a scheduler calls the launch (environments.launch.Job); "" where none started it
    requeues: int = 0  # how often it has started it again
    run_id: RunId | None = None  # the run that welcomed it
    pid: int
    start_time: int  # of the process, in clock ticks since boot
    sample_s: float = 0.0  # how often this rank wants samples of its node; 0 for none
    sample_quota_bytes: int | None = None  # what their journal may take
    error_file: str = ""  # where the process leaves for its launcher why it failed
    journal: str  # the directory of this incarnation's journal
    time_us: int

    @property
    def is_onlooker(self) -> bool:
        """Whether it has something to say of a rank of its launch, but is no child of one: whoever controls them."""
        return self.role == "helper" and self.parent is None


# What the writer adds in frames of its own.


class RunHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of every segment."""

    format_version: int
    run_id: RunId
    project: str
    name: str  # generated; a name given by the primary wins
    group: str | None
    launch_key: str
    ordinal: int
    meeting: str = ""  # these three of the rank that opened it
    job: str = ""
    requeues: int = 0
    nonce: str  # of the writer's life
    time_us: int


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """The writer's word on an incarnation, before its first bytes in a segment."""

    join: Join
    attempt: int
    role: Role
    orphan: bool = False  # its journal never met a writer and was brought home later


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a writer or agent saw of an incarnation: it ended, fell silent, came back, or its process went."""

    incarnation: Incarnation
    seen: Literal["ended", "silent", "running", "crashed", "lost", "moved"]
    time_us: int
    exit_code: int | None = None  # as the rank said; of "crashed", and where it says more than the rank: of its process
    signal: int | None = None  # that its process died of, also after it ended
    stopped: bool = False  # of "ended": before it was done, as the rank said
    exception: str | None = None  # that the process left for its launcher


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """This run turned out to be a rank of another run; its id stays an alias of that one."""

    of: RunId


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What a person changed of a run; it beats the program's word from then on. None leaves a field as it is."""

    author: str
    time_us: int
    name: str | None = None
    notes: str | None = None
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    archived: bool | None = None


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Every rank that joined has ended."""

    time_us: int


prepare(globals())
