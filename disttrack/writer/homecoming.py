"""Brings home what dead processes of this host left in their journals when no writer was there to do it."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import NamedTuple

from disttrack.environments.host import node_id, runtime_directory
from disttrack.journal.directories import is_home, mark_home
from disttrack.journal.stored import StoredOutbox, stored_outboxes
from disttrack.records.codec import records
from disttrack.records.payloads import USER_KINDS
from disttrack.settings import load
from disttrack.transport.rendezvous import Claim
from disttrack.writer.launch import Launch
from disttrack.writer.liveness import dead_journals, how_ended, lives
from disttrack.writer.porter import bring_blobs

__all__ = ["Homecoming", "bring_home"]

WAIT_S = 6.0
LOOK_S = 0.02


class Homecoming(NamedTuple):
    """What came home from one journal, and where it lay; orphan: it met no writer, and its run was made for it now."""

    project: str
    run_id: str
    rank: int
    records: int
    orphan: bool
    journal: str = ""


def bring_home(root: Path, *, patient: bool = False) -> list[Homecoming]:
    """Store what dead processes' journals on this host hold for runs in root; idempotent, safe beside live ranks.

    A launch that has a process is left to it, and waited for a moment: it may have been started to do just this. One
    that cannot reach its writer gives its claim to us. patient: also a launch none of whose ranks lives here is waited
    for: its process removes their journals as it goes, unless a scheduler kills it before.
    Raises OSError where the root cannot be written.
    """
    runtime = runtime_directory(load().runtime_dir)
    home: list[Homecoming] = []
    deadline = time.monotonic() + WAIT_S
    while True:
        left_to_writer = False
        waiting = _waiting(runtime, root)
        going = _without_ranks(runtime, root) if patient else set[str]()
        for key in [*waiting, *(going - waiting.keys())]:
            claim = Claim(runtime, key)
            if claim.take():
                home += _bring_launch_home(runtime, key, claim)
            elif key in going or not all(is_home(journal) for journal in waiting[key]):
                left_to_writer = True
                claim.want()
        if not left_to_writer or time.monotonic() > deadline:
            return home
        time.sleep(LOOK_S)


def _waiting(runtime: Path, root: Path) -> dict[str, list[Path]]:
    """Return the journals of dead processes for runs in root, by launch."""
    waiting: dict[str, list[Path]] = {}
    for stored in dead_journals(runtime, lambda join: Path(join.root) == root):
        waiting.setdefault(stored.join.launch_key, []).append(stored.directory)
    return waiting


def _without_ranks(runtime: Path, root: Path) -> set[str]:
    """Return the launches that have journals here for runs in root, and no rank that lives."""
    ranks: dict[str, bool] = {}
    for join in (stored.join for stored in stored_outboxes(runtime)):
        if Path(join.root) == root:
            ranks[join.launch_key] = ranks.get(join.launch_key, False) or (join.role != "node" and lives(join))
    return {key for key, any_lives in ranks.items() if not any_lives}


def _bring_launch_home(runtime: Path, key: str, claim: Claim) -> list[Homecoming]:
    launch = Launch(runtime, key, claim, secrets.token_hex(16))
    here = node_id(runtime)
    try:
        home = [
            Homecoming(
                run.header.project,
                run.header.run_id,
                source.join.rank.rank,
                _count(Path(source.join.journal), offset),
                source.admission.orphan,
                source.join.journal,
            )
            for run, source, offset in launch.adopt(orphans=True)
        ]
        for run in launch.runs.values():
            for source in run.sources.values():
                # Of another node's ranks nothing can be known here: they may live, and their journals hold more.
                ours = source.join.node in ("", here) or Path(source.join.journal).is_dir()
                if ours and not source.over and not lives(source.join):
                    launch.bury(run, source, how_ended(source.join))
                if source.over and ours and not lives(source.join) and bring_blobs(run, source):
                    mark_home(Path(source.join.journal))
            if run.sources.all_over():
                launch.end_run(run)
    finally:
        launch.close()
    return home


def _count(journal: Path, offset: int) -> int:
    """Return how many user records a journal holds from offset on."""
    try:
        stored = StoredOutbox(journal)
    except (OSError, ValueError):
        return 0
    count = 0
    while data := stored.read(offset, 1 << 20):
        count += sum(record.kind in USER_KINDS for record in records(data))
        offset += len(data)
    return count
