"""What is to be done to bring the index of a root up with its run logs, found out without writing anything.

In: what the tables know of each project and run, and what the root shows of them now. Out: a Plan, for index.upkeep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from disttrack.index.checksums import verified
from disttrack.index.decoder import SegmentSeen
from disttrack.index.facts import RunFacts
from disttrack.index.fetch import ahead
from disttrack.index.store import Store
from disttrack.index.survey import NEVER, ProjectTimes, changed_ns, look, project_directories, runs, segments
from disttrack.records.codec import decode

__all__ = ["Plan", "Work", "log_of", "make_plan", "size_bytes"]

MAX_SIZED = 100  # runs whose sizes are looked up to say how much there is to index


class Work(NamedTuple):
    """A run to look into; inode is None where it is gone."""

    project: str
    directory: str
    inode: int | None
    is_new: bool = False  # nothing is known of it


class Plan(NamedTuple):
    """The runs to look into, and what is to be known of their projects once that is done."""

    work: list[Work]
    remember: dict[str, ProjectTimes]
    gone: list[int]  # projects


def make_plan(store: Store, root: Path | None, now_ns: int) -> Plan:
    """Find out which runs came, went or may have grown; root: None where there is none."""
    known = store.projects()
    if root is None:
        return Plan([], {}, [number for number, _ in known.values()])
    plan = Plan([], {}, [])
    there = project_directories(root)
    for project in there:
        number, times = known.get(project, (-1, NEVER))
        try:
            _plan_project(plan, store, root, project, number, times, now_ns)
        except OSError:
            continue  # vanished meanwhile, or another user's
    plan.gone.extend(number for project, (number, _) in known.items() if project not in there)
    return plan


def _plan_project(
    plan: Plan, store: Store, root: Path, project: str, number: int, times: ProjectTimes, now_ns: int
) -> None:
    found = look(root / project, times, now_ns)
    rows = store.rows(number, only_live=True)
    for name in (found.live | found.edited) - rows.keys():
        if (row := store.row(number, name)) is not None:
            rows[name] = row
    candidates = set(rows)
    if found.changed or not found.live <= rows.keys():
        rows = store.rows(number)
        there = {name: inode for name, inode in runs(root / project).items() if name not in found.deleted}
        other = [name for name, row in rows.items() if there.get(name) != row.inode]
        plan.work.extend(Work(project, name, there.get(name)) for name in other)
        plan.work.extend(Work(project, name, inode, True) for name, inode in there.items() if name not in rows)
        if found.woken:
            logs = (log_of(root, project, name) for name in rows)
            changed = ahead(_changed_ns, logs)
            candidates |= {name for name, time_ns in zip(rows, changed, strict=True) if time_ns != rows[name].log_ns}
        candidates = (candidates - set(other)) & rows.keys()  # who dropped one meanwhile knows why
    if found.times != times:
        plan.remember[project] = found.times
    looked = ahead(_segments, (log_of(root, project, name) for name in sorted(candidates)))
    plan.work.extend(
        Work(project, name, rows[name].inode)
        for name, there in zip(sorted(candidates), looked, strict=True)
        if there is not None and _differs(decode(verified(rows[name].facts), RunFacts), there)
    )


def log_of(root: Path, project: str, directory: str) -> str:
    """Return the directory of a run's log, by the names of its project's directory and its own."""
    return f"{root}/{project}/{directory}/log"


def size_bytes(root: Path, work: Sequence[Work]) -> int | None:
    """Return how large the logs of some runs are together; None where to find out would take long itself."""
    if len(work) > MAX_SIZED:
        return None
    logs = (_segments(log_of(root, one.project, one.directory)) or {} for one in work)
    return sum(segment.size for log in logs for segment in log.values())


def _differs(facts: RunFacts, there: Mapping[int, SegmentSeen]) -> bool:
    """Say whether a log is not what was applied of it."""
    return {segment.number: (segment.inode, segment.size) for segment in facts.segments} != there


def _segments(log: str) -> dict[int, SegmentSeen] | None:
    try:
        return segments(log)
    except OSError:
        return None  # another user's, or the file server has hiccups: what is known stays


def _changed_ns(log: str) -> int:
    try:
        return changed_ns(log)
    except OSError:
        return -1
