"""What a process says: the kinds of record that a journal holds, and the Structs in them.

Structs are msgpack maps, so that a field can be added without a new format version: a reader
ignores fields it does not know and fills those it misses with their defaults.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from disttrack.records.structs import prepare

__all__ = [
    "CAPTURED_KINDS",
    "KIND_OF",
    "USER_KINDS",
    "About",
    "Alert",
    "AlertLevel",
    "ConfigUpdate",
    "ConsoleText",
    "Drop",
    "End",
    "FileRef",
    "Goal",
    "LabelUpdate",
    "MetricDefinition",
    "Payload",
    "Preempting",
    "RecordKind",
    "SummaryUpdate",
]

Goal = Literal["minimize", "maximize"]


class AlertLevel(enum.StrEnum):
    """How urgent an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class RecordKind(enum.IntEnum):
    """The type byte of a journal record."""

    SCHEMA = 1
    ROW = 2  # a row whose schema was sent before: step, time, 8 bytes a value
    MSGPACK_ROW = 3  # every other row
    CONFIG = 4
    SUMMARY = 5
    END = 6
    DROP = 7
    METRIC = 8
    LABELS = 9
    ALERT = 10
    ABOUT = 11
    CONSOLE = 12
    FILE = 13
    PREEMPTING = 14


USER_KINDS = frozenset(
    {
        RecordKind.ROW,
        RecordKind.MSGPACK_ROW,
        RecordKind.CONFIG,
        RecordKind.SUMMARY,
        RecordKind.METRIC,
        RecordKind.LABELS,
        RecordKind.ALERT,
        RecordKind.FILE,
        RecordKind.PREEMPTING,
    }
)
"""Records that a receipt counts: what the script said, not what disttrack adds to carry it."""

CAPTURED_KINDS = frozenset({RecordKind.ABOUT, RecordKind.CONSOLE})
"""Records that disttrack makes by itself, of what it finds out and of what is printed."""


class ConfigUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Config keys that were set; values are plain."""

    values: dict[str, object]


class SummaryUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Summary keys that were set by hand, and those that were removed."""

    values: dict[str, object]
    removed: tuple[str, ...] = ()


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The last record of an incarnation that finished by itself.

    logged counts the records of USER_KINDS that the script made, dropped those among them that no journal took;
    captured and captured_dropped the same of those that disttrack made by itself (CAPTURED_KINDS). stopped: whoever
    runs it ended it before it was done, and may go on with it later.
    """

    exit_code: int
    logged: int
    dropped: int
    time_us: int
    exception: str | None = None
    captured: int = 0
    captured_dropped: int = 0
    stopped: bool = False


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """Records that this incarnation made and that are in no journal, since the Drop before.

    record_class and reason: of records.classes. The steps are those of rows, the times those of the calls.
    """

    record_class: str
    reason: str
    count: int
    first_step: int | None = None
    last_step: int | None = None
    first_us: int
    last_us: int


class MetricDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a metric is to be read. None leaves what an earlier definition of the same name said.

    name may hold `*`, which stands for any text. step_metric: the metric it is drawn over; step_sync: rows that lack
    step_metric get its last value. summary: what of min, max, mean, last, first and best is kept of it; ("none",)
    keeps nothing. goal says which of two values is the better one.
    """

    name: str
    step_metric: str | None = None
    step_sync: bool | None = None
    summary: tuple[str, ...] | None = None
    goal: Goal | None = None
    hidden: bool | None = None
    overwrite: bool = False  # forget what earlier definitions said


class LabelUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the program calls its run from here on. None leaves a label as it is."""

    name: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should see soon."""

    title: str
    text: str
    level: AlertLevel
    time_us: int


class Preempting(msgspec.Struct, frozen=True, kw_only=True):
    """The process will be taken off its machine; what ends it now is no fault of its own."""

    time_us: int


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a process found out about itself: section is one of source, program, packages, host, devices, ..."""

    section: str
    values: dict[str, object]


class ConsoleText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Text that a process printed, whole lines or the part of one that no line end has followed yet.

    lost_bytes: of the stream, before this text, because more was printed than is kept. until: up to where the file that
    it was read from is in records now, where there is one. cell: of the notebook, by its number.
    """

    stream: Literal["stdout", "stderr"]
    text: str
    time_us: int
    lost_bytes: int = 0
    until: int = 0
    cell: int | None = None


class FileRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that belongs to the run, as it was at time_us; the bytes are blob number `blob` of this incarnation."""

    path: str  # within the run, with "/"
    size: int
    blob: int
    time_us: int
    policy: Literal["now", "live", "end"] = "now"


Payload = (
    ConfigUpdate | SummaryUpdate | MetricDefinition | LabelUpdate | Alert | Preempting | About | ConsoleText | FileRef
)
"""What a process may say in a record of its own."""

KIND_OF: dict[type[Payload], RecordKind] = {
    ConfigUpdate: RecordKind.CONFIG,
    SummaryUpdate: RecordKind.SUMMARY,
    MetricDefinition: RecordKind.METRIC,
    LabelUpdate: RecordKind.LABELS,
    Alert: RecordKind.ALERT,
    Preempting: RecordKind.PREEMPTING,
    About: RecordKind.ABOUT,
    ConsoleText: RecordKind.CONSOLE,
    FileRef: RecordKind.FILE,
}


prepare(globals())
