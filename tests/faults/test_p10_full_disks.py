"""P10: a disk that is full, out of inodes, read-only or gone stops no training, and costs no row once it is back."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.faults.jobs import Job, Trainer, no_writer, the_writer, tmpfs, wait_for_steps
from tests.road.site import wait_until

PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """20 MB of a file system of its own."""
    with tmpfs(tmp_path / "disk", "size=20m") as disk:
        yield disk


def on(disk: Path) -> dict[str, str]:
    return {"DISTTRACK_DIR": str(disk)}


def fill(disk: Path) -> Path:
    """Leave no byte free."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def log_bytes(disk: Path) -> int:
    found = 0
    for path in disk.glob("disttrack-runs/p/*/log/*.dtl"):
        try:
            found += path.stat().st_size
        except FileNotFoundError:
            continue  # an empty segment, removed again
    return found


def live_markers(job: Job) -> list[Path]:
    return list(job.site.root.glob("p/.live/*"))


def check_goes_on(job: Job, rank: Trainer, disk: Path) -> None:
    """From now on the log grows again, and in the end has it all."""
    before, freed = log_bytes(disk), time.monotonic()
    wait_until(lambda: log_bytes(disk) > before, "the writer goes on")
    print(f"went on after {time.monotonic() - freed:.2f} s")
    job.stop()
    rank.end()
    assert rank.receipt["pending"] == rank.receipt["dropped"] == 0
    wait_until(no_writer, "the writer has gone")
    assert job.check_stored(root=disk / "disttrack-runs") == rank.receipt["stored"]


@pytest.mark.real(timeout_s=90)
def test_a_disk_that_fills_up_and_is_freed_holds_every_row(job: Job, disk: Path) -> None:
    rank = job.start(env=on(disk), rate_hz=500)
    wait_until(lambda: log_bytes(disk) > 2000, "rows are stored")
    ballast = fill(disk)
    full = log_bytes(disk)
    wait_for_steps([rank], 2000)
    assert log_bytes(disk) <= full + PAGE_BYTES  # what its last page had room for
    ballast.unlink()
    check_goes_on(job, rank, disk)


@pytest.mark.real(timeout_s=90)
def test_a_disk_that_is_full_before_init_is_said_and_freed_later(job: Job, disk: Path) -> None:
    ballast = fill(disk)
    rank = job.start(env=on(disk), rate_hz=500)
    wait_for_steps([rank], 1500)
    wait_until(lambda: "refused this rank" in rank.stderr, "it is said")
    ballast.unlink()
    check_goes_on(job, rank, disk)
    assert rank.stderr.count("refused this rank") == 1
    [log] = disk.glob("disttrack-runs/p/*/log")
    assert len(list(log.iterdir())) == 1  # trying again leaves nothing behind


@pytest.mark.real(timeout_s=90)
def test_a_disk_that_stays_full_leaves_every_row_in_the_journal(job: Job, disk: Path) -> None:
    rank = job.start(env=on(disk), rate_hz=500, settings={"finish_timeout_s": 1.0})
    wait_until(lambda: log_bytes(disk) > 2000, "rows are stored")
    ballast = fill(disk)
    wait_for_steps([rank], 1000)
    job.stop()
    rank.end()
    receipt = rank.receipt
    assert receipt["pending"] > 0
    assert receipt["dropped"] == 0
    assert "pending" in rank.stderr
    ballast.unlink()
    wait_until(no_writer, "the writer has stored the rest, and gone")
    assert job.check_stored(root=disk / "disttrack-runs") == receipt["logged"]


@pytest.mark.real(timeout_s=90)
def test_a_disk_without_inodes_holds_every_row_once_it_has_some(job: Job, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "nr_inodes=40") as disk:
        files: list[Path] = []
        try:
            while True:
                (disk / f"{len(files)}").touch()
                files.append(disk / f"{len(files)}")
        except OSError:
            pass
        rank = job.start(env=on(disk), rate_hz=500)
        wait_for_steps([rank], 1500)
        for file in files:
            file.unlink()
        check_goes_on(job, rank, disk)


