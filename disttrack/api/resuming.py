"""Where a run begins: anew, behind its last step, or behind a step of another one. Decided by the primary, at init.

It looks at what the run's directory says, for at most LOOK_S; no server is asked, so it is the same offline. The other
ranks of a launch decide nothing and refuse nothing: they look only where to count on from.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from disttrack.environments.host import hostname
from disttrack.environments.launch import Identity
from disttrack.errors import DisttrackError, ResumeError, RunDeleted
from disttrack.journal.glance import Glance, failed_here, glance, latest_run
from disttrack.records.names import DELETED, directory_name
from disttrack.records.types import Lineage
from disttrack.settings import Settings, moment

__all__ = ["Start", "start_of", "working_directory"]

LOOK_S = 0.9  # P7 grants init 1 s for it
READ_S = 0.6  # of these, before it is content with what it has seen

_log = logging.getLogger("disttrack")
_T = TypeVar("_T")


class Start(NamedTuple):
    """How a run begins.

    settings: with the id that was found. step: of the first row without one; None: 0, as nothing else is known. auto:
    the writer finds the run that the primary found.
    """

    settings: Settings
    lineage: Lineage | None = None
    step: int | None = None
    auto: bool = False


def start_of(settings: Settings, identity: Identity, project: Path) -> Start:
    """Return where the run begins that these settings name, in the directory of its project.

    Raises ResumeError where a run that must be there is not, must not be there is, or is being written by another
    launch; RunDeleted for the id of a deleted run. Nothing is written.
    """
    is_primary = identity.rank.rank == 0
    if settings.fork_from is not None:
        parent = moment("fork_from", settings.fork_from)
        if is_primary:
            _look(lambda deadline: _check_fork(project, parent.run_id, deadline))
        return Start(settings, Lineage(kind="forked", run_id=parent.run_id, step=parent.step), parent.step + 1)
    if settings.resume_from is not None:
        begun = moment("resume_from", settings.resume_from)
        if is_primary:
            _look(lambda deadline: _known(settings, identity, project, begun.run_id, deadline, must=True))
        return Start(settings, Lineage(kind="rewound", run_id=begun.run_id, step=begun.step), begun.step + 1)
    if settings.id is not None:
        run_id = settings.id
        if not is_primary:
            return _following(settings, identity, project)
        found = _look(lambda deadline: _known(settings, identity, project, run_id, deadline))
        return _behind(settings, run_id, found, identity) if found is not None else Start(settings)
    if settings.resume == "auto":
        return (_last_failed if is_primary else _following)(settings, identity, project)
    return Start(settings)


def working_directory() -> str:
    """Return the current directory; "" where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _look(ask: Callable[[float], _T]) -> _T | None:
    """Return what ask says within LOOK_S, or raise what it raises; None, said once, where the store does not answer.

    In a thread of its own: a file server that hangs must not hold up init.
    """
    answers: list[_T] = []
    errors: list[Exception] = []

    def look() -> None:
        try:
            answers.append(ask(time.monotonic() + READ_S))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=look, name="disttrack-resume", daemon=True)
    thread.start()
    thread.join(LOOK_S)
    if errors and isinstance(errors[0], DisttrackError):
        raise errors[0]
    if answers:
        return answers[0]
    why = errors[0] if errors else f"no answer within {LOOK_S:g} s"
    _log.warning("disttrack: nobody knows yet whether this run was there before (%s); its writer will find out", why)
    return None


def _check_fork(project: Path, parent: str, deadline: float) -> None:
    if _is_deleted(project, parent) or glance(project / directory_name(parent), deadline) is None:
        raise ResumeError(
            f"fork_from={parent!r} cannot be used",
            f"there is no such run in {project}",
            "`disttrack ls` shows the runs there are.",
        )


