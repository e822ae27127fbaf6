"""P8, P10, P11: a system call that fails, the first, second, third ... time it is made, in the rank and in its writer.

Writes to the run log are made to fail by disks that are full (test_p10_full_disks.py): strace cannot tell them from
those of ZeroMQ, which ends its process when a write to an eventfd fails, as none ever does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.jobs import Job, Trainer, no_writer
from tests.faults.store import run_directories, stored
from tests.road.site import wait_until

AT_ONCE = 4
FINISH = {"finish_timeout_s": 3.0}  # where each writer fails, none takes the rest
#: What fails, how, and how many first times of it are tried.
FAULTS = [
    ("pwrite64", "ENOSPC", 5),
    ("pwrite64", "EIO", 3),
    ("fdatasync", "EIO", 4),
    ("fsync", "EIO", 2),
    ("rename", "ENOSPC", 3),
    ("mkdir", "ENOSPC", 3),
    ("flock", "EIO", 2),
    ("unlink", "EIO", 2),
]

USE_UP = """
import os, resource
import disttrack, disttrack.transport.dealer
disttrack.init  # which imports the rest of it: a missing module would be the user's script's own failure
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
leak = []
try:
    while True:
        leak.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for fd in leak[len(leak) - {free}:]:
    os.close(fd)
"""


@pytest.mark.real(timeout_s=170)
def test_a_call_that_fails_once_costs_at_most_what_the_receipt_says(
    job: Job, require_program: Callable[[str], str]
) -> None:
    strace = require_program("strace")
    waiting = [(call, error, number) for call, error, times in FAULTS for number in range(1, times + 1)]
    tried: list[tuple[str, Trainer]] = []
    while waiting:
        beside: list[Trainer] = []
        for call, error, number in waiting[:AT_ONCE]:
            inject = f"inject={call}:error={error}:when={number}"
            around = (strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
            beside.append(job.start(around=around, project=f"p{len(tried)}", steps=200, rate_hz=400, settings=FINISH))
            tried.append((inject, beside[-1]))
        for rank in beside:  # of strace nothing is measured: it makes everyone wait
            assert rank.process.wait(300) == 0, (rank.plan, rank.stderr)
        del waiting[:AT_ONCE]
    wait_until(no_writer, "all writers have gone")
    job.site.ls()  # brings home what a receipt calls pending
    for inject, rank in tried:
        receipt, project = rank.receipt, rank.plan.project
        print(inject, receipt)
        assert rank.stdout == "begin\nend 200\n"
        assert bool(receipt["dropped"] or receipt["pending"]) <= bool(rank.stderr), inject  # never without a word
        sources = [source for run in run_directories(job.site.root, project) for source in stored(run).values()]
        steps = [step for source in sources for step in source.steps()]
        assert steps == sorted(set(steps)), inject
        assert len(steps) == 200 - receipt["dropped"], inject


@pytest.mark.real(timeout_s=120)
def test_descriptors_that_are_used_up_cost_rows_but_raise_nothing(job: Job) -> None:
    for free in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20):
        job.start(project=f"p{free}", steps=50, setup=USE_UP.format(free=free), settings={"finish_timeout_s": 2.0})
        if len(job.trainers) % AT_ONCE == 0:
            for rank in job.trainers[-AT_ONCE:]:
                assert rank.process.wait(300) == 0, (rank.plan, rank.stderr)
    wait_until(no_writer, "all writers have gone")
    job.site.ls()
    for rank in job.trainers:
        receipt = rank.receipt
        print(rank.plan.project, receipt)
        assert rank.stdout == "begin\nend 50\n", rank.stderr
        assert bool(receipt["dropped"] or receipt["pending"]) <= bool(rank.stderr)
        runs = run_directories(job.site.root, rank.plan.project)
        steps = [step for run in runs for source in stored(run).values() for step in source.steps()]
        assert steps == list(range(50 - receipt["dropped"]))
