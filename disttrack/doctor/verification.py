"""What `disttrack fsck` finds: the logs of a root verified, and what journals on this host have of what they lack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from disttrack.doctor.damage import DamagedRange, Held, LogCheck
from disttrack.doctor.journals import is_being_made
from disttrack.doctor.logs import check_log
from disttrack.doctor.losses import judge
from disttrack.environments.host import runtime_directory
from disttrack.errors import RunNotFound, UnsupportedFormat
from disttrack.index.survey import project_directories, runs
from disttrack.journal.directories import is_held, journal_directories
from disttrack.journal.segment import segment_paths
from disttrack.journal.spool import spooled
from disttrack.journal.stored import StoredOutbox, stored_outboxes
from disttrack.records.codec import records
from disttrack.records.names import LIVE
from disttrack.records.types import Incarnation
from disttrack.settings import load
from disttrack.writer.liveness import lives

__all__ = ["CheckedRun", "Hole", "Pending", "UnreadableJournal", "Verification", "verify"]

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
    """A journal on this host with records that no log of this root has, or blobs; alive: its process still logs."""

    journal: str
    project: str
    run: str | None
    rank: int
    bytes: int
    alive: bool
    blobs: int = 0  # images, tables and files


@dataclasses.dataclass(frozen=True)
class UnreadableJournal:
    """A journal on this host of which nobody can say whose it is, and what it holds."""

    journal: str
    bytes: int
    why: str


@dataclasses.dataclass(frozen=True)
class Verification:
    """All that was verified.

    ok: nothing is lost, as far as can be known. whole: nothing is even damaged, and no hole was found. Pending journals
    are neither. unreadable: journals of any run; none where one run was asked for.
    """

    ok: bool
    whole: bool
    root: str
    runs: list[CheckedRun]
    pending: list[Pending]
    unreadable: list[UnreadableJournal]


Told = Callable[[int, int, int, int], None]
"""Called with how many runs are done, of how many, and how many bytes are verified, of how many."""


def verify(root: Path, run: str | None, told: Told) -> Verification:
    """Verify all logs of a root, or one run's: its id, project/id, or the beginning of an id that no other has.

    Nothing is written. Raises RunNotFound, or OSError where something cannot be read.
    """
    directories = _directories(root, run)
    of_bytes = sum(path.stat().st_size for directory in directories for path in segment_paths(directory / "log"))
    runtime = runtime_directory(load().runtime_dir)
    journals = {
        stored.join.incarnation: stored for stored in stored_outboxes(runtime) if Path(stored.join.root) == root
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
        ends |= {incarnation: source.cover.end for incarnation, source in found.sources.items()}
    told(len(checked), len(directories), done_bytes, of_bytes)
    unreadable = [] if run is not None else list(_unreadable(runtime))
    whole = not unreadable and not any(each.damage or each.holes for each in checked)
    ok = not unreadable and not any(map(_has_lost, checked))
    wanted = {directory.name for directory in directories} if run is not None else None
    pending = [waiting for stored in journals.values() if (waiting := _pending(stored, ends, wanted)) is not None]
    return Verification(ok, whole, str(root), checked, pending, unreadable)


def _unreadable(runtime: Path) -> Iterator[UnreadableJournal]:
    """Yield the journals whose header is damaged beyond repair, or a newer disttrack's; their processes are gone."""
    for directory in journal_directories(runtime):
        try:
            StoredOutbox(directory)
        except FileNotFoundError:
            continue  # being made, or removed this moment
        except (OSError, ValueError, UnsupportedFormat) as error:
            size = sum(path.stat().st_size for path in directory.glob("*.dtj"))
            if not is_held(directory) and (size or not is_being_made(directory)):
                yield UnreadableJournal(str(directory), size, str(error))


def _has_lost(run: CheckedRun) -> bool:
    """Say whether records of a run are lost, or may be."""
    lost = any(hole.journal is None for hole in run.holes)
    return lost or any(damage.lost in ("records", "unknown") for damage in run.damage)


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
        for hole in _holes(found.sources[incarnation].rank, incarnation, start, end, journals.get(incarnation))
    ]
    lost = [hole for hole in holes if hole.journal is None]
    judge(found, lost, [hole for hole in holes if hole.journal is not None], journals)
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


def _whole_end(journal: StoredOutbox, start: int, end: int) -> int:
    """Return up to where a journal holds whole records from a boundary on; beyond end it is not looked."""
    while start < end and (data := journal.read(start, READ_BYTES)):
        whole = max((record.end for record in records(data)), default=0)
        start += whole
        if whole < len(data):
            break  # it is damaged itself
    return start


def _held_beyond(journal: StoredOutbox, start: int) -> int:
    """Return how many bytes a journal holds from a boundary on, damaged ones included: they come home as they are."""
    offset = start
    while data := journal.read(offset, READ_BYTES):
        offset += len(data)
    return offset - start


def _pending(stored: StoredOutbox, ends: Mapping[Incarnation, int], wanted: set[str] | None) -> Pending | None:
    join = stored.join
    if wanted is not None and (join.run_id or join.given_id) not in wanted:
        return None
    begin = ends.get(join.incarnation, 0)
    try:
        waiting = _held_beyond(stored, begin)
    except FileNotFoundError:  # removed meanwhile: its run has ended
        return None
    blobs = len(spooled(stored.directory))
    if not waiting and not blobs:
        return None
    return Pending(str(stored.directory), join.project, join.run_id, join.rank.rank, waiting, lives(join), blobs)
