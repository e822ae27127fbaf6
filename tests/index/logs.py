"""Makes run logs as writers make them: segments of frames, with the records of ranks in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import rows
from benchmarks.rows import run_header
from disttrack.journal.segment import FORMAT_VERSION, Entry, FrameKind, Segment
from disttrack.records.codec import EXPLICIT_STEP, RowEncoder, encode
from disttrack.records.names import directory_name
from disttrack.records.payloads import ConfigUpdate, End, RecordKind, SummaryUpdate
from disttrack.records.types import (
    Admission,
    Alias,
    Incarnation,
    Join,
    Role,
    RunEnd,
    RunId,
    Sighting,
)

#: Unix time in µs at which every run here begins.
START_US = rows.START_US


@dataclass
class Process:
    """One incarnation: its journal, byte by byte, and where its records begin."""

    join: Join
    attempt: int = 0
    role: Role = "rank"
    orphan: bool = False
    journal: bytes = b""
    bounds: list[int] = field(default_factory=lambda: [0])
    logged: int = 0
    time_us: int = START_US
    encoder: RowEncoder = field(default_factory=RowEncoder)

    def append(self, data: bytes, records: int = 1) -> None:
        self.journal += data
        self.bounds.append(len(self.journal))
        self.logged += records

    def row(self, data: Mapping[Any, Any], step: int, after_us: int = 1_000) -> None:
        """Logs a row, after_us after the one before it."""
        self.time_us += after_us
        self.append(self.encoder.encode(data, step, self.time_us, EXPLICIT_STEP, []))

    def config(self, **values: object) -> None:
        """Sets config keys; values are plain already."""
        self.append(encode(RecordKind.CONFIG, ConfigUpdate(values=values)))

    def summary(self, values: dict[str, object], removed: tuple[str, ...] = ()) -> None:
        self.append(encode(RecordKind.SUMMARY, SummaryUpdate(values=values, removed=removed)))

    def end(self, exit_code: int = 0, dropped: int = 0, *, stopped: bool = False) -> None:
        logged = self.logged + dropped
        end = End(exit_code=exit_code, logged=logged, dropped=dropped, time_us=self.time_us, stopped=stopped)
        self.append(encode(RecordKind.END, end), 0)

    def entry(self, first: int = 0, last: int | None = None) -> Entry:
        """Returns the records from number first up to last as an entry of a frame."""
        start, end = self.bounds[first], self.bounds[-1 if last is None else last]
        return Entry(self.join.rank.rank, self.join.incarnation, end, self.journal[start:end])


@dataclass
class RunLog:
    """A run's directory, and a writer life that appends to it."""

    root: Path
    project: str = "demo"
    run_id: str = "run1"
    name: str = "calm-river-1"
    group: str | None = None
    nonce: str = ""  # of every writer life; "" for a new one each time
    segment: Segment | None = None
    admitted: set[Incarnation] = field(default_factory=set[Incarnation])

    @property
    def directory(self) -> Path:
        return self.root / directory_name(self.project) / directory_name(self.run_id)

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def marker(self) -> Path:
        return self.directory.parent / ".live" / self.directory.name

    def open(self, time_us: int = START_US) -> Segment:
        """Returns the segment being written, opened if need be."""
        if self.segment is None:
            self.marker.parent.mkdir(parents=True, exist_ok=True)
            self.marker.touch()
            self.log.mkdir(parents=True, exist_ok=True)
            self.segment = Segment(self.log)
            nonce = {"nonce": self.nonce} if self.nonce else {}
            labels = {"project": self.project, "name": self.name, "group": self.group, "time_us": time_us}
            self.segment.append(FrameKind.HEADER, run_header(self.run_id, **labels, **nonce))
        return self.segment

    def admit(self, process: Process) -> None:
        """Appends the writer's word on a process, once a segment."""
        if process.join.incarnation not in self.admitted:
            self.admitted.add(process.join.incarnation)
            admission = Admission(join=process.join, attempt=process.attempt, role=process.role, orphan=process.orphan)
            self.open().append(FrameKind.ADMISSION, admission)

    def commit(self, *batch: tuple[Process, int, int | None]) -> None:
        """Appends one frame with records [first, last) of each process."""
        self.open()
        for process, _, _ in batch:
            self.admit(process)
        self.open().append_batch([process.entry(first, last) for process, first, last in batch])

    def commit_all(self, *processes: Process) -> None:
        """Appends one frame with all that these processes said."""
        self.commit(*[(process, 0, None) for process in processes])

    def see(
        self,
        process: Process,
        seen: Any,
        time_us: int = START_US,
        exit_code: int | None = None,
        signal: int | None = None,
        exception: str | None = None,
    ) -> None:
        sighting = Sighting(
            incarnation=process.join.incarnation,
            seen=seen,
            time_us=time_us,
            exit_code=exit_code,
            signal=signal,
            exception=exception,
        )
        self.admit(process)
        self.open().append(FrameKind.SIGHTING, sighting)

    def alias(self, of: str) -> None:
        self.open().append(FrameKind.ALIAS, Alias(of=RunId(of)))

    def end(self, time_us: int = START_US + 10_000_000) -> None:
        """Appends the run's END and removes its marker."""
        self.open().append(FrameKind.END, RunEnd(time_us=time_us))
        self.marker.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends this writer life: the next append opens another segment."""
        if self.segment is not None:
            self.segment.close()
        self.segment = None
        self.admitted.clear()


def join_of(rank: int = 0, world_size: int = 1, /, **changes: Any) -> Join:
    """Returns the join of a rank whose process is nowhere to be found."""
    return rows.join_of(rank, world_size, **{"project": "demo", **changes})


def process_of(rank: int = 0, world_size: int = 1, /, **changes: Any) -> Process:
    """Returns a process that has said nothing yet."""
    return Process(join_of(rank, world_size, **changes))


def finished_run(
    root: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], run_id: str = "run1", **labels: Any
) -> RunLog:
    """Returns a run of one rank that logged (step, row)s and ended."""
    log, process = RunLog(root, run_id=run_id, **labels), process_of()
    for step, data in rows:
        process.row(data, step)
    process.end()
    log.commit_all(process)
    log.end()
    log.close()
    return log


def newer_log(root: Path, run_id: str) -> Path:
    """Leaves the log of a run that a newer disttrack writes, and returns its directory."""
    log = RunLog(root, run_id=run_id).log
    log.mkdir(parents=True)
    segment = Segment(log)
    segment.append(FrameKind.HEADER, run_header(run_id, project="demo", format_version=FORMAT_VERSION + 1))
    segment.close()
    return log