@pytest.mark.real(timeout_s=90)
@pytest.mark.parametrize("from_start", [True, False])
def test_a_read_only_disk_holds_every_row_once_it_is_writable(job: Job, disk: Path, from_start: bool) -> None:
    def remount(mode: str) -> bool:
        return not subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], capture_output=True).returncode

    rank: Trainer | None = None
    if not from_start:
        rank = job.start(env=on(disk), rate_hz=500)
        wait_until(lambda: log_bytes(disk) > 2000, "rows are stored")

    def is_read_only() -> bool:
        """The kernel refuses it while a file is open for writing: the writer's segment. Let go of that first."""
        writer = the_writer()
        with suppress(psutil.NoSuchProcess):  # the one before, which is gone this moment
            if writer is not None:
                writer.kill()
        return any(remount("ro") for _ in range(20))  # at once: its successor is on its way

    wait_until(is_read_only, "the disk is read-only")
    rank = rank or job.start(env=on(disk), rate_hz=500)
    wait_for_steps([rank], 1500)
    wait_until(lambda: "refused this rank" in rank.stderr, "it is said")
    assert remount("rw")
    check_goes_on(job, rank, disk)


@pytest.mark.real(timeout_s=90)
def test_a_limit_on_file_sizes_costs_nothing(job: Job) -> None:
    rank = job.start(steps=4000, setup="import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))")
    rank.end()
    assert (rank.receipt["logged"], rank.receipt["stored"]) == (4000, 4000)  # journal and log go on in other files
    wait_until(no_writer, "the writer has gone")
    [steps] = job.stored_steps().values()
    assert steps == list(range(4000))
    shown = job.site.only_run()["receipt"]
    assert (shown["stored"], shown["pending"], shown["dropped"]) == (4000, 0, 0)


@pytest.mark.real(timeout_s=90)
@pytest.mark.parametrize("how", ["removed", "moved away"])
def test_a_data_directory_that_goes_away_is_filled_again(job: Job, how: str) -> None:
    rank = job.start(rate_hz=500)
    root = job.site.root
    wait_until(lambda: log_bytes(job.site.directory) > 2000, "rows are stored")
    if how == "removed":
        shutil.rmtree(root, ignore_errors=True)  # the writer may be writing the index or a marker this moment
    else:
        os.rename(root, root.with_name("elsewhere"))
    wait_for_steps([rank], 500)
    wait_until(lambda: log_bytes(job.site.directory) > 2000, "it is written again")
    job.stop()
    rank.end()
    assert rank.receipt["pending"] == rank.receipt["dropped"] == 0
    wait_until(no_writer, "the writer has gone")
    assert job.check_stored() == rank.receipt["stored"]
    job.check_read()


LINGER = """
import atexit, os, time
def linger():
    while not os.path.exists("go"):
        time.sleep(0.02)
atexit.register(linger)
"""


@pytest.mark.real(timeout_s=150)
def test_what_a_rank_logged_that_has_finished_and_lives_on_is_filled_in_again_at_once(job: Job) -> None:
    done = job.start(rank=0, ranks=2, steps=50, setup=LINGER)
    other = job.start(rank=1, ranks=2, rate_hz=50)
    wait_until(lambda: "end" in done.stdout, "the one has finished")
    wait_until(lambda: len(job.stored_steps().get(other.process.pid, [])) > 10, "the other is stored")
    shutil.rmtree(job.site.root, ignore_errors=True)  # the writer may be writing a marker this moment
    wait_until(lambda: len(job.stored_steps().get(done.process.pid, [])) == 50, "it is written again")
    assert done.process.poll() is None
    job.stop()
    other.end()
    wait_until(lambda: not live_markers(job), "the run has ended")
    assert done.process.poll() is None
    (job.site.directory / "go").touch()
    done.end()
    job.check_stored()
