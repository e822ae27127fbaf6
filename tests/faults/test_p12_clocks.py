"""P12: clock jumps reorder nothing and time nothing out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import disttrack
from tests.faults.jobs import Job, no_writer, the_writer, wait_for_steps
from tests.road.site import wait_until

DAY_S = 24 * 3600


@pytest.mark.real(timeout_s=90)
def test_a_clock_that_jumps_by_days_reorders_nothing_and_loses_nothing(job: Job) -> None:
    clock = job.site.directory / "clock"
    clock.write_text("0" * 12)
    env = {"CLOCK_OFFSET_FILE": str(clock)}
    here = str(Path(__file__).parent / "clock")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    ranks = [job.start(env=env, rank=rank, ranks=2, rate_hz=500) for rank in range(2)]  # their writer inherits it
    wait_for_steps(ranks, 200)
    wait_until(lambda: the_writer() is not None, "there is a writer")
    writer = the_writer()
    for jump_s in (DAY_S, -DAY_S, 3650 * DAY_S, -2 * DAY_S):
        clock.write_text(f"{jump_s:012d}")  # as long as before: read at any moment, it is a number
        wait_for_steps(ranks, 500)
    assert the_writer() == writer  # none thought that it had died
    job.stop()
    for rank in ranks:
        rank.end()
        assert rank.stderr == ""
        assert rank.receipt["pending"] == rank.receipt["dropped"] == 0
    wait_until(no_writer, "the writer has gone")
    os.environ["CLOCK_OFFSET_FILE"] = str(clock)  # for the command line, whose path has it, too
    job.check_stored()
    job.check_read()
    with disttrack.Api(job.site.directory) as api:
        [found] = api.runs("p")
        times = found.history(keys=["loss"], ranks=[0])["time"]
    assert times.max() - times.min() > 3000 * DAY_S  # the jumps were felt
    run = job.site.only_run()
    assert run["state"] == "finished"
    assert len(run["attempts"]) == 1
