"""How a process ended, told to those who did not start it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from disttrack.environments.endings import UNKNOWN, Ending, ending_of, signal_name
from disttrack.environments.host import boot_id, process_start_time
from disttrack.writer.liveness import Watch, how_ended
from tests.journal.joins import make_join

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells")

WAYS = [
    ("pass", Ending(0)),
    ("sys.exit(2)", Ending(2)),
    ("os._exit(3)", Ending(3)),
    ("raise ValueError", Ending(1)),
    ("os.kill(os.getpid(), signal.SIGKILL)", Ending(signal=9)),
    ("os.kill(os.getpid(), signal.SIGTERM)", Ending(signal=15)),
    ("ctypes.string_at(0)", Ending(signal=11)),
]


def kernel_tells_of_the_reaped() -> bool:
    return tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 15)


def start(code: str) -> subprocess.Popen[bytes]:
    """Starts a process that does nothing until its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import ctypes, os, signal, sys\nsys.stdin.read()\n{code}"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def go(process: subprocess.Popen[bytes], fd: int) -> None:
    """Lets it end, and waits until it has, without reaping it."""
    assert process.stdin is not None
    process.stdin.close()
    select.select([fd], [], [])


@pytest.mark.parametrize(("code", "expected"), WAYS)
def test_a_watch_tells_how_a_process_ended_before_and_after_it_was_reaped(code: str, expected: Ending) -> None:
    process = start(code)
    join = make_join(pid=process.pid, start_time=process_start_time(process.pid), boot_id=boot_id())
    before, after = Watch(join), Watch(join)
    assert before.ending() == UNKNOWN
    go(process, before.fd)
    assert how_ended(join) == expected  # also without having watched it
    before.close()
    process.wait()
    assert before.ending() == expected
    if kernel_tells_of_the_reaped():
        after.close()
        assert (after.gone(), after.ending()) == (True, expected)
    after.close()


def test_an_older_kernel_tells_nothing_of_a_process_that_was_reaped() -> None:
    process = start("pass")
    started = process_start_time(process.pid)
    fd = os.pidfd_open(process.pid)
    go(process, fd)
    os.close(fd)
    assert ending_of(process.pid, started) == Ending(0)
    assert ending_of(process.pid, started + 1) == UNKNOWN  # another process, with the same pid
    process.wait()
    assert ending_of(process.pid, started) == UNKNOWN


def test_nothing_is_known_of_a_process_of_another_host() -> None:
    join = make_join(boot_id="elsewhere")
    assert (Watch(join).ending(), how_ended(join)) == (UNKNOWN, UNKNOWN)


def test_signals_have_names() -> None:
    assert [signal_name(number) for number in (signal.SIGKILL, 999)] == ["SIGKILL", "signal 999"]
