"""Journals that killed writers left although they were stored are removed: by recover, and by the next launch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.jobs import Job, kill_everything, no_writer, the_writer, wait_for_steps
from tests.faults.logs import answer, cli
from tests.road.site import wait_until

pytestmark = pytest.mark.real(timeout_s=150)


def leave_journals(job: Job) -> list[Path]:
    """Has two ranks and their writer killed, and all brought home; returns their journals, as nobody removed them."""
    ranks = job.start_ranks(2, rate_hz=300)
    wait_until(lambda: len(job.stored_steps()) == 2, "both are stored")
    wait_for_steps(ranks, 50)
    writer = the_writer()
    assert writer is not None
    kill_everything([writer.pid, *(rank.process.pid for rank in ranks)])
    for rank in ranks:
        rank.process.wait(300)
    wait_until(no_writer, "the writer is dead")
    (journals,) = job.site.directory.glob("journals/*/journals")
    shutil.copytree(journals, job.site.directory / "copies")
    assert answer("recover")["ok"]
    assert list(journals.iterdir()) == []
    for copy in (job.site.directory / "copies").iterdir():
        shutil.copytree(copy, journals / copy.name)
    return sorted(journals.iterdir())


def test_recover_removes_what_is_stored_and_says_so(job: Job) -> None:
    left = leave_journals(job)
    rest = left[0].with_name(".removed-0123456789abcdef")
    shutil.copytree(left[0], rest)
    told = cli("recover")
    assert told.count("is stored already. Its journal was removed.") == len(left)
    assert f"Removed what was left of {rest.with_name('0123456789abcdef')}: all it held is stored." in told
    assert list(left[0].parent.iterdir()) == []
    assert cli("recover") == "No journal of a dead process waits here.\n"
    job.check_stored()
    job.check_read()


def test_the_next_launch_on_the_node_removes_what_is_stored(job: Job) -> None:
    left = leave_journals(job)
    shutil.copytree(left[0], left[0].with_name(".removed-0123456789abcdef"))
    kept = left[0]
    with open(kept / "000000.dtj", "ab") as file:  # what nobody has stored, and nobody can read
        file.write(os.urandom(64) + (kept / "000000.dtj").read_bytes()[-200:])
    rank = job.start(rate_hz=50, project="another")

    def strangers() -> list[Path]:
        return [path for path in left[0].parent.iterdir() if path in left or path.name.startswith(".removed")]

    wait_until(lambda: strangers() == [kept], "what is stored is removed, and what is not stays")
    job.stop()
    rank.end()
    wait_until(no_writer, "the writer has gone")
    assert strangers() == [kept]
