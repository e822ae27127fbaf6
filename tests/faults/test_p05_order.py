"""P5: the store has the calls of one incarnation in their order, with no hole below the highest."""

from __future__ import annotations

import random

from tests.faults.jobs import Job, no_writer
from tests.faults.store import run_directories, stored
from tests.road.site import wait_until

LOG_OUT_OF_ORDER = """
import random
import disttrack
run = disttrack.init(project="p")
steps = list(range(3000))
random.Random(5).shuffle(steps)
for number, step in enumerate(steps):
    run.log({"call": number} if number % 3 else {"call": number, "text": "x" * (number % 50)}, step=step)
print(run.finish())
"""


def test_steps_in_any_order_are_stored_in_the_order_of_the_calls(job: Job) -> None:
    # That it holds while writers die is checked after every fault: jobs.Job.check_stored.
    assert "3,000 stored, 0 pending, 0 dropped" in job.site.python(job.site.script(LOG_OUT_OF_ORDER))
    wait_until(no_writer, "the writer has gone")
    [run] = run_directories(job.site.root)
    [source] = stored(run).values()  # which fails on a hole
    steps = list(range(3000))
    random.Random(5).shuffle(steps)
    assert source.steps() == steps
    assert job.site.only_run()["receipt"]["stored"] == 3000
