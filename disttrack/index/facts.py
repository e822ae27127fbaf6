"""What the index knows of a run and of its sources besides their rows: kept as blobs, handed to query.

A fact has the place in the log that it came from beside it where a later one must win: arrival order
is not call order when two writers or a refill brought the bytes.
"""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from disttrack.index.cover import Cover
from disttrack.records.types import Edit, End, Incarnation, Join, Role, RunHeader
from disttrack.records.values import plain

__all__ = ["Cursor", "RunFacts", "SegmentFacts", "Sighted", "SourceFacts", "pack"]


class SegmentFacts(msgspec.Struct):
    """How far one segment was read, and what tells it from another file of the same name."""

    number: int
    inode: int
    size: int  # when it was last looked at
    head: bytes = b""  # the first frame's header, which holds a checksum over the writer's nonce
    position: int = 0
    by_writer: bool = False  # it says something of ranks: a person's edits do not reopen a run
    over_us: int | None = None  # the time of a RunEnd that nothing has voided


class RunFacts(msgspec.Struct, kw_only=True):
    """A run: its header, where its log was read up to, and what went wrong with it."""

    header: RunHeader | None = None  # of the lowest segment; None where it is damaged
    header_in: int = -1
    alias_of: str | None = None
    edits: list[tuple[int, Edit]] = []  # by segment, in whatever order they were read
    segments: list[SegmentFacts] = []
    damage: int = 0  # frames that could not be read
    newer: tuple[str, int] | None = None  # path and format version of a segment this disttrack cannot read

    @property
    def over_us(self) -> int | None:
        """When the run ended, in µs; None while it goes on: only an END as the last writer's last word counts."""
        return next((segment.over_us for segment in reversed(self.segments) if segment.by_writer), None)


class Sighted(msgspec.Struct):
    """The newest sighting of a source, by its place in the log."""

    seen: Literal["ended", "silent", "running", "crashed", "lost", "moved"]
    exit_code: int | None  # of "ended"
    time_us: int
    segment: int
    position: int


class SourceFacts(msgspec.Struct, kw_only=True):
    """One incarnation in one run. Values of last and config are as they were logged; *_at are offsets."""

    incarnation: Incarnation
    rank_hint: int = 0  # as its entries say; for want of a join
    join: Join | None = None  # the newest
    join_newness: tuple[bool, int] = (False, -1)  # of two, a settled one, then that of the higher segment
    attempt: int = 0
    role: Role = "rank"
    orphan: bool = False
    admitted_in: int | None = None  # the segment whose admission counts: the lowest
    cover: Cover = msgspec.field(default_factory=Cover)
    stored: int = 0  # records of USER_KINDS
    rows: int = 0
    min_step: int | None = None
    max_step: int | None = None
    last_time_us: int | None = None  # the greatest of its records and sightings
    last: dict[str, object] = {}  # summary keys to their last values
    last_at: dict[str, int] = {}  # also of keys that were removed
    by_hand: set[str] = set()  # keys that were set in the summary, not only logged
    config: dict[str, object] = {}
    config_at: dict[str, int] = {}
    ended: End | None = None
    ended_at: int = -1
    sighted: Sighted | None = None
    damage: int = 0  # ranges of its bytes that are no record, and records that say nothing

    def saw_time(self, time_us: int) -> None:
        """Note that something of this source happened at time_us."""
        if self.last_time_us is None or time_us > self.last_time_us:
            self.last_time_us = time_us

    def saw_steps(self, low: int, high: int) -> None:
        """Note that steps from low to high were logged."""
        self.min_step = low if self.min_step is None else min(low, self.min_step)
        self.max_step = high if self.max_step is None else max(high, self.max_step)


class Cursor(msgspec.Struct):
    """What decoding a source's next bytes needs besides its facts."""

    schemas: dict[int, int] = {}  # the incarnation's schema ids to the run's
    orphans: list[tuple[int, int, bytes]] = []  # rows whose schema is not known yet: schema id, offset, body


def pack(value: RunFacts | SourceFacts | Cursor | list[object]) -> bytes:
    """Return value as msgpack; ints beyond 64 bits become the extension BIG_INT, which codec.decode turns back."""
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return msgspec.msgpack.encode(_without_big_ints(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _without_big_ints(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_big_ints(item) for key, item in cast(dict[str, object], value).items()}
    if isinstance(value, list | tuple):
        return [_without_big_ints(item) for item in cast(list[object], value)]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # msgpack holds these, an incarnation among them
        return plain(value)
    return value
