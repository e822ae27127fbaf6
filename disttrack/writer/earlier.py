"""The runs that a root holds already, asked which of them a rank belongs to: an earlier writer may have left no note.

In: a project's directory and a Join. Out: a run id, or None. Called by Launch where neither launch nor rank knows.
"""

from __future__ import annotations

from pathlib import Path

from disttrack.journal.segment import Frame, FrameKind, read_frames, segment_paths
from disttrack.records.names import LIVE, directory_name
from disttrack.records.types import Admission, Join, RunHeader
from disttrack.writer.history import read_history

__all__ = ["count_runs", "run_in_root", "run_of_job", "run_of_parent", "run_that_lacks"]

MEETING_US = 10 * 60 * 1_000_000  # between the clocks of two nodes, and the starts of their ranks


def count_runs(project: Path) -> int:
    """Return how many runs a project holds."""
    try:
        return len(_names(project))
    except FileNotFoundError:
        return 0


def run_in_root(project: Path, join: Join) -> str | None:
    """Return the run of this launch among the live ones of a project: the note of its id may be gone."""
    markers = project / LIVE
    for marker in sorted(markers.iterdir()) if markers.is_dir() else []:
        log = project / marker.name / "log"
        header = _header(log)
        if header is not None and (header.launch_key, header.ordinal) == (join.launch_key, join.ordinal):
            if join.is_onlooker or _is_opened_as(log, join):
                return header.run_id
    return None


def run_of_job(project: Path, join: Join) -> str | None:
    """Return the run of a scheduler's job that a rank belongs to, though no note and no rank of its launch tells.

    Another node of this very start may have opened it, whose writer was killed with its tasks; or an earlier start of
    a job that was requeued, maybe on other nodes. A person's choice of another run (resume, fork) comes first. Of a
    batch script that starts several launches by itself, nobody can tell which of its runs is meant.
    """
    if not join.job or join.lineage is not None or not project.is_dir():
        return None
    live = project / LIVE
    markers = [marker.name for marker in live.iterdir()] if live.is_dir() else []
    runs = _of_job(project, markers, join) or (_of_job(project, _names(project), join) if join.requeues else [])
    if ".batch:" in join.job and (len(runs) > 1 or any(_began_again(project, run, join) for run in runs)):
        return None
    return max(runs, key=lambda run: run.time_us).run_id if runs else None


def _of_job(project: Path, names: list[str], join: Join) -> list[RunHeader]:
    logs = (project / name / "log" for name in names)
    return [
        header
        for header, log in ((_header(log), log) for log in logs)
        if header is not None
        and (header.job, header.ordinal) == (join.job, join.ordinal)
        and (header.requeues < join.requeues or (header.meeting and _starts_together(header, join)))
        and _is_opened_as(log, join)
    ]


def _began_again(project: Path, run: RunHeader, join: Join) -> bool:
    """Say whether another launch of this start has gone on with a run already."""
    others = (admission.join for admission in read_history(project / directory_name(run.run_id) / "log").admissions)
    return any(other.requeues == join.requeues and other.launch_key != join.launch_key for other in others)


def _starts_together(header: RunHeader, join: Join) -> bool:
    return (header.meeting, header.requeues) == (join.meeting, join.requeues)


def _names(project: Path) -> list[str]:
    return [path.name for path in project.iterdir() if not path.name.startswith(".")]


def run_of_parent(project: Path, join: Join) -> str | None:
    """Return the run of a rank whose helper comes late: it has ended, and no writer of its launch is left."""
    for directory in sorted(project.iterdir()) if join.parent is not None and project.is_dir() else []:
        header = _header(directory / "log")
        if header is not None and (header.launch_key, header.ordinal) == (join.launch_key, join.ordinal):
            admissions = read_history(directory / "log").admissions
            if any(admission.join.incarnation == join.parent for admission in admissions):
                return header.run_id
    return None


def run_that_lacks(project: Path, join: Join) -> str | None:
    """Return the run that a rank belongs to whose node never reached the others.

    It knows where they were to meet, but one launch after another may meet there: its run is the one that was opened
    about when the rank began, and has no such rank.
    """
    found: list[tuple[int, str]] = []
    for directory in sorted(project.iterdir()) if join.meeting and project.is_dir() else []:
        header = _header(directory / "log")
        if header is not None and header.ordinal == join.ordinal:
            apart_us = abs(header.time_us - join.time_us)
            if apart_us < MEETING_US and _lacks(directory / "log", join):
                found.append((apart_us, header.run_id))
    return min(found)[1] if found else None


def _header(log: Path) -> RunHeader | None:
    for path in segment_paths(log)[:1]:
        first = next(read_frames(path), None)
        if isinstance(first, Frame) and first.kind == FrameKind.HEADER:
            return first.value(RunHeader)
    return None


def _is_opened_as(log: Path, join: Join) -> bool:
    """Say whether a run was opened with the group and id that a rank has: each of these has ordinals of its own."""
    frames = (frame for path in segment_paths(log)[:1] for frame in read_frames(path))
    for frame in frames:
        if isinstance(frame, Frame) and frame.kind == FrameKind.ADMISSION:
            opened = frame.value(Admission).join
            return (opened.group, opened.given_id) == (join.group, join.given_id)
    return True  # its writer was killed before it admitted whom it was opened for


def _lacks(log: Path, join: Join) -> bool:
    """Say whether the ranks of a log met where this one would have, and its newest attempt has no such rank."""
    admissions = read_history(log).admissions
    newest = max((admission.attempt for admission in admissions), default=0)
    ranks = {admission.join.rank.rank for admission in admissions if admission.attempt == newest}
    return join.rank.rank not in ranks and any(
        (admission.join.meeting, admission.join.group, admission.join.given_id)
        == (join.meeting, join.group, join.given_id)
        for admission in admissions
    )