def _known(
    settings: Settings, identity: Identity, project: Path, run_id: str, deadline: float, *, must: bool = False
) -> Glance | None:
    """Return what is there of a run that may be used; None where it is a new one."""
    if _is_deleted(project, run_id):
        raise RunDeleted(project.name, run_id)
    found = glance(project / directory_name(run_id), deadline)
    if found is None:
        if must or settings.resume == "must":
            raise ResumeError(
                f"The run {run_id!r} cannot be resumed",
                f"there is no such run in {project}",
                "`disttrack ls` shows the runs there are; resume='allow' begins it where there is none.",
            )
        return None
    alive = found.alive()
    if alive is not None and identity.launch_key not in (None, alive.launch_key):
        raise ResumeError(
            f"The run {run_id!r} cannot be used",
            f"rank {alive.rank.rank} of another launch is writing it (pid {alive.pid} on {alive.host})",
            "Wait until it has ended, or use another id. A run of a node that is gone is free after a minute.",
        )
    if settings.resume == "never" and not _is_ours(found, identity):
        raise ResumeError(
            f"The run {run_id!r} cannot be begun",
            f"it is there already, in {project}, and resume='never'",
            "Use another id, or leave it out to get one; resume='allow' goes on with it.",
        )
    return found


def _is_deleted(project: Path, run_id: str) -> bool:
    return (project / DELETED / directory_name(run_id)).exists()


def _is_ours(found: Glance, identity: Identity) -> bool:
    """Say whether this launch has opened the run: an earlier round of it, or a rank that was quicker.

    Not where this process is a launch by itself: then what it opened before is another run that ended.
    """
    key = identity.launch_key or ""
    return not key.startswith("process:") and any(each.join.launch_key == key for each in found.admissions.values())


def _behind(settings: Settings, run_id: str, found: Glance, identity: Identity) -> Start:
    """Return the start of an attempt at a run that is there."""
    if settings.resume not in ("allow", "must", "auto"):
        if not _is_ours(found, identity):
            _log.warning(
                "disttrack: the run %s is there already; this is a new attempt of it, and its points supersede those "
                "from its first step on (nothing is destroyed). resume='allow' goes on behind its last step",
                run_id,
            )
        return Start(settings)
    step, begin = _begin(found, identity)
    return Start(settings, Lineage(kind="resumed", run_id=run_id, step=step), begin)


def _following(settings: Settings, identity: Identity, project: Path) -> Start:
    """Return the start of a rank that is not the primary: it counts on from where that one does."""
    auto = settings.id is None
    if settings.resume not in ("allow", "must", "auto"):
        return Start(settings)
    step = _look(lambda deadline: _step_behind(settings, identity, project, deadline))
    return Start(settings, step=step, auto=auto)


def _step_behind(settings: Settings, identity: Identity, project: Path, deadline: float) -> int | None:
    """Return the step behind the last one of the run that the primary goes on with; None where it begins a new one."""
    run_id = settings.id or latest_run(project, hostname(), working_directory())
    found = glance(project / directory_name(run_id), deadline) if run_id is not None else None
    if found is None or (settings.id is None and found.ended_well):
        return None
    return _begin(found, identity)[1]


def _begin(found: Glance, identity: Identity) -> tuple[int | None, int]:
    """Return the last step of a run before the attempt that begins now, and the first one of that."""
    quicker = found.alive() is not None and _is_ours(found, identity)  # a rank whose attempt is the one that begins
    step = found.last_step(before=found.attempts - 1 if quicker else None)
    return step, 0 if step is None else step + 1


def _last_failed(settings: Settings, identity: Identity, project: Path) -> Start:
    """Return the start of an attempt at the last run of this host and directory that failed; of a new run elsewise."""
    host, cwd = hostname(), working_directory()
    found = _look(lambda deadline: failed_here(project, host, cwd, deadline))
    if found is None:
        return Start(settings)
    run_id, seen = found
    _log.warning("disttrack: resume='auto' goes on with run %s, which did not end with exit code 0", run_id)
    begun = _behind(settings, run_id, seen, identity)
    if identity.rank.world_size == 1:
        return begun._replace(settings=dataclasses.replace(settings, id=run_id))
    return begun._replace(auto=True)
