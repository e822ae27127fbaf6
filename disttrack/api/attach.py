"""Making journals: a rank's own, and a helper's (a child process that logs into its parent's run)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from disttrack.api.recorder import Recorder
from disttrack.api.resuming import Start, working_directory
from disttrack.capture.repository import find_repository
from disttrack.environments.host import (
    boot_id,
    filesystem_type,
    hostname,
    is_network_filesystem,
    journal_places,
    local_world_size,
    node_id,
    process_start_time,
    runtime_directory,
)
from disttrack.environments.launch import Identity, own_key
from disttrack.environments.torchrun import NAMES, error_file
from disttrack.errors import UnsafeDirectory
from disttrack.journal.directories import is_good_place, note_place, outbox_directory
from disttrack.journal.outbox import DEFAULT_QUOTA_BYTES, Outbox
from disttrack.journal.stored import newest_join
from disttrack.records.names import directory_name, new_run_id
from disttrack.records.types import Join, Rank, RunId, changed, new_incarnation
from disttrack.settings import Settings, root_of
from disttrack.settings.checks import MAX_PROJECT, PROJECT_FORBIDDEN
from disttrack.transport.membership import Membership
from disttrack.transport.sender import Sender

__all__ = ["default_project", "helper_recorder", "job_type_maker", "make_join", "make_recorder", "project_of"]

MEMORY_QUOTA_BYTES = 256 << 20  # of a node whose journals are in memory: training needs that
DEFAULT_PROJECT = "uncategorized"
TEMPLATE = "rank-{rank}"
TEMPLATE_WITH_JOB_TYPE = "{job_type}-rank-{rank}"

_log = logging.getLogger("disttrack")
_refused: set[str] = set()  # directories that were named for journals, and said to be unfit


def job_type_maker(settings: Settings) -> Callable[[Rank], str | None]:
    """Return what makes a rank's own job type: the user's alone, and one per rank in a distributed launch."""

    def job_type_of(rank: Rank) -> str | None:
        if rank.world_size == 1:
            return settings.job_type
        template = settings.job_type_template or (TEMPLATE_WITH_JOB_TYPE if settings.job_type else TEMPLATE)
        return template.replace("{rank}", str(rank.rank)).replace("{job_type}", settings.job_type or "")

    return job_type_of


def default_project() -> str:
    """Return the name of the git repository that the current directory lies in, as a project can be called."""
    try:
        repository = find_repository(Path.cwd())
    except OSError:  # the directory is gone
        repository = None
    name = repository.name if repository is not None else ""
    allowed = "".join(character if character.isprintable() else "-" for character in name)
    for character in PROJECT_FORBIDDEN:
        allowed = allowed.replace(character, "-")
    return allowed.strip()[:MAX_PROJECT].strip() or DEFAULT_PROJECT


def project_of(settings: Settings) -> Path:
    """Return the directory of the project that these settings name."""
    return root_of(settings.dir) / directory_name(settings.project or default_project())


def make_join(
    settings: Settings, identity: Identity, ordinal: int, group: str | None, start: Start | None = None
) -> Join:
    """Return the Join of a new incarnation of this process; start: of a run that begins where another one is."""
    rank = identity.rank
    if identity.launch_key is None:  # only the process group's store can tell: not settled until it has
        rank = changed(rank, settled=False)
    pid = os.getpid()
    return Join(
        incarnation=new_incarnation(),
        launch_key=identity.launch_key or own_key(),
        ordinal=ordinal,
        root=str(root_of(settings.dir)),
        shared=settings.shared,
        project=settings.project or default_project(),
        entity=settings.entity,
        cwd=working_directory(),
        auto=start is not None and start.auto,
        lineage=start.lineage if start is not None else None,
        group=group,
        given_id=settings.id,
        own_id=RunId(new_run_id()),
        name=settings.name,
        job_type=settings.job_type,
        rank_job_type=job_type_maker(settings)(rank),
        tags=settings.tags or (),
        notes=settings.notes,
        rank=rank,
        hints=identity.hints,
        meeting=identity.meeting,
        nodes=identity.nodes,
        host=hostname(),
        boot_id=boot_id(),
        pid=pid,
        start_time=process_start_time(pid),
        error_file=error_file(os.environ) if rank.source == NAMES.source else "",
        sample_s=settings.system_interval_s,
        sample_quota_bytes=settings.journal_quota_bytes,
        journal="",
        time_us=_now_us(),
    )


def _now_us() -> int:
    return time.time_ns() // 1000


def make_recorder(settings: Settings, join: Join, parent: Path | None = None) -> tuple[Recorder, Join]:
    """Return a recorder with a journal on a local disk and a sender, and the Join that says where that lies.

    Where no place can hold a journal, it is said once, and everything logged counts as dropped.
    """
    try:
        runtime = runtime_directory(settings.runtime_dir)
    except (OSError, UnsafeDirectory) as error:
        _log.warning("disttrack: nothing this rank logs is kept: %s", error)
        return Recorder(None, None, strict=settings.strict), join
    for place in journal_places(settings.journal_dir, os.environ):
        if not is_good_place(place):
            continue
        _say_if_elsewhere(settings.journal_dir, place)
        directory = outbox_directory(place, join)
        placed = changed(join, journal=str(directory), node=node_id(runtime))
        try:
            note_place(runtime, place)
            outbox = Outbox(directory, placed, _quota_bytes(settings, place, placed))
        except OSError:
            continue  # full, out of inodes, read-only: the next place may not be
        membership = Membership(
            placed, key_known=join.rank.settled, parent=parent, job_type_of=job_type_maker(settings)
        )
        return Recorder(outbox, _sender(outbox, membership, runtime), strict=settings.strict), placed
    _log.warning(
        "disttrack: no local directory can hold this rank's journal, so nothing it logs is kept. "
        "Free some space, or name a directory with DISTTRACK_JOURNAL_DIR."
    )
    return Recorder(None, None, strict=settings.strict), join


def _say_if_elsewhere(chosen: str | None, place: Path) -> None:
    """Say once a process that journals do not lie where they were to, since other hosts share that directory."""
    if chosen is None or chosen in _refused or not is_network_filesystem(Path(chosen)):
        return
    _refused.add(chosen)
    _log.warning(
        "disttrack: DISTTRACK_JOURNAL_DIR is %s, on a network file system (%s), which may hang or lose what was "
        "written last. Journals lie in %s instead; name a directory on a local disk to have them elsewhere.",
        chosen,
        filesystem_type(Path(chosen)),
        place,
    )


def _quota_bytes(settings: Settings, place: Path, join: Join) -> int:
    """Return what this rank's journal may take of its node's disk."""
    quota = settings.journal_quota_bytes
    if quota is None:
        quota = MEMORY_QUOTA_BYTES if filesystem_type(place) in ("tmpfs", "ramfs") else DEFAULT_QUOTA_BYTES
    return quota // local_world_size(join.rank.world_size, join.nodes, os.environ)


def _sender(outbox: Outbox, membership: Membership, runtime: Path) -> Sender | None:
    """Return the thread that carries the journal home; None, said once, where this process can have none."""
    try:
        return Sender(outbox, membership, runtime)
    except (OSError, RuntimeError) as error:  # no descriptor, no thread left
        _log.warning(
            "disttrack: this process cannot send (%s); what it logs stays in %s until `disttrack ls` on this host "
            "brings it home",
            error,
            outbox.directory,
        )
        return None


def helper_recorder(
    parent_journal: Path, settings: Settings, known: Join | None = None
) -> tuple[Recorder, Join] | None:
    """Return a recorder for this process as a helper of the rank whose journal this is, and its Join.

    known: the rank's Join, for who has something to say of it also when its run is over.
    None where that run is over and its journal gone; it is said once that this process logs nothing.
    """
    parent = newest_join(parent_journal) or known
    if parent is None:
        _log.warning("disttrack: the run that this process's parent had open is over; what is logged here is not kept")
        return None
    pid = os.getpid()
    join = changed(
        parent,
        incarnation=new_incarnation(),
        role="helper",
        parent=parent.parent if parent.role == "helper" else parent.incarnation,
        name=None,
        auto=False,
        lineage=None,
        error_file="",
        run_id=None,
        host=hostname(),
        boot_id=boot_id(),
        pid=pid,
        start_time=process_start_time(pid),
        time_us=_now_us(),
    )
    return make_recorder(settings, join, parent_journal)
