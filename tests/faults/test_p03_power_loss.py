"""P3: a power cut takes at most the last 1.5 s, also while the writer is away.

The machine is not cut off: what was written and synced when is read from a trace of system calls, and for many moments
the disk is put into each state that a cut at that moment may leave (nothing, all or a part of what was not synced, or
its length without its bytes). Then what is there is brought home as after a boot.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from disttrack.errors import UnsupportedFormat
from disttrack.journal.stored import StoredOutbox
from disttrack.records.names import LIVE
from disttrack.writer.homecoming import bring_home
from tests.faults.jobs import Job, Trainer, kill_everything, no_writer, seeded, wait_for_steps
from tests.faults.powercut import TRACE, Disk, How
from tests.faults.store import run_directories, stored
from tests.road.site import wait_until

#: Ten times what P3 grants, for a disk and a machine that others use; what was lost is printed. By a clock of its own,
#: tests/journal/test_durability.py asks for what is granted.
OLDEST_S = 10 * 1.5
MOMENTS = 12


def traced(job: Job, steps: int, *options: str) -> tuple[Trainer, Disk, Path]:
    """Return a trainer that was killed with its writer, what they had written, and the journal."""
    trace = job.site.directory / "trace"
    trace.mkdir()
    rank = job.start(
        around=(*TRACE, *options, "-o", str(trace / "of")), rate_hz=200, settings={"system_interval_s": 0.0}
    )
    wait_for_steps([rank], steps)
    [journal] = (job.site.directory / "journals").glob("*/journals/*")
    # All that strace follows at once: the rank and its writer.
    kill_everything([int(path.suffix[1:]) for path in trace.iterdir() if is_process(int(path.suffix[1:]))])
    rank.process.wait(300)
    wait_until(no_writer, "the writer is dead")
    return rank, Disk(sorted(trace.iterdir()), (".dtj", ".dtl")), journal


def is_process(pid: int) -> bool:
    """Say whether this is a living process, and no thread of one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return f"Tgid:\t{pid}\n" in status and "State:\tZ" not in status


def worst_moments(disk: Disk) -> list[float]:
    """Return the moments just before a sync was done: then the oldest unsafe bytes are at their oldest."""
    return sorted(done - 1e-6 for file in disk.files.values() for _, done in file.syncs)


def survivors(root: Path, journal: Path) -> list[int]:
    """Bring home what the disk holds, and return the steps stored.

    Names are taken to be on the disk where a file that was made after them was synced, as ext4 and xfs have it.
    """
    for run in run_directories(root):
        (root / "p" / LIVE).mkdir(exist_ok=True)
        (root / "p" / LIVE / run.name).touch()
    bring_home(root)
    found: list[int] = []
    for run in run_directories(root):
        for source in stored(run, damaged=True).values():
            found += source.steps()
    for directory in (root, journal):
        shutil.rmtree(directory, ignore_errors=True)
    return found


def youngest_that_must_be_there(disk: Disk, journal: Path, at: float) -> list[float]:
    """Return when each row was written, of those written before a moment (the journal's first write is its header)."""
    writes = disk.files[journal / "000000.dtj"].writes[1:]
    return [done for done, _ in writes if done <= at]


@pytest.mark.real(timeout_s=150)
@pytest.mark.parametrize(
    ("writer", "refused"),
    [("there", ""), ("away", ""), ("away", "when=1"), ("away", "when=2+3")],
    ids=["writer there", "writer away", "its first sync refused", "each second sync refused"],
)
def test_a_power_cut_takes_at_most_the_last_moment(
    job: Job, require_program: Callable[[str], str], writer: str, refused: str
) -> None:
    """refused: which syncs of the journal fail. What they should have brought to the disk never gets there by itself.

    when=2+3: each second one of the journal's own files, and none of the copies that follow.
    """
    require_program("strace")
    chance = seeded(f"power cuts, writer {writer}, refused {refused}")
    root = job.site.root
    if writer == "away":
        root.write_text("a file where the directory should be: nobody can be the writer")
    rank, disk, journal = traced(job, 800, *(["-e", f"inject=fdatasync:error=EIO:{refused}"] if refused else []))
    assert bool(refused) == any(file.refused for file in disk.files.values())
    assert bool(refused) == ("written to it once more" in rank.stderr)
    root.unlink() if root.is_file() else shutil.rmtree(root)
    moments = worst_moments(disk)
    assert moments
    oldest_s = 0.0
    for at in chance.sample(moments, min(MOMENTS, len(moments))):
        for how in get_args(How):
            disk.restore(at, how, chance)
            steps = survivors(root, journal)
            assert steps == list(range(len(steps)))  # none twice, none missing below the highest
            lost = youngest_that_must_be_there(disk, journal, at)[len(steps) :]
            oldest_s = max(oldest_s, at - lost[0] if lost else 0.0)
    print(f"writer {writer}: {len(moments)} syncs; the oldest row lost was {oldest_s:.2f} s old")
    assert oldest_s <= OLDEST_S


def test_a_journal_without_its_header_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "000000.dtj").write_bytes(bytes(4096))
    with pytest.raises((ValueError, UnsupportedFormat)):
        StoredOutbox(tmp_path)
