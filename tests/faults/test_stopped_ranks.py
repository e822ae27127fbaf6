"""Rows 8, 9, 25, 37 of the fault matrix: ranks stopped, told to go, stuck in C, or far ahead of their writer."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.faults.jobs import Job, no_writer, the_writer, wait_for_steps
from tests.road.site import wait_until


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.mark.long(timeout_s=180)
def test_a_rank_that_is_stopped_is_silent_and_comes_back_as_itself(job: Job) -> None:
    rank = job.start(rate_hz=200)
    wait_until(lambda: job.stored_steps() != {}, "it is known")
    os.kill(rank.process.pid, signal.SIGSTOP)
    wait_until(lambda: job.site.only_run()["ranks"][0]["state"] == "silent", "it is silent", 60)
    os.kill(rank.process.pid, signal.SIGCONT)
    wait_for_steps([rank], 200)
    wait_until(lambda: job.site.only_run()["ranks"][0]["state"] == "running", "it runs", 60)
    job.stop()
    rank.end()
    wait_until(no_writer, "the writer has gone")
    assert len(job.site.only_run()["ranks"]) == 1
    assert job.check_stored() == rank.receipt["stored"]


@pytest.mark.long(timeout_s=180)
def test_a_rank_stuck_in_c_code_with_the_interpreters_lock_is_not_lost(job: Job) -> None:
    script = job.site.script(
        """
        import ctypes, disttrack
        run = disttrack.init(project="p")
        run.log({"loss": 1.0}, step=0)
        run.id
        ctypes.PyDLL(None).sleep(20)  # PyDLL: the interpreter's lock is held
        run.log({"loss": 2.0}, step=1)
        print(run.finish())
        """
    )
    assert "2 stored, 0 pending, 0 dropped" in job.site.python(script)
    run = job.site.only_run()
    assert (run["state"], [rank["state"] for rank in run["ranks"]]) == ("finished", ["finished"])


@pytest.mark.real(timeout_s=60)
def test_a_users_own_signal_handler_is_called_and_every_row_stored(job: Job) -> None:
    script = job.site.script(
        """
        import os, signal, sys, time, disttrack
        signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"saved\\n"), sys.exit(143)))
        run = disttrack.init(project="p")
        for step in range(100): run.log({"loss": 1.0}, step=step)
        print("ready", flush=True)
        while True: time.sleep(0.1)  # a signal that comes just before a sleep begins is handled after it
        """
    )
    process = job.site.start(sys.executable, script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    output, _ = process.communicate(timeout=300)
    assert (process.returncode, output) == (143, "saved\n")
    wait_until(no_writer, "the writer has gone")
    run = job.site.only_run()
    assert (run["receipt"]["stored"], run["ranks"][0]["exit_code"]) == (100, 143)


@pytest.mark.real(timeout_s=120)
def test_a_backlog_lies_on_the_disk_and_not_in_memory(job: Job) -> None:
    rank = job.start(text_bytes=4000)
    wait_until(lambda: the_writer() is not None and rank.returned > 100, "it logs")
    writer = the_writer()
    assert writer is not None
    writer.suspend()
    before_mb = resident_mb(rank.process.pid)
    wait_for_steps([rank], 30_000)  # 120 MB
    job.stop()
    grown_mb = resident_mb(rank.process.pid) - before_mb
    writer.resume()
    rank.end()
    writer_mb = resident_mb(writer.pid) if writer.is_running() else 0.0
    wait_until(no_writer, "the writer has gone")
    print(
        f"a rank grew by {grown_mb:.0f} MB with {rank.returned} rows of 4 kB behind; its writer has {writer_mb:.0f} MB"
    )
    assert grown_mb < 64
    assert job.check_stored() == rank.receipt["stored"]
