"""What the index knows of a run and of its sources besides their rows: kept as blobs, handed to query.

A fact has the place in the log that it came from beside it where a later one must win: arrival order
is not call order when two writers or a refill brought the bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Literal, cast

import msgspec

from disttrack.index.checksums import IndexDamaged
from disttrack.index.cover import Cover
from disttrack.records.blobs import Blob
from disttrack.records.codec import decode
from disttrack.records.payloads import Alert, Drop, End, MetricDefinition
from disttrack.records.structs import prepare
from disttrack.records.types import Edit, Incarnation, Join, Role, RunHeader
from disttrack.records.values import plain

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "MAX_NAMED",
    "BlobFacts",
    "Cursor",
    "DamagedRange",
    "DroppedFacts",
    "FileFacts",
    "RunFacts",
    "SegmentFacts",
    "Sighted",
    "SourceFacts",
    "pack",
    "squeeze",
    "unsqueeze",
]


MAX_NAMED = 32  # damaged ranges of a run, and of each of its sources, that are named; the others are counted
MAX_WHY = 200  # characters


class SegmentFacts(msgspec.Struct, omit_defaults=True):
    """How far one segment was read, and what tells it from another file of the same name."""

    number: int
    inode: int
    size: int  # when it was last looked at
    head: bytes = b""  # the first frame's header, which holds a checksum over the writer's nonce
    position: int = 0
    by_writer: bool = False  # it says something of ranks: a person's edits do not reopen a run
    over_us: int | None = None  # the time of a RunEnd that nothing has voided


class DamagedRange(msgspec.Struct, frozen=True, array_like=True):
    """Bytes that say nothing, of a segment or of a source's journal, and why."""

    start: int
    end: int
    why: str
    segment: int = 0  # its number; 0 for a journal


class RunFacts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run: its header, where its log was read up to, and what went wrong with it."""

    header: RunHeader | None = None  # of the lowest segment; None where it is damaged
    header_in: int = -1
    alias_of: str | None = None
    edits: list[tuple[int, Edit]] = []  # by segment, in whatever order they were read
    segments: list[SegmentFacts] = []
    blocks: int = 0  # that its sealed rows lie in
    prints: int = 0  # pieces that its sealed console text lies in
    aggregates: dict[str, object] = {}  # of its metrics, as far as its definitions ask for some
    damage: int = 0  # frames that could not be read
    damaged: list[DamagedRange] = []  # where the first MAX_NAMED of them lie
    newer: tuple[str, int] | None = None  # path and format version of a segment this disttrack cannot read

    @property
    def over_us(self) -> int | None:
        """When the run ended, in µs; None while it goes on: only an END as the last writer's last word counts."""
        return next((segment.over_us for segment in reversed(self.segments) if segment.by_writer), None)

    def saw_damage(self, segment: int, start: int, end: int, why: str) -> None:
        """Note that bytes [start, end) of a segment say nothing."""
        self.damage += 1
        if len(self.damaged) < MAX_NAMED:
            self.damaged.append(DamagedRange(start, end, why[:MAX_WHY], segment))


class Sighted(msgspec.Struct, omit_defaults=True):
    """A sighting of a source, and its place in the log."""

    seen: Literal["ended", "silent", "running", "crashed", "lost", "moved"]
    exit_code: int | None
    signal: int | None
    time_us: int
    segment: int
    position: int
    exception: str | None = None

    @property
    def place(self) -> tuple[int, int]:
        """Where in the log it stands."""
        return self.segment, self.position

    @property
    def fell(self) -> bool:
        """Whether it says that the rank or its process did not end well."""
        return self.seen in ("crashed", "lost") or self.signal is not None or bool(self.exit_code)


class DroppedFacts(msgspec.Struct, array_like=True):
    """Records of one class that a source dropped for one reason; steps are those of rows."""

    record_class: str
    reason: str
    count: int
    first_step: int | None
    last_step: int | None
    first_us: int
    last_us: int


class FileFacts(msgspec.Struct, frozen=True, array_like=True):
    """A file of a source as it was last: its bytes are blob number `blob` of the source; at: where that was said."""

    size: int
    blob: int
    time_us: int
    at: int


