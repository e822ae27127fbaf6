"""The verb fsck: what a verification found, as text or as strict JSON."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from disttrack.cli.output import count, printable, say_json
from disttrack.cli.reading import as_json, in_directory
from disttrack.doctor.damage import DamagedRange, Held, Loss
from disttrack.doctor.verification import CheckedRun, Pending, UnreadableJournal, Verification, verify
from disttrack.errors import UsageError
from disttrack.settings import root_of

__all__ = ["fsck"]

LOST = 1
_SENTENCES: dict[Loss, str] = {
    "nothing": "nothing of it is lost: the log has it once more",
    "pending": "nothing of it is lost: `disttrack recover` takes it from a journal on this host",
    "unknown": "what it cost cannot be told",
}

PATIENCE_S = 1.0
EVERY_S = 10.0
EVERY_ON_TERMINAL_S = 0.2


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@as_json()
@in_directory
@click.pass_context
def fsck(context: click.Context, run_id: str | None, json: bool, directory: str | None) -> None:
    """Verify every frame and record of a run's log, or of all, and name what is damaged.

    Reads the logs themselves and writes nothing. Ends with 1 where records are lost, or where that cannot be told.
    """
    line = _Line()
    try:
        found = verify(root_of(directory), run_id, line.tell)
    finally:
        line.close()
    if not (found.runs or found.pending or found.unreadable or Path(found.root).is_dir()):
        raise UsageError(
            f"{printable(found.root)} cannot be verified",
            "it does not exist, and no journal on this host belongs there",
            "Name the directory that disttrack-runs lies in with --dir (or DISTTRACK_DIR).",
        )
    if json:
        say_json(dataclasses.asdict(found))
    else:
        click.echo("\n".join(_lines(found)))
    if not found.ok:
        context.exit(LOST)


class _Line:
    """How far it is, on standard error, where it takes long."""

    def __init__(self) -> None:
        self._next_at = time.monotonic() + PATIENCE_S
        self._is_terminal = sys.stderr.isatty()
        self._told = False

    def tell(self, runs: int, of_runs: int, size_bytes: int, of_bytes: int) -> None:
        """Tell it, if it is time."""
        if time.monotonic() < self._next_at:
            return
        text = f"Verifying: {runs:,} of {count(of_runs, 'run')}, {size_bytes / 1e6:,.0f} MB of {of_bytes / 1e6:,.0f} MB"
        click.echo(f"\r{text}\x1b[K" if self._is_terminal else text, err=True, nl=not self._is_terminal)
        self._told = True
        self._next_at = time.monotonic() + (EVERY_ON_TERMINAL_S if self._is_terminal else EVERY_S)

    def close(self) -> None:
        """End the line."""
        if self._told and self._is_terminal:
            click.echo("", err=True)


def _lines(found: Verification) -> Iterator[str]:
    for run in found.runs:
        if run.damage or run.holes or run.unfinished:
            yield from _run_lines(run)
    for pending in found.pending:
        yield _pending_line(pending)
    for journal in found.unreadable:
        yield _unreadable_line(journal)
    frames = count(sum(run.frames for run in found.runs), "whole frame")
    size = sum(run.bytes for run in found.runs) / 1e6
    yield f"Verified {count(len(found.runs), 'run')}, {frames}, {size:,.1f} MB in {printable(found.root)}."
    yield "Nothing is damaged." if found.whole else _verdict(found)


def _run_lines(run: CheckedRun) -> Iterator[str]:
    yield f"{printable(run.project)}/{printable(run.run)}"
    for damage in run.damage:
        yield f"  damaged: {_place(damage)}: {printable(damage.why)}"
        for held in damage.held:
            yield f"    it held {_held(held)}"
        if damage.lost in _SENTENCES:
            yield f"    {_SENTENCES[damage.lost]}"
    for hole in run.holes:
        if hole.journal is None:
            yield f"  lost: {_held(hole)}"
        else:
            yield f"  missing: {_held(hole)}; `disttrack recover` takes it from {printable(hole.journal)}"
    for tail in run.unfinished:
        yield f"  unfinished, nothing is lost: {_place(tail)}"


def _place(damage: DamagedRange) -> str:
    where = printable(damage.path)
    return where if damage.start == damage.end == 0 else f"{where}, bytes {damage.start:,} to {damage.end:,}"


def _held(held: Held) -> str:
    return f"bytes {held.start:,} to {held.end:,} of the journal of rank {held.rank} (incarnation {held.incarnation})"


def _pending_line(pending: Pending) -> str:
    run = f"{printable(pending.project)}/{printable(pending.run or 'a run yet to be made')}"
    blobs = f" and {pending.blobs:,} media and files" if pending.blobs else ""
    what = f"{count(pending.bytes, 'byte')}{blobs} of rank {pending.rank} of {run} are in {printable(pending.journal)}"
    return f"Pending: {what}; " + ("it is still logging" if pending.alive else "`disttrack recover` brings them home")


def _unreadable_line(journal: UnreadableJournal) -> str:
    what = f"{count(journal.bytes, 'byte')} in {printable(journal.journal)}"
    return f"Unreadable: {what}, of no one knows which run: {printable(journal.why)}"


def _verdict(found: Verification) -> str:
    runs = found.runs
    lost = sum(hole.end - hole.start for run in runs for hole in run.holes if hole.journal is None)
    kept = sum(hole.end - hole.start for run in runs for hole in run.holes if hole.journal is not None)
    unknown = sum(damage.lost == "unknown" for run in runs for damage in run.damage)
    told = [count(sum(len(run.damage) for run in runs), "damaged place")]
    if lost:
        told.append(f"{count(lost, 'byte')} of journals known to be lost")
    if unknown:
        told.append(f"{unknown:,} of them of which nobody can tell what they cost")
    if found.unreadable:
        told.append(count(len(found.unreadable), "unreadable journal"))
    if kept:
        told.append(f"{count(kept, 'byte')} that journals on this host still hold")
    if found.ok:
        told.append("nothing is lost")
    return f"{', '.join(told)}."
