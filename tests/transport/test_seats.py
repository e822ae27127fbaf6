"""The seat of a writer: what a Host leaves there, and how it starts a writer anew and goes after it."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from disttrack.transport.rendezvous import read_record
from disttrack.transport.seats import Host, leave_seat, read_seat
from disttrack.transport.seeking import Seeker
from tests.journal.joins import make_join
from tests.road.site import wait_until

KEY = "ray:test"


@pytest.fixture
def runtime() -> Path:
    return Path(os.environ["DISTTRACK_RUNTIME_DIR"])


def test_the_next_host_takes_the_place_and_the_secrets_of_one_that_was_killed(runtime: Path) -> None:
    first = Host(runtime, KEY, "127.0.0.1")
    seat = first.meet()
    assert read_seat(runtime, KEY) == seat
    (path,) = (runtime / "claims").glob("*.seat")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.close()
    second = Host(runtime, KEY, "127.0.0.1")
    assert second.meet() == seat
    second.close()
    leave_seat(runtime, KEY)
    third = Host(runtime, KEY, "127.0.0.1")
    assert third.meet().job_key != seat.job_key
    third.close()


@pytest.mark.long(timeout_s=180)
def test_a_host_replaces_a_killed_writer_and_goes_when_that_has_left_its_seat(runtime: Path) -> None:
    host = Host(runtime, KEY, "127.0.0.1")
    keeping = threading.Thread(target=host.keep, daemon=True)
    keeping.start()
    wait_until(lambda: read_record(runtime, KEY) is not None, "a writer runs")
    first = read_record(runtime, KEY)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: read_record(runtime, KEY) not in (None, first), "another one runs")
    # Nobody comes: it leaves its seat, and the host goes with it.
    keeping.join(100.0)
    assert not keeping.is_alive()
    assert read_seat(runtime, KEY) is None


def test_only_ranks_ask_and_only_for_a_launch_on_a_cluster() -> None:
    assert Seeker(make_join(launch_key="parent:boot:1:2")).answered
    assert not Seeker(make_join(launch_key=KEY)).answered
    assert Seeker(make_join(launch_key=KEY, role="helper")).answered