class BlobFacts(msgspec.Struct, frozen=True, array_like=True):
    """A blob of a source: its bytes are the run's `media/<sha256>.<format>`, unless they are lost, and why."""

    sha256: bytes
    size: int
    format: str
    lost: str | None = None

    @property
    def name(self) -> str:
        """The name of its file in `media`."""
        return f"{self.sha256.hex()}.{self.format}" if self.format else self.sha256.hex()


class SourceFacts(msgspec.Struct, kw_only=True, omit_defaults=True):
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
    captured: int = 0  # records of CAPTURED_KINDS
    rows: int = 0
    min_step: int | None = None
    max_step: int | None = None
    first_step: int | None = None  # of its first row, in the order of its calls
    first_at: int = -1
    last_time_us: int | None = None  # the greatest of its records and sightings
    last: dict[str, object] = {}  # summary keys to their last values
    last_at: dict[str, int] = {}  # also of keys that were removed
    by_hand: set[str] = set()  # keys that were set in the summary, not only logged
    config: dict[str, object] = {}
    config_at: dict[str, int] = {}
    definitions: dict[int, MetricDefinition] = {}  # by offset
    labels: dict[str, object] = {}  # name, notes, tags: as the program set them after init
    labels_at: dict[str, int] = {}
    about: dict[str, dict[str, object]] = {}  # by section
    about_at: dict[str, int] = {}
    alerts: dict[int, Alert] = {}  # by offset, the newest
    alert_count: int = 0
    files: dict[str, FileFacts] = {}  # by path
    files_unnamed: int = 0
    blobs: dict[int, BlobFacts] = {}  # that are stored, or lost, by number
    preempting_us: int | None = None
    ended: End | None = None
    ended_at: int = -1
    sighted: Sighted | None = None  # the newest
    fell: Sighted | None = None  # the first that says that it did not end well
    drops: list[DroppedFacts] = []  # by class and reason, at most MAX_NAMED
    damage: int = 0  # ranges of its bytes that are no record, and records that say nothing
    damaged: list[DamagedRange] = []  # where the first MAX_NAMED of them lie

    def remember(self, keys: Iterable[str], values: Iterable[object], at: int) -> None:
        """Note the last values of keys as of offset at."""
        last, last_at = self.last, self.last_at
        for key, value in zip(keys, values, strict=True):
            if at > last_at.get(key, -1):
                last[key], last_at[key] = value, at

    def saw_time(self, time_us: int) -> None:
        """Note that something of this source happened at time_us."""
        if self.last_time_us is None or time_us > self.last_time_us:
            self.last_time_us = time_us

    def saw(self, sighted: Sighted) -> None:
        """Note what was seen of this source."""
        self.saw_time(sighted.time_us)
        if self.sighted is None or sighted.place > self.sighted.place:
            self.sighted = sighted
        if sighted.fell and (self.fell is None or sighted.place < self.fell.place):
            self.fell = sighted

    def saw_blob(self, blob: Blob) -> None:
        """Note what became of a blob; said twice, the copy that is there counts."""
        found = BlobFacts(bytes.fromhex(blob.sha256), blob.size, blob.format, blob.lost)
        known = self.blobs.get(blob.blob)
        if known is None or (known.lost is not None, known.sha256) > (found.lost is not None, found.sha256):
            self.blobs[blob.blob] = found

    def saw_drop(self, drop: Drop) -> None:
        """Add a Drop record to what is known of its class and reason."""
        self.saw_time(drop.last_us)
        known = next((d for d in self.drops if (d.record_class, d.reason) == (drop.record_class, drop.reason)), None)
        if known is None:
            if len(self.drops) < MAX_NAMED:
                self.drops.append(
                    DroppedFacts(
                        drop.record_class[:MAX_WHY],
                        drop.reason[:MAX_WHY],
                        drop.count,
                        drop.first_step,
                        drop.last_step,
                        drop.first_us,
                        drop.last_us,
                    )
                )
            return
        known.count += drop.count
        if drop.first_us < known.first_us:
            known.first_us, known.first_step = drop.first_us, drop.first_step
        if drop.last_us >= known.last_us:
            known.last_us, known.last_step = drop.last_us, drop.last_step

    def saw_damage(self, start: int, end: int, why: str) -> None:
        """Note that bytes [start, end) of the journal say nothing."""
        if self.damaged and self.damaged[-1].end == start and self.damaged[-1].why == why[:MAX_WHY]:
            self.damaged[-1] = DamagedRange(self.damaged[-1].start, end, why[:MAX_WHY])  # it goes on
            return
        self.damage += 1
        if len(self.damaged) < MAX_NAMED:
            self.damaged.append(DamagedRange(start, end, why[:MAX_WHY]))

    def saw_steps(self, low: int, high: int, first: int, first_at: int) -> None:
        """Note that steps from low to high were logged, the first of them at offset first_at."""
        if self.first_step is None or first_at < self.first_at:
            self.first_step, self.first_at = first, first_at
        self.min_step = low if self.min_step is None else min(low, self.min_step)
        self.max_step = high if self.max_step is None else max(high, self.max_step)


