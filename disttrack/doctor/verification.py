"""What `disttrack fsck` finds: the logs of a root verified, and what journals on this host have of what they lack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from disttrack.doctor.logs import DamagedRange, Held, LogCheck, check_log
from disttrack.environments.host import runtime_directory
from disttrack.errors import RunNotFound
from disttrack.index.survey import project_directories, runs
from disttrack.journal.segment import segment_paths
from disttrack.journal.stored import StoredOutbox, stored_outboxes
from disttrack.records.names import LIVE
from disttrack.records.types import Incarnation
from disttrack.settings import load
from disttrack.writer.liveness import lives

__all__ = ["CheckedRun", "Hole", "Pending", "Verification", "verify"]

READ_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Hole(Held):
    """Bytes that no segment has; journal: the one on this host that still has them, or null: they are lost."""

    journal: str | None


@dataclasses.dataclass(frozen=True)
class CheckedRun:
    """A run, and what is wrong with its log; unfinished ends of segments cost nothing."""

    project: str
    run: str
    segments: int
    frames: int
    bytes: int
    damage: list[DamagedRange]
    holes: list[Hole]
    unfinished: list[DamagedRange]


@dataclasses.dataclass(frozen=True)
class Pending:
    """A journal on this host with records that no log of this root has; alive: its process still logs."""

    journal: str
    project: str
    run: str | None
    rank: int
    bytes: int
    alive: bool


@dataclasses.dataclass(frozen=True)
class Verification:
    """All that was verified; ok where no byte is damaged and no hole was found. Pending journals are no damage."""

    ok: bool
    root: str
    runs: list[CheckedRun]
    pending: list[Pending]


Told = Callable[[int, int, int, int], None]
"""Called with how many runs are done, of how many, and how many bytes are verified, of how many."""


def verify(root: Path, run: str | None, told: Told) -> Verification:
    """Verify all logs of a root, or one run's: its id, project/id, or the beginning of an id that no other has.

    Nothing is written. Raises RunNotFound, or OSError where something cannot be read.
    """
    directories = _directories(root, run)
    of_bytes = sum(path.stat().st_size for directory in directories for path in segment_paths(directory / "log"))
    journals = {
        stored.join.incarnation: stored
        for stored in stored_outboxes(runtime_directory(load().runtime_dir))
        if Path(stored.join.root) == root
    }
    checked: list[CheckedRun] = []
    ends: dict[Incarnation, int] = {}
    done_bytes = 0

    def reached(size: int) -> None:
        nonlocal done_bytes
        done_bytes += size
        told(len(checked), len(directories), done_bytes, of_bytes)

    for directory in directories:
        live = (directory.parent / LIVE / directory.name).exists()
        found = check_log(directory / "log", live=live, reached=reached)
        checked.append(_checked(directory, found, journals))
        ends |= found.ends
    told(len(checked), len(directories), done_bytes, of_bytes)
    ok = not any(each.damage or each.holes for each in checked)
    wanted = {directory.name for directory in directories} if run is not None else None
    pending = [waiting for stored in journals.values() if (waiting := _pending(stored, ends, wanted)) is not None]
    return Verification(ok, str(root), checked, pending)


def _directories(root: Path, run: str | None) -> list[Path]:
    """Return the directories of the runs to verify; also of deleted ones, whose bytes are still there."""
    projects = project_directories(root) if root.is_dir() else []
    every = [root / project / name for project in projects for name in sorted(runs(root / project))]
    if run is None:
        return every
    exact = [path for path in every if run in (path.name, f"{path.parent.name}/{path.name}")]
    found = exact or [path for path in every if path.name.startswith(run)]
    if len(found) != 1:
        raise RunNotFound(run, root, [f"{path.parent.name}/{path.name}" for path in found])
    return found


def _checked(directory: Path, found: LogCheck, journals: Mapping[Incarnation, StoredOutbox]) -> CheckedRun:
    holes = [
        hole
        for incarnation, start, end in found.holes
        for hole in _holes(found.ranks[incarnation], incarnation, start, end, journals.get(incarnation))
    ]
    return CheckedRun(
        directory.parent.name,
        directory.name,
        found.segments,
        found.frames,
        found.bytes,
        found.damage,
        holes,
        found.unfinished,
    )


def _holes(rank: int, incarnation: Incarnation, start: int, end: int, journal: StoredOutbox | None) -> list[Hole]:
    """Return a hole, in two where a journal has but its beginning."""
    name = f"{incarnation:016x}"
    has = start if journal is None else min(end, _whole_end(journal, start, end))
    held = [Hole(rank, name, start, has, str(journal.directory))] if journal is not None and start < has else []
    return [*held, Hole(rank, name, has, end, None)] if has < end else held


def _whole_end(journal: StoredOutbox, start: int, end: int | None = None) -> int:
    """Return up to where a journal holds whole records from a boundary on; beyond end it is not looked."""
    while (end is None or start < end) and (data := journal.read(start, READ_BYTES)):
        start += len(data)
    return start


def _pending(stored: StoredOutbox, ends: Mapping[Incarnation, int], wanted: set[str] | None) -> Pending | None:
    join = stored.join
    if wanted is not None and (join.run_id or join.given_id) not in wanted:
        return None
    begin = ends.get(join.incarnation, 0)
    try:
        waiting = _whole_end(stored, begin) - begin
    except FileNotFoundError:  # removed meanwhile: its run has ended
        return None
    if not waiting:
        return None
    return Pending(str(stored.directory), join.project, join.run_id, join.rank.rank, waiting, lives(join))
