"""What a verification of a log finds: damaged ranges of its segments, and what of each incarnation is there."""

from __future__ import annotations

import dataclasses
from typing import Literal

from disttrack.index.cover import Cover
from disttrack.records.types import Incarnation

__all__ = ["BAD_RECORD", "NO_HEADER", "DamagedRange", "Found", "Held", "LogCheck", "Loss", "Place"]

NO_HEADER = "the segment does not begin with a HEADER"
BAD_RECORD = "a record within has a wrong checksum, or is cut off"

Loss = Literal["nothing", "pending", "records", "unknown"]
"""What damage cost: the log has it once more; a journal on this host still has it; it is gone; it cannot be told."""

Place = tuple[int, int]
"""The number of a segment, and an offset in it."""


@dataclasses.dataclass(frozen=True)
class Held:
    """Bytes [start, end) of an incarnation's journal; rank: as its admission says, else its entries."""

    rank: int
    incarnation: str  # 16 hexadecimal digits, as its journal's directory is called
    start: int
    end: int


@dataclasses.dataclass
class DamagedRange:
    """Bytes [start, end) of a file that cannot be read, why, and what lay there, as far as what is around it tells.

    kind: of the frame, where its header is whole, as FrameKind calls it; lost: as doctor.losses judges.
    """

    path: str
    start: int
    end: int
    why: str
    held: list[Held] = dataclasses.field(default_factory=list[Held])
    kind: str | None = None
    lost: Loss = "unknown"


@dataclasses.dataclass
class Found:
    """What was found of an incarnation. reached: where its bytes ended last in this segment, and after how much damage.

    known_end: the greatest offset that anything speaks of; last: where the last of its bytes lie; over: where it was
    first said that its process had ended, before which all it said is stored; ended: whether its End is there.
    """

    rank: int
    cover: Cover = dataclasses.field(default_factory=Cover)
    known_end: int = 0
    reached: tuple[int, int] | None = None
    last: Place = (0, 0)
    over: Place | None = None
    ended: bool = False
    admitted: bool = False


@dataclasses.dataclass
class LogCheck:
    """What a log was found to hold.

    unfinished: ends of segments that a killed writer left, or one that is at it, and that cost nothing.
    """

    segments: int = 0
    frames: int = 0
    bytes: int = 0
    damage: list[DamagedRange] = dataclasses.field(default_factory=list[DamagedRange])
    unfinished: list[DamagedRange] = dataclasses.field(default_factory=list[DamagedRange])
    sources: dict[Incarnation, Found] = dataclasses.field(default_factory=dict[Incarnation, Found])
    holes: list[tuple[Incarnation, int, int]] = dataclasses.field(default_factory=list[tuple[Incarnation, int, int]])
    has_header: bool = False
    written: set[int] = dataclasses.field(
        default_factory=set[int]
    )  # segments in which a writer is known to have spoken