class Cursor(msgspec.Struct, omit_defaults=True):
    """What decoding a source's next bytes needs besides its facts."""

    schemas: dict[int, int] = {}  # the incarnation's schema ids to the run's
    orphans: list[tuple[int, int, bytes]] = []  # rows whose schema is not known yet: schema id, offset, body


def pack(value: RunFacts | SourceFacts | Cursor | list[object]) -> bytes:
    """Return value as msgpack; ints beyond 64 bits become the extension BIG_INT, which codec.decode turns back."""
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return msgspec.msgpack.encode(_without_big_ints(msgspec.to_builtins(value, builtin_types=(bytes,))))


_FAMILIAR = msgspec.msgpack.encode(
    {
        "incarnation": 0,
        "rank_hint": 0,
        "join": {
            "incarnation": 0,
            "launch_key": "torchrun:slurm:srun:",
            "ordinal": 0,
            "root": "/disttrack-runs",
            "project": "uncategorized",
            "group": None,
            "given_id": None,
            "own_id": "",
            "name": None,
            "job_type": None,
            "rank_job_type": "rank-0",
            "tags": [],
            "notes": None,
            "rank": {"rank": 0, "world_size": 1, "local_rank": 0, "source": "single", "settled": True},
            "role": "rank",
            "parent": None,
            "hints": [],
            "host": "",
            "boot_id": "",
            "pid": 1_000,
            "start_time": 0,
            "journal": "/disttrack-/journals/",
            "time_us": 0,
        },
        "join_newness": [True, 1],
        "attempt": 1,
        "admitted_in": 1,
        "cover": {"end": 0, "gaps": []},
        "stored": 0,
        "rows": 0,
        "min_step": 0,
        "max_step": 0,
        "first_step": 0,
        "first_at": 0,
        "last_time_us": 0,
        "last": {},
        "last_at": {},
        "by_hand": [],
        "config": {},
        "config_at": {},
        "ended": {"exit_code": 0, "logged": 0, "dropped": 0, "time_us": 0, "exception": None},
        "ended_at": 0,
        "sighted": {"seen": "ended", "exit_code": 0, "signal": None, "time_us": 0, "segment": 1, "position": 0},
        "fell": {"seen": "crashed", "exit_code": None, "signal": 9, "time_us": 0, "segment": 1, "position": 0},
        "damage": 1,
    }
)
"""What the facts of a source look like. A change here changes the meaning of the blobs (SCHEMA_VERSION)."""

_dictionary = zstd.ZstdDict(_FAMILIAR, is_raw=True)
_compressor = zstd.ZstdCompressor(
    options={zstd.CompressionParameter.compression_level: 1, zstd.CompressionParameter.checksum_flag: 1},
    zstd_dict=_dictionary.as_digested_dict,
)


def squeeze(facts: SourceFacts) -> bytes:
    """Return facts as few bytes: of 1,000, mostly names of fields, 200 are left (3 µs; 5 µs back)."""
    return _compressor.compress(pack(facts), _compressor.FLUSH_FRAME)


def unsqueeze(data: bytes) -> SourceFacts:
    """Return what squeeze was given; raise IndexDamaged where that was something else."""
    try:
        return decode(zstd.ZstdDecompressor(_dictionary).decompress(data), SourceFacts)
    except (zstd.ZstdError, ValueError) as error:
        raise IndexDamaged(f"what is known of a source: {error}") from error


def _without_big_ints(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_big_ints(item) for key, item in cast(dict[str, object], value).items()}
    if isinstance(value, list | tuple):
        return [_without_big_ints(item) for item in cast(list[object], value)]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # msgpack holds these, an incarnation among them
        return plain(value)
    return value


prepare(globals())
