"""disttrack recover and disttrack fsck beside ranks that log, and several of them at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.faults.jobs import Job, kill_everything, no_writer, the_writer, wait_for_steps
from tests.faults.logs import answer, cli
from tests.road.site import wait_until

pytestmark = pytest.mark.real(timeout_s=120)


def at_once(*commands: Sequence[object]) -> list[dict[str, Any]]:
    """Returns what command lines print as JSON that run at the same time; 1 says that something remains."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "disttrack", *map(str, command), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    found: list[dict[str, Any]] = []
    for process in started:
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode in (0, 1), stderr
        assert stderr == ""
        found.append(json.loads(stdout))
        assert found[-1]["ok"] == (process.returncode == 0)
    return found


def test_recover_where_nothing_waits_says_so(job: Job) -> None:
    assert cli("recover") == "No journal of a dead process waits here.\n"
    rank = job.start(rate_hz=200)
    wait_for_steps([rank], 20)
    assert cli("recover") == "No journal of a dead process waits here.\n"  # of a living one it is its writer's to take
    job.stop()
    rank.end()
    assert answer("recover") == {"ok": True, "journals": []}
    wait_until(no_writer, "the writer has gone")


def test_recover_beside_living_ranks_of_the_launch_takes_nothing_twice_and_hinders_none(job: Job) -> None:
    living, dying = job.start_ranks(2, rate_hz=300)
    wait_until(lambda: len(job.stored_steps()) == 2, "both are stored")
    dying.kill()
    writer = the_writer()
    if writer is not None:
        writer.kill()  # so that what the dead one left is for the next writer, or for whoever comes first
    journals = job.site.directory / "journals"
    at_once(["recover"], ["recover"], ["recover", journals], ["fsck"])
    copied = answer("recover", journals, code=1)["journals"]
    assert any("still logging" in one["why"] for one in copied if one["why"] is not None)
    wait_for_steps([living], 100)
    job.stop()
    living.end()
    assert living.receipt["pending"] == living.receipt["dropped"] == 0
    wait_until(no_writer, "the writer has gone")
    assert answer("recover") == {"ok": True, "journals": []}
    job.check_stored()
    job.check_read()


def test_several_that_recover_at_once_store_everything_once(job: Job) -> None:
    ranks = job.start_ranks(2, rate_hz=500)
    wait_until(lambda: len(job.stored_steps()) == 2, "both are stored")
    writer = the_writer()
    assert writer is not None
    wait_for_steps(ranks, 200)
    kill_everything([writer.pid, *(rank.process.pid for rank in ranks)])
    for rank in ranks:
        rank.process.wait(300)
    wait_until(no_writer, "the writer is dead")
    copies = job.site.directory / "copies"
    shutil.copytree(job.site.directory / "journals", copies)
    at_once(["recover"], ["recover", copies], ["recover"], ["recover", copies])
    assert answer("recover")["ok"]
    assert answer("recover", copies)["ok"]
    assert job.check_stored() > 400
    job.check_read()


def test_fsck_of_a_run_that_is_being_written_finds_nothing_wrong(job: Job) -> None:
    ranks = job.start_ranks(2, rate_hz=1000, text_bytes=300)
    wait_until(lambda: len(job.stored_steps()) == 2, "both are stored")
    for _ in range(5):
        wait_for_steps(ranks, 100)
        found = answer("fsck")
        assert found["ok"]
        assert [(run["damage"], run["holes"]) for run in found["runs"]] == [([], [])]
        assert all(pending["alive"] for pending in found["pending"])
    job.stop()
    for rank in ranks:
        rank.end()
    wait_until(no_writer, "the writer has gone")
    found = answer("fsck")
    assert (found["ok"], found["pending"]) == (True, [])
