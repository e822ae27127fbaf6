"""P1: SIGKILL of any rank, or of all: every record whose log() returned is in the store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

import disttrack
from tests.faults.jobs import Job, kill_everything, kills, no_writer, seeded, the_writer, wait_for_steps
from tests.road.site import wait_until

AT_ONCE = 5  # ranks that run side by side: two cores


@pytest.mark.real(timeout_s=150)
@pytest.mark.parametrize("rate_hz", [4, 500, 0])
def test_killed_ranks_lose_no_row_without_a_command(job: Job, rate_hz: int, pytestconfig: pytest.Config) -> None:
    chance = seeded(f"kills at {rate_hz}/s")
    for number in range(kills(pytestconfig) // AT_ONCE):
        ranks = job.start_ranks(AT_ONCE, project=f"p{number}", rate_hz=rate_hz)
        # Where none of them could start a writer before it was killed, what they logged waits for the next command.
        wait_until(lambda: the_writer() is not None, "there is a writer")
        alive = {rank: chance.uniform(0.0, 0.8) for rank in ranks}
        began: dict[object, float] = {}
        while alive:
            for rank, after_s in list(alive.items()):
                if rank.returned and time.monotonic() - began.setdefault(rank, time.monotonic()) >= after_s:
                    rank.kill()
                    del alive[rank]
            time.sleep(0.001)
    wait_until(no_writer, "all of it is stored, and the writer has gone")
    rows = sum(job.check_stored(f"p{number}") for number in range(kills(pytestconfig) // AT_ONCE))
    print(f"{len(job.trainers)} kills, {rows} rows")
    for rank in job.trainers:
        assert rank.stderr == ""
        rank.check_sleeps()
    job.check_read("p0")


#: A disk on which one package takes until the end of the test.
SLOW_IMPORT = """
import sys
class Slow:
    def find_spec(name, *_):
        while name == "zmq":
            time.sleep(1)
sys.meta_path.insert(0, Slow)
"""


@pytest.mark.real(timeout_s=90)
def test_a_rank_that_is_killed_before_it_meets_its_writer_is_stored_though_the_others_have_gone(job: Job) -> None:
    one = job.start(rank=0, ranks=2, rate_hz=50)
    wait_until(lambda: len(job.stored_steps().get(one.process.pid, [])) > 10, "the one is stored")
    other = job.start(rank=1, ranks=2, rate_hz=50, setup=SLOW_IMPORT)
    wait_for_steps([other], 50)
    one.kill()
    wait_until(lambda: not list(job.site.root.glob("p/.live/*")), "the run of the one has ended")
    other.kill()
    wait_until(no_writer, "all of it is stored, and the writer has gone")
    assert job.check_stored() >= 60


@pytest.mark.real(timeout_s=120)
def test_all_processes_of_a_node_killed_at_once_come_home_with_the_next_ls(job: Job) -> None:
    chance = seeded("all at once")
    for number in range(3):
        ranks = job.start_ranks(3, project=f"p{number}", rate_hz=500)
        wait_for_steps(ranks, chance.randrange(1, 400))
        writer = the_writer()
        kill_everything([rank.process.pid for rank in ranks] + ([writer.pid] if writer else []))
        for rank in ranks:
            rank.kill()
        wait_until(no_writer, "the writer is dead")
    runs = job.site.ls()
    assert {run["state"] for run in runs} == {"crashed"}
    for number in range(3):
        assert job.check_stored(f"p{number}") > 0
        job.check_read(f"p{number}")


TRACE = ("strace", "-qq", "-o", "/dev/null")
CALLS = ("write", "fdatasync", "unlink")
RECOVER = """
import sys
from pathlib import Path
from disttrack.writer.homecoming import bring_home
bring_home(Path(sys.argv[1]))
"""


@pytest.mark.real(timeout_s=120)
def test_recovery_that_is_killed_at_any_write_goes_on_where_it_was(
    job: Job, require_program: Callable[[str], str]
) -> None:
    require_program("strace")
    ranks = job.start_ranks(3, rate_hz=500)
    wait_until(lambda: the_writer() is not None, "there is a writer")
    wait_for_steps(ranks, 100)
    writer = the_writer()
    assert writer is not None
    writer.suspend()
    wait_for_steps(ranks, 300)
    kill_everything([writer.pid, *(rank.process.pid for rank in ranks)])
    for rank in ranks:
        rank.kill()
    wait_until(no_writer, "the writer is dead")
    script = job.site.script(RECOVER, "recover.py")
    killed = 0
    # Early again and again, then later and later, until there is nothing left to do.
    for call, number in (
        [("write", 1)] * 6 + [("fdatasync", 1)] * 6 + [(call, n) for n in range(2, 14) for call in CALLS]
    ):
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
        process = job.site.start(*TRACE, *inject, sys.executable, script, job.site.root)
        process.communicate(timeout=300)
        killed += process.returncode != 0
        if killed >= 12 and not process.returncode:
            break
    print(f"killed {killed} times")
    assert killed >= 12
    assert job.site.only_run()["state"] == "crashed"
    assert job.check_stored() >= 3 * 400
    job.check_read()


@pytest.mark.real(timeout_s=120)
def test_what_a_killed_rank_had_printed_is_stored_without_a_hole(job: Job) -> None:
    """What was printed in the last moment may be lost, as it is written down a moment later; nothing before that."""
    script = job.site.script(
        """
        import itertools, time, disttrack
        run = disttrack.init(project="p", id="a")
        run.log({"loss": 1.0})
        for number in itertools.count():
            print(f"line {number}", flush=True)
            time.sleep(0.002)
        """
    )
    with disttrack.Api(job.site.directory) as api, open(os.devnull, "w") as nowhere:
        rank = subprocess.Popen([sys.executable, str(script)], cwd=job.site.directory, stdout=nowhere)
        try:
            wait_until(lambda: bool(api.runs()), "there is a run")
            wait_until(lambda: len(api.run("a").console()) > 200, "lines are stored")
            seen = len(api.run("a").console())
        finally:
            rank.kill()
            rank.wait()
        wait_until(no_writer, "the writer has ended the run")
        lines = [line.text for line in api.run("a").console()]
        captured = api.run("a").captured
    assert len(lines) >= seen
    assert lines == [f"line {number}" for number in range(len(lines))]
    assert captured.logged == captured.stored
