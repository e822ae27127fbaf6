"""P17: a restarted rank is a new incarnation of the same run; nothing is merged or overwritten."""

from __future__ import annotations

import pytest

from tests.faults.jobs import Job, no_writer, wait_for_steps
from tests.faults.store import run_directories, stored
from tests.road.site import wait_until


@pytest.mark.real(timeout_s=90)
def test_restarted_ranks_with_other_numbers_are_new_incarnations_of_one_run(job: Job) -> None:
    first = [job.start(rank=rank, ranks=2, rate_hz=500) for rank in (0, 1)]
    wait_for_steps(first, 100)
    wait_until(lambda: len(job.stored_steps()) == 2, "both have met their writer")
    for rank in first:
        rank.kill()
    second = [job.start(rank=rank, ranks=2, rate_hz=500) for rank in (1, 0)]  # as elastic launchers number anew
    wait_for_steps(second, 100)
    job.stop()
    for rank in second:
        rank.end()
    wait_until(no_writer, "the writer has gone")
    job.check_stored()
    [run] = run_directories(job.site.root)
    sources = {source.pid: (source.rank, source.attempt) for source in stored(run).values()}
    pids = [rank.process.pid for rank in (*first, *second)]
    assert [sources[pid][0] for pid in pids] == [0, 1, 1, 0]
    assert [sources[pid][1] for pid in pids] == [0, 0, 1, 1]
    assert len(sources) == 4
    job.check_read()
