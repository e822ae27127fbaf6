"""The journals of this node: whose records are not in their run's log yet, and what brings them there."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning
from disttrack.errors import UnsupportedFormat
from disttrack.journal.directories import is_home, journal_directories
from disttrack.journal.spool import spooled
from disttrack.journal.stored import StoredOutbox
from disttrack.records.codec import records
from disttrack.records.names import DELETED, directory_name
from disttrack.records.payloads import USER_KINDS
from disttrack.records.types import Join
from disttrack.transport.rendezvous import read_record
from disttrack.writer.liveness import lives

__all__ = ["check_journals", "is_being_made"]

COUNT_S = 2.0  # for counting records; a journal may hold gigabytes
CHUNK_BYTES = 1 << 20
BEING_MADE_S = 60.0


class _Waiting(NamedTuple):
    """A dead process's journal that is not home. records: None where counting them would take too long."""

    join: Join
    directory: Path
    size_bytes: int
    records: int | None
    age_s: float
    blobs: int  # media and files that are not stored


def check_journals(around: Surroundings) -> Iterator[Finding]:
    """Tell what lies here, and which of it waits for somebody to bring it home."""
    if around.runtime is None:
        return
    live = home = total_bytes = 0
    waiting: dict[tuple[str, str], list[_Waiting]] = {}
    deadline = time.monotonic() + COUNT_S
    for directory in journal_directories(around.runtime):
        try:
            stored = StoredOutbox(directory)
            size_bytes = stored.size
        except (OSError, ValueError, UnsupportedFormat) as error:
            finding = _unreadable(directory, error)
            if finding is not None:
                yield finding
            continue
        total_bytes += size_bytes
        if lives(stored.join):
            live += 1
        elif is_home(directory):
            home += 1
        else:
            age_s = time.time() - stored.join.time_us / 1e6
            blobs = len(spooled(directory))
            found = _Waiting(stored.join, directory, size_bytes, _count(stored, deadline), age_s, blobs)
            waiting.setdefault((stored.join.root, stored.join.launch_key), []).append(found)
    yield good(
        "journals.here",
        f"{live} of living processes, {home} whose records are all stored; {total_bytes / 1e6:.1f} MB in all",
        live=live,
        home=home,
        waiting=sum(map(len, waiting.values())),
        bytes=total_bytes,
    )
    for (root, key), journals in waiting.items():
        yield _waiting(around.runtime, Path(root), key, journals)


def _count(stored: StoredOutbox, deadline: float) -> int | None:
    """Return how many records of its user a journal holds; None where there is no time for it."""
    count = offset = 0
    while data := stored.read(offset, CHUNK_BYTES):
        if time.monotonic() > deadline:
            return None
        count += sum(record.kind in USER_KINDS for record in records(data, check=False))
        offset += len(data)
    return count


def _waiting(runtime: Path, root: Path, key: str, journals: list[_Waiting]) -> Finding:
    counts = [journal.records for journal in journals]
    count = None if None in counts else sum(number or 0 for number in counts)
    size_bytes = sum(journal.size_bytes for journal in journals)
    ranks = sorted({journal.join.rank.rank for journal in journals})
    oldest = max(journals, key=lambda journal: journal.age_s)
    runs = sorted({journal.join.run_id or "a run yet to be made" for journal in journals})
    facts: dict[str, object] = {
        "launch_key": key,
        "root": str(root),
        "project": oldest.join.project,
        "runs": sorted({journal.join.run_id for journal in journals if journal.join.run_id is not None}),
        "ranks": ranks,
        "records": count,
        "bytes": size_bytes,
        "blobs": sum(journal.blobs for journal in journals),
        "oldest_s": oldest.age_s,
        "journals": [str(journal.directory) for journal in journals],
    }
    who = f"rank{'' if len(ranks) == 1 else 's'} {', '.join(map(str, ranks[:8]))}{' ...' if len(ranks) > 8 else ''}"
    what = f"{size_bytes:,} bytes" if count is None else f"{count:,} records ({size_bytes:,} bytes)"
    what += f" and {facts['blobs']:,} media and files" if facts["blobs"] else ""
    text = (
        f"{what} that dead {who} of {oldest.join.project}/{', '.join(runs)} left are not known to be stored; "
        f"the oldest began {_ago(oldest.age_s)}"
    )
    if read_record(runtime, key) is not None:
        return warning("journals.waiting", f"{text}; the process of their launch brings them home", **facts)
    deleted = _deleted(root, journals)
    if deleted:
        restore = "; ".join(
            f"disttrack restore {shlex.quote(name)} --dir {shlex.quote(str(root.parent))}" for name in deleted
        )
        return warning("journals.waiting", f"{text}; its run was deleted", f"{restore} brings it back", **facts)
    command = f"disttrack ls --dir {shlex.quote(str(root.parent))}"
    if not root.parent.is_dir():
        return failed("journals.waiting", text, f"{command}, once {root.parent} can be reached from this node", **facts)
    return failed("journals.waiting", text, f"{command} on this node brings them home", **facts)


def _deleted(root: Path, journals: list[_Waiting]) -> list[str]:
    """Return project/id of the runs of these journals, where each of them was deleted: nothing goes there then."""
    runs = {(journal.join.project, journal.join.run_id or journal.join.given_id) for journal in journals}
    deleted = [
        f"{project}/{run_id}"
        for project, run_id in runs
        if run_id is not None and (root / directory_name(project) / DELETED / directory_name(run_id)).exists()
    ]
    return sorted(deleted) if len(deleted) == len(runs) else []


def _ago(age_s: float) -> str:
    if age_s < 120:
        return f"{age_s:.0f} s ago"
    return f"{age_s / 60:.0f} min ago" if age_s < 7200 else f"{age_s / 3600:.0f} h ago"


def is_being_made(directory: Path) -> bool:
    """Say whether a journal that cannot be read may be one that its process makes now, or somebody removes."""
    try:
        return time.time() - directory.stat().st_mtime < BEING_MADE_S
    except OSError:
        return True


def _unreadable(directory: Path, error: Exception) -> Finding | None:
    if isinstance(error, UnsupportedFormat):
        fix = "use the newer disttrack to bring it home: pip install -U disttrack"
        return warning("journals.unreadable", f"{directory} is a newer disttrack's", fix, journal=str(directory))
    if isinstance(error, FileNotFoundError) or is_being_made(directory):
        return None
    text = f"{directory} cannot be read: {error}"
    return warning("journals.unreadable", text, "what it held is lost if its file is damaged", journal=str(directory))
