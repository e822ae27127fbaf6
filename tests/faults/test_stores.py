"""Rows 19, 45, 47 of the fault matrix: two jobs of one name, two writers, and a store that is copied while it grows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import disttrack
from tests.faults.jobs import Job, no_writer, the_writer, wait_for_steps
from tests.road.site import wait_until


@pytest.mark.real(timeout_s=60)
def test_two_jobs_of_one_group_and_name_never_mix(job: Job) -> None:
    around = ("sh", "-c", '"$@"; exit $?', "sh")  # a parent of its own is a launch of its own
    ranks = [
        job.start(around=around, steps=300, rank=rank, ranks=2, settings={"group": "g", "name": "n"}) for rank in (0, 0)
    ]
    for rank in ranks:
        rank.end()
    wait_until(no_writer, "the writers have gone")
    runs = job.site.ls()
    assert len(runs) == 2
    for run in runs:
        assert job.site.steps(run["id"], "loss") == {0: list(range(300))}


@pytest.mark.real(timeout_s=60)
def test_a_second_writer_of_a_launch_goes_at_once(job: Job) -> None:
    rank = job.start(rate_hz=200)
    wait_until(lambda: the_writer() is not None, "there is a writer")
    writer = the_writer()
    assert writer is not None
    runtime = Path(os.environ["DISTTRACK_RUNTIME_DIR"])
    [lock] = runtime.glob("claims/*.lock")
    command = [sys.executable, "-m", "disttrack.writer", str(runtime), lock.read_text()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    wait_for_steps([rank], 100)
    assert the_writer() == writer
    job.stop()
    rank.end()
    wait_until(no_writer, "the writer has gone")
    assert job.check_stored() == rank.receipt["stored"]


@pytest.mark.real(timeout_s=90)
def test_a_store_that_is_copied_while_it_grows_holds_the_first_rows(job: Job, tmp_path: Path) -> None:
    rank = job.start(rate_hz=1000)
    wait_until(lambda: bool(list(job.site.root.glob("p/*/log/*.dtl"))), "it is stored")
    copies = [tmp_path / f"copy{number}" for number in range(5)]
    for copy in copies:
        wait_for_steps([rank], 150)
        shutil.copytree(job.site.root, copy / "disttrack-runs", ignore=shutil.ignore_patterns("index*"))
    job.stop()
    rank.end()
    wait_until(no_writer, "the writer has gone")
    lengths: list[int] = []
    for copy in copies:
        with disttrack.Api(copy) as api:
            [run] = api.runs("p")
            steps = run.history(keys=["loss"])["step"].tolist()
        assert steps == list(range(len(steps)))
        lengths.append(len(steps))
    assert lengths == sorted(lengths)
    assert lengths[-1] > 0
    assert job.check_stored() == rank.receipt["stored"]
