"""P7: log() waits for nothing under any fault, init() for no network and no store, finish() for a bounded time.

Every trainer of tests/faults counts the log() calls that slept (voluntary context switches), whatever its fault is:
`Trainer.check_sleeps`. Here are the faults that nothing else is about.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from tests.faults.jobs import Job, no_writer, the_writer, wait_for_steps
from tests.road.site import wait_until


@pytest.mark.real(timeout_s=90)
def test_a_writer_that_is_stopped_for_ten_seconds_holds_nobody_up(job: Job) -> None:
    rank = job.start(rate_hz=500)
    wait_until(lambda: the_writer() is not None and rank.returned > 100, "it logs")
    writer = the_writer()
    assert writer is not None
    writer.suspend()
    stopped, before = time.monotonic(), rank.returned
    wait_until(lambda: time.monotonic() - stopped >= 10, "10 s")
    wait_until(lambda: rank.returned >= before + 1_000, "it logs on while the writer is stopped")
    logged = rank.returned - before
    assert writer.status() == psutil.STATUS_STOPPED
    writer.resume()
    job.stop()
    rank.end()
    assert rank.receipt["pending"] == rank.receipt["dropped"] == 0
    wait_until(no_writer, "the writer has gone")
    print(f"{logged} rows behind a stopped writer; {job.check_stored()} stored")
    job.check_read()


@pytest.mark.real(timeout_s=60)
def test_finish_leaves_what_a_stopped_writer_does_not_take_and_says_where(job: Job) -> None:
    rank = job.start(rate_hz=500, settings={"finish_timeout_s": 1.0})
    wait_until(lambda: the_writer() is not None and rank.returned > 100, "it logs")
    writer = the_writer()
    assert writer is not None
    writer.suspend()
    wait_for_steps([rank], 200)
    job.stop()
    asked = time.monotonic()
    rank.end()
    assert time.monotonic() - asked < 100  # of the 300 s that a trainer waits where it is not told otherwise
    assert writer.status() == psutil.STATUS_STOPPED
    receipt = rank.receipt
    assert receipt["pending"] > 0
    assert receipt["dropped"] == 0
    assert f"{receipt['pending']:,} pending" in rank.stderr
    assert "disttrack ls" in rank.stderr
    writer.resume()
    wait_until(no_writer, "the writer has gone")
    assert job.check_stored() == receipt["logged"]


INIT = """
import os
import disttrack
os.path.exists("/begin")
run = disttrack.init(project="p")
os.path.exists("/end")
run.log({"a": 1})
run.finish()
"""


def test_init_asks_no_network_and_no_store(job: Job, require_program: Callable[[str], str]) -> None:
    trace = job.site.directory / "trace"
    # Without -f: only the thread that calls init.
    job.site.run(require_program("strace"), "-o", trace, sys.executable, job.site.script(INIT))
    lines = trace.read_text().splitlines()
    begin, end = (next(at for at, line in enumerate(lines) if f'"/{mark}"' in line) for mark in ("begin", "end"))
    calls = [line for line in lines[begin + 1 : end] if not line.startswith("---")]
    assert calls
    asked = [
        line
        for line in calls
        if re.match(r"(connect|bind|sendto|recvfrom|poll|select|epoll_wait|nanosleep|clock_nanosleep)\(", line)
        or str(job.site.root) in line
    ]
    assert asked == []


@pytest.mark.real(timeout_s=60)
def test_two_interrupts_end_a_finish_that_waits(job: Job) -> None:
    script = job.site.script(
        """
        import sys, disttrack
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
        run = disttrack.init(project="p", settings={"finish_timeout_s": float("inf")})
        run._recorder.sender.welcomed.wait()
        for step in range(100): run.log({"loss": 1.0}, step=step)
        print("ready", flush=True)
        sys.stdin.readline()
        for step in range(100, 200): run.log({"loss": 1.0}, step=step)
        print("finishing", flush=True)
        run.finish()
        """
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=job.site.directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    writer = the_writer()
    assert writer is not None
    writer.suspend()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "finishing\n"
    for _ in range(200):  # two do it, where each is handled before the next comes
        process.send_signal(signal.SIGINT)
        try:
            process.wait(0.5)
            break
        except subprocess.TimeoutExpired:
            pass
    _, errors = process.communicate(timeout=300)
    writer.resume()
    wait_until(no_writer, "the writer has gone")
    assert "KeyboardInterrupt" in errors
    assert job.site.only_run()["receipt"]["stored"] == 200
