"""What a run's directory says at a glance: who wrote it last, whether they live, how they ended, and their last step.

Whoever begins a run looks at what is there already, and may not take long: of long logs only the ends are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from disttrack.environments.files import make_directory, open_plain, read_plain
from disttrack.environments.host import boot_id, is_alive
from disttrack.journal.directories import is_abandoned
from disttrack.journal.segment import Frame, FrameKind, entries, read_frames, segment_paths
from disttrack.records.codec import decode, decode_row, records
from disttrack.records.names import DELETED, LATEST, LIVE, directory_name
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Admission, Incarnation, Join, Sighting

__all__ = ["Glance", "failed_here", "forget_latest", "glance", "latest_run", "remember_latest"]

TAIL_BYTES = 512 << 10  # of each segment, for the last rows and how it ended,
HEAD_BYTES = 256 << 10  # and this much of a longer one, for who joined
END_BYTES = 16 << 10  # of an incarnation: its last rows
FRESH_S = 45.0  # a living writer touches its run's marker every 15 s
MAX_NOTE_BYTES = 1 << 16
_STEP = struct.Struct("<q")
_GONE = ("ended", "crashed", "lost", "moved")


@dataclass
class Glance:
    """What was seen of a run. admissions: of its ranks; ends: of those that said or were seen how they ended."""

    touched_s: float | None = None  # since a writer said that it lives; None: it said that it ended, or nothing
    admissions: dict[Incarnation, Admission] = field(default_factory=dict[Incarnation, Admission])
    clean: dict[Incarnation, bool] = field(default_factory=dict[Incarnation, bool])
    steps: dict[Incarnation, int] = field(default_factory=dict[Incarnation, int])  # the greatest seen

    @property
    def attempts(self) -> int:
        """How many attempts there were."""
        return self._newest + 1

    @property
    def _newest(self) -> int:
        return max((admission.attempt for admission in self.admissions.values()), default=-1)

    def _team(self, attempt: int) -> list[Admission]:
        return [each for each in self.admissions.values() if each.attempt == attempt]

    def last_step(self, before: int | None = None) -> int | None:
        """Return the greatest step of the newest attempt that logged a row; before: of those before this one."""
        for attempt in range(self._newest if before is None else before - 1, -1, -1):
            team = [each.join.incarnation for each in self._team(attempt)]
            steps = [self.steps[incarnation] for incarnation in team if incarnation in self.steps]
            if steps:
                return max(steps)
        return None

    @property
    def ended_well(self) -> bool:
        """Whether every rank of the newest attempt ended with exit code 0."""
        team = [each for each in self._team(self._newest) if each.role == "rank"]
        return bool(team) and all(self.clean.get(each.join.incarnation) is True for each in team)

    def alive(self) -> Join | None:
        """Return a rank of the newest attempt that lives, as far as this host can tell; None where none does."""
        for admission in self._team(self._newest):
            join = admission.join
            if admission.role == "helper" or join.incarnation in self.clean:
                continue
            if join.boot_id == boot_id():
                if is_alive(join.pid, join.start_time):
                    return join
            elif self.touched_s is not None and self.touched_s < FRESH_S and not is_abandoned(Path(join.journal)):
                return join
        return None


def glance(run: Path, deadline: float) -> Glance | None:
    """Return what is seen of the run in a directory until deadline (time.monotonic()); None where there is no run.

    Raises OSError where it cannot be read.
    """
    paths = segment_paths(run / "log")
    if not paths:
        return None
    found = Glance()
    try:
        found.touched_s = max(0.0, time.time() - os.stat(run.parent / LIVE / run.name).st_mtime)
    except OSError:
        pass  # no marker: it ended
    ends: dict[Incarnation, list[bytes]] = {}  # the last bytes of each incarnation, the newest first
    for path in reversed(paths):
        size = path.stat().st_size
        # Not at a frame's beginning: what is read as damage up to the first one is none.
        tail = _frames(path, max(0, size - TAIL_BYTES), size, found)
        for frame in reversed(tail):
            for entry in entries(frame):
                mine = ends.setdefault(entry.incarnation, [])
                if sum(map(len, mine)) < END_BYTES:
                    mine.append(bytes(entry.data))
        if size > TAIL_BYTES:
            _frames(path, 0, HEAD_BYTES, found)
        if time.monotonic() > deadline:
            break
    for incarnation, pieces in ends.items():
        for piece in pieces:
            _take_records(found, incarnation, piece)
    return found


def _frames(path: Path, start: int, end: int, found: Glance) -> list[Frame]:
    """Return the DATA frames of a part of a segment, and take what the others say."""
    data: list[Frame] = []
    for frame in read_frames(path, start):
        if not isinstance(frame, Frame):
            continue
        if frame.start >= end:
            break
        if frame.kind == FrameKind.ADMISSION:
            admission = frame.value(Admission)
            found.admissions.setdefault(admission.join.incarnation, admission)
        elif frame.kind == FrameKind.SIGHTING:
            sighting = frame.value(Sighting)
            if sighting.seen in _GONE:
                well = sighting.seen == "ended" and not sighting.exit_code and sighting.signal is None
                found.clean[sighting.incarnation] = found.clean.get(sighting.incarnation, True) and well
        elif frame.kind == FrameKind.DATA:
            data.append(frame)
    return data


def _take_records(found: Glance, incarnation: Incarnation, data: bytes) -> None:
    greatest = found.steps.get(incarnation)
    for record in records(data, check=False):
        if record.kind == RecordKind.ROW:
            step = _STEP.unpack_from(data, record.start)[0]
        elif record.kind == RecordKind.MSGPACK_ROW:
            step = decode_row(data[record.start : record.end])[0]
        elif record.kind == RecordKind.END:
            end = decode(data[record.start : record.end], End)
            well = end.exit_code == 0 and end.exception is None
            found.clean[incarnation] = found.clean.get(incarnation, True) and well
            continue
        else:
            continue
        greatest = step if greatest is None or step > greatest else greatest
    if greatest is not None:
        found.steps[incarnation] = greatest


# The latest run of each host and working directory, for resume="auto".


def _note(project: Path, host: str, cwd: str) -> Path:
    place = hashlib.sha256(f"{host}\0{cwd}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return project / LATEST / f"{place}.json"


def remember_latest(project: Path, join: Join, run_id: str) -> None:
    """Note that this is the latest run of a rank's host and working directory; raise OSError where it cannot be."""
    if not join.cwd:
        return
    note = _note(project, join.host, join.cwd)
    make_directory(note.parent)
    temporary = note.with_name(f".{note.name}-{os.getpid()}")
    with os.fdopen(open_plain(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(json.dumps({"id": run_id, "host": join.host, "cwd": join.cwd}).encode())
    os.replace(temporary, note)


def forget_latest(project: Path, join: Join, run_id: str) -> None:
    """Remove that note where it is still of this run: it ended well."""
    if latest_run(project, join.host, join.cwd) == run_id:
        _note(project, join.host, join.cwd).unlink(missing_ok=True)


def latest_run(project: Path, host: str, cwd: str) -> str | None:
    """Return the id of the latest run of a host and working directory that did not end well, as far as is noted."""
    try:
        note = json.loads(read_plain(_note(project, host, cwd), MAX_NOTE_BYTES))
        return str(note["id"]) if (note["host"], note["cwd"]) == (host, cwd) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def failed_here(project: Path, host: str, cwd: str, deadline: float) -> tuple[str, Glance] | None:
    """Return the latest run of a host and working directory, where that has ended, and not well."""
    run_id = latest_run(project, host, cwd)
    if run_id is None:
        return None
    found = glance(project / directory_name(run_id), deadline)
    deleted = (project / DELETED / directory_name(run_id)).exists()
    if found is None or deleted or found.ended_well or found.alive() is not None:
        return None
    return run_id, found
