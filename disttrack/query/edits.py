"""Changing runs after the fact: each change is an Edit in the run's own log, and so outlives every index.

An Edit lies in a segment of its own (O_EXCL on the next number), so that no writer is ever disturbed; the
run's name is appended to the project's `.edits`, which readers follow. Deleting leaves a tombstone.
"""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path

from disttrack.environments.files import make_directory, open_plain, touch
from disttrack.errors import RunNotFound, UsageError
from disttrack.index.queries import RunRecord
from disttrack.journal.segment import FORMAT_VERSION, FrameKind, Segment
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import row_of
from disttrack.records.names import DELETED, EDITS, LIVE, directory_name
from disttrack.records.types import Edit, RunHeader, RunId, changed

__all__ = ["delete_found", "delete_run", "edit_found", "edit_run", "new_edit", "restore_run", "undelete"]


def new_edit(
    *,
    name: str | None = None,
    notes: str | None = None,
    add_tags: tuple[str, ...] = (),
    remove_tags: tuple[str, ...] = (),
    archived: bool | None = None,
) -> Edit:
    """Return an edit by this user, now; raise UsageError where it changes nothing, or a name or tag is empty."""
    edit = Edit(
        author=getpass.getuser(),
        time_us=time.time_ns() // 1000,
        name=name,
        notes=notes,
        add_tags=add_tags,
        remove_tags=remove_tags,
        archived=archived,
    )
    if name == "" or "" in add_tags:
        raise UsageError("The edit cannot be used", "a name or tag is empty", "Give it at least one character.")
    if changed(edit, author="", time_us=0) == Edit(author="", time_us=0):
        raise UsageError("The edit cannot be used", "it changes nothing", "Name what to change: name, notes or tags.")
    return edit


def edit_run(root: Path, run_id: str, edit: Edit) -> None:
    """Store an edit of a run; every reader sees it from then on.

    Raises RunNotFound, or OSError where the run's directory cannot be written.
    """
    with Reader(root) as reader:
        record = reader.find(run_id)
    edit_found(root, record, edit)


def edit_found(root: Path, record: RunRecord, edit: Edit) -> None:
    """Store an edit of a run that was found already; raise OSError where its directory cannot be written."""
    directory = root / record.project_directory / record.directory
    segment = Segment(directory / "log")
    try:
        segment.append(FrameKind.HEADER, record.facts.header or _header(record, edit))
        segment.append(FrameKind.EDIT, edit)
        segment.sync()
    finally:
        segment.close()
    line = os.fsencode(record.directory) + b"\n"
    fd = open_plain(directory.parent / EDITS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def _header(record: RunRecord, edit: Edit) -> RunHeader:
    """Return a header for a run whose own one is damaged."""
    return RunHeader(
        format_version=FORMAT_VERSION,
        run_id=RunId(record.run_id),
        project=record.project,
        name=record.run_id,
        group=None,
        launch_key="",
        ordinal=0,
        nonce="",
        time_us=edit.time_us,
    )


def delete_run(root: Path, run_id: str, *, do: bool) -> str:
    """Delete a run (its bytes stay until they are collected; restore_run undoes it); return `project/id`.

    do: False only says what would be done. Raises RunNotFound, or UsageError where the run is still going on.
    """
    with Reader(root) as reader:
        record = reader.find(run_id)
    return delete_found(root, record, do=do)


def delete_found(root: Path, record: RunRecord, *, do: bool) -> str:
    """Delete a run that was found already, as delete_run does."""
    name = record.path
    project = root / record.project_directory
    if row_of(record, Observer.here(root)).state == "running":
        raise UsageError(f"{name} cannot be deleted", "it is still running", "Wait for its end, or stop it first.")
    if do:
        make_directory(project / DELETED)
        touch(project / DELETED / record.directory)
        (project / LIVE / record.directory).unlink(missing_ok=True)
    return name


def restore_run(root: Path, run_id: str) -> str:
    """Undo the deletion of a run; return `project/id`. Raises RunNotFound where no such run was deleted."""
    undelete(root, run_id)
    with Reader(root) as reader:
        record = reader.find(run_id)
    return record.path


def undelete(root: Path, run_id: str) -> None:
    """Remove the tombstone of a run; raise RunNotFound where there is none, or several."""
    project, _, name = run_id.rpartition("/")
    within = directory_name(project) if project else "*"
    tombstones = sorted(root.glob(f"{within}/{DELETED}/{directory_name(name)}"))
    if len(tombstones) != 1:
        raise RunNotFound(run_id, root, [f"{path.parent.parent.name}/{name}" for path in tombstones])
    tombstones[0].unlink()
