"""P1 for media: SIGKILL of a rank, its writer, or both: every image whose log() returned is stored."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from tests.faults.jobs import Job, kill_everything, no_writer, seeded, the_writer
from tests.faults.paintings import Painter, check_pictures, media
from tests.faults.test_p01_killed_ranks import CALLS, RECOVER, TRACE
from tests.road.site import wait_until


def wait_for_images(painters: list[Painter], count: int) -> None:
    wanted = [(painter, painter.returned + count) for painter in painters]
    wait_until(lambda: all(painter.returned >= images for painter, images in wanted), f"{count} more images")


@pytest.mark.real(timeout_s=120)
def test_p1_killed_ranks_lose_no_image_without_a_command(job: Job) -> None:
    chance = seeded("killed painters")
    painters = [Painter(job.site, f"counts-{rank}", rank=rank, ranks=3, pause_s=0.01) for rank in range(3)]
    for painter in painters:
        wait_for_images([painter], chance.randrange(1, 60))
        painter.kill()
    wait_until(no_writer, "all of it is stored, and the writer has gone")
    assert check_pictures(job.site, painters) > 3
    assert {row.state for row in media(job.site)} == {"stored"}
    assert not list((job.site.directory / "journals").rglob("blobs/*"))
    assert job.site.only_run()["state"] == "crashed"


@pytest.mark.real(timeout_s=120)
def test_p1_images_survive_writers_that_are_killed_again_and_again(job: Job) -> None:
    chance = seeded("killed writers of images")
    painter = Painter(job.site, pause_s=0.005)
    wait_until(lambda: the_writer() is not None, "there is a writer")
    for _ in range(6):
        wait_for_images([painter], chance.randrange(1, 60))
        writer = the_writer()
        if writer is not None:
            writer.kill()
    (job.site.directory / "stop").touch()
    painter.end()
    assert painter.receipt["pending_media"] == painter.receipt["pending"] == 0
    wait_until(no_writer, "the writer has gone")
    assert check_pictures(job.site, [painter]) == painter.returned == len(media(job.site))
    assert job.site.cli("fsck")


@pytest.mark.real(timeout_s=120)
def test_p1_images_of_a_node_killed_at_once_come_home_with_the_next_ls(job: Job) -> None:
    painters = [Painter(job.site, f"counts-{rank}", rank=rank, ranks=2, pause_s=0.002) for rank in range(2)]
    wait_until(lambda: the_writer() is not None, "there is a writer")
    writer = the_writer()
    assert writer is not None
    wait_for_images(painters, 20)
    writer.suspend()  # so that images wait in the spool, and one may be half stored
    wait_for_images(painters, 40)
    kill_everything([writer.pid, *(painter.process.pid for painter in painters)])
    for painter in painters:
        painter.kill()
    wait_until(no_writer, "the writer is dead")
    assert {run["state"] for run in job.site.ls()} == {"crashed"}
    assert check_pictures(job.site, painters) >= 2 * 60


@pytest.mark.real(timeout_s=150)
def test_p1_images_survive_a_recovery_that_is_killed_at_any_write(
    job: Job, require_program: Callable[[str], str]
) -> None:
    require_program("strace")
    painter = Painter(job.site, pause_s=0.002)
    wait_until(lambda: the_writer() is not None, "there is a writer")
    writer = the_writer()
    assert writer is not None
    wait_for_images([painter], 5)
    writer.suspend()
    wait_for_images([painter], 30)
    kill_everything([writer.pid, painter.process.pid])
    painter.kill()
    wait_until(no_writer, "the writer is dead")
    script = job.site.script(RECOVER, "recover.py")
    killed = 0
    for call, number in [(call, n) for n in (1, 2, 5, 9, 20) for call in (*CALLS, "rename", "fsync")]:
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
        process = job.site.start(*TRACE, *inject, sys.executable, script, job.site.root)
        process.communicate(timeout=300)
        killed += process.returncode != 0
        if killed >= 6 and not process.returncode:
            break
    print(f"killed {killed} times")
    assert killed >= 6
    assert job.site.only_run()["state"] == "crashed"
    assert check_pictures(job.site, [painter]) >= 35
    job.site.cli("fsck")


@pytest.mark.real(timeout_s=120)
def test_p1_a_large_file_that_its_rank_did_not_outlive_is_stored(job: Job) -> None:
    site = job.site
    script = site.script(
        """
        import os, pathlib, signal
        import disttrack

        pathlib.Path("model.pt").write_bytes(os.urandom(16 << 20))
        run = disttrack.init(project="p")
        run.log({"loss": 1.0})
        run.save("model.pt", policy="now")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    site.python(script, code=-signal.SIGKILL)
    wait_until(no_writer, "the writer has gone")
    [stored] = site.root.glob("p/*/files/model.pt")
    assert stored.read_bytes() == (site.directory / "model.pt").read_bytes()
    assert os.stat(stored).st_nlink == 2  # stored once: in media, too
