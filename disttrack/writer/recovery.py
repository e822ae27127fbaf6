"""What `disttrack recover` does: journals of dead processes brought home, each with what became of it.

Journals that were copied from another machine are read where the copy lies, and left as they are.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from disttrack.environments.endings import UNKNOWN
from disttrack.environments.host import runtime_directory
from disttrack.errors import DisttrackError
from disttrack.journal.directories import is_held, is_home, is_rest, journal_directories, remove_rests
from disttrack.journal.segment import MAX_RAW_BYTES
from disttrack.journal.stored import StoredOutbox
from disttrack.records.codec import records
from disttrack.records.names import DELETED, directory_name
from disttrack.records.payloads import USER_KINDS
from disttrack.records.types import Join, changed
from disttrack.settings import load
from disttrack.transport.rendezvous import Claim
from disttrack.writer.homecoming import bring_home
from disttrack.writer.ingest import RunIngest
from disttrack.writer.launch import Launch
from disttrack.writer.liveness import lives
from disttrack.writer.porter import copy_blobs
from disttrack.writer.roster import Source
from disttrack.writer.sweeping import sweep

__all__ = ["Recovered", "recover", "recover_copies"]

WAIT_S = 6.0
LOOK_S = 0.02
LIVE_WHY = "its process is still logging: its writer stores it"


@dataclasses.dataclass(frozen=True)
class Recovered:
    """What became of one journal; records: of its user, that came home now; why: null where nothing of it remains.

    removed: it is no more, as nobody needs it.
    """

    journal: str
    project: str | None = None
    run: str | None = None
    rank: int | None = None
    records: int = 0
    why: str | None = None
    removed: bool = False


def recover(root: Path) -> list[Recovered]:
    """Bring home what dead processes' journals on this host hold for runs in root, and fill holes of its logs.

    Removes those that nobody needs any more, and what somebody left of others who was killed removing them.
    Idempotent, safe beside live ranks, whose journals are left to their writers and not told of.
    Raises OSError where the root cannot be written.
    """
    runtime = runtime_directory(load().runtime_dir)
    found = [Recovered(str(directory), removed=True) for directory in remove_rests(runtime)]
    before: dict[Path, Join | str] = {}
    for directory in journal_directories(runtime):
        try:
            join = StoredOutbox(directory).join
        except FileNotFoundError:
            continue  # being made, or removed this moment
        except (OSError, ValueError, DisttrackError) as error:
            if not is_held(directory):
                before[directory] = str(error)
            continue
        if Path(join.root) == root and not lives(join):
            before[directory] = join
    home = {homecoming.journal: homecoming for homecoming in bring_home(root, patient=True)}
    before |= dict(sweep(runtime, root))
    for directory, told in before.items():
        if isinstance(told, str):
            found.append(Recovered(str(directory), why=told))
            continue
        join = told
        came = home.get(str(directory))
        run = join.run_id if came is None else came.run_id
        count = 0 if came is None else came.records
        why = _why(root, directory, join)
        removed = not directory.exists()
        found.append(Recovered(str(directory), join.project, run, join.rank.rank, count, why, removed))
    return found


def _why(root: Path, directory: Path, join: Join) -> str | None:
    """Return why a journal of this host holds more than is stored, after a homecoming; None where it does not."""
    if not directory.exists() or is_home(directory):
        return None
    run_id = join.run_id or join.given_id
    if run_id is not None and (root / directory_name(join.project) / DELETED / directory_name(run_id)).exists():
        return f"its run was deleted; `disttrack restore {run_id}` brings it back"
    return "the process of its launch has it, or a newer disttrack wrote its run: try again later"


def recover_copies(directory: Path, root: Path | None) -> list[Recovered]:
    """Bring home the journals at or below a directory, whatever machine they are from; root: None for their own.

    Idempotent; the journals are left as they are. Raises OSError where the directory cannot be read.
    """
    found: list[Recovered] = []
    launches: dict[str, list[tuple[StoredOutbox, Join]]] = {}
    for each in _journals(directory):
        try:
            stored = StoredOutbox(each)
        except (OSError, ValueError, DisttrackError) as error:
            found.append(Recovered(str(each), why=str(error)))
            continue
        join = stored.join if root is None else changed(stored.join, root=str(root))
        if lives(stored.join) or is_held(each):
            found.append(_remaining(stored, LIVE_WHY))
        elif root is None and not Path(join.root).is_dir():
            found.append(_remaining(stored, f"{join.root} is not on this host: say where its run is with --dir"))
        else:
            launches.setdefault(join.launch_key, []).append((stored, join))
    return found + [one for key, journals in launches.items() for one in _recover_launch(key, journals)]


def _journals(directory: Path) -> list[Path]:
    """Return the directories at or below one that hold journals."""
    if not directory.is_dir():
        raise NotADirectoryError(20, "there is no such directory", str(directory))
    found = {path.parent for path in directory.rglob("*.dtj")}
    return sorted(path for path in found if not is_rest(path))


def _remaining(stored: StoredOutbox, why: str, records: int = 0) -> Recovered:
    join = stored.join
    return Recovered(str(stored.directory), join.project, join.run_id, join.rank.rank, records, why)


def _recover_launch(key: str, journals: Sequence[tuple[StoredOutbox, Join]]) -> Iterator[Recovered]:
    runtime = runtime_directory(load().runtime_dir)
    claim = Claim(runtime, key)
    deadline = time.monotonic() + WAIT_S
    while not claim.take():
        claim.want()
        if time.monotonic() > deadline:
            why = "a process of its launch runs on this host: try again once it has ended"
            yield from (_remaining(stored, why) for stored, _ in journals)
            return
        time.sleep(LOOK_S)
    launch = Launch(runtime, key, claim, secrets.token_hex(16))
    try:
        for stored, join in journals:
            try:
                yield _recover_one(launch, stored, join)
            except (DisttrackError, OSError) as error:
                yield _remaining(stored, str(error))
        for run in launch.runs.values():
            if run.sources.all_over():
                launch.end_run(run)
    finally:
        launch.close()


def _recover_one(launch: Launch, stored: StoredOutbox, join: Join) -> Recovered:
    run, source = launch.place(join, orphans=True)
    count = 0
    if not source.over or stored.read(source.committed, MAX_RAW_BYTES):
        run.open([source])
        count = _drain(run, source, stored)
        if not source.over:
            launch.gone(run, source, stored.said(), UNKNOWN)
        run.sync()
    copy_blobs(run, source, stored.directory)
    why = None
    if source.committed < stored.size:
        why = f"its records from byte {source.committed:,} on cannot be read: it is damaged there, or cut off"
    return Recovered(str(stored.directory), join.project, run.header.run_id, join.rank.rank, count, why)


def _drain(run: RunIngest, source: Source, stored: StoredOutbox) -> int:
    """Store what a journal holds beyond what its run has; return how many user records it was."""
    count = 0
    while data := stored.read(source.committed, MAX_RAW_BYTES):
        before = source.committed
        run.receive(source, before, data)
        run.commit()
        if source.committed == before:
            raise OSError(f"{run.directory} took nothing")
        count += sum(record.kind in USER_KINDS for record in records(data, check=False))
    return count
