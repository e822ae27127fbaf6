"""SIGKILL in the middle: every row whose log() returned is in the export, and no rank sees an exception (P1, P2)."""

import signal
import struct
import sys

import psutil
import pytest

from tests.faults.jobs import the_writer
from tests.road.site import Site, wait_until

LOG_UNTIL_STOPPED = """
    import os, struct, sys, time
    import disttrack
    rank, world_size, step = int(sys.argv[1]), int(sys.argv[2]), 0
    # What log() returned is counted in a file that survives this process.
    counter = os.open(f"count{rank}", os.O_RDWR | os.O_CREAT)
    run = disttrack.init(project="p", settings={"rank": rank, "world_size": world_size})
    while not os.path.exists("stop"):
        run.log({"a": float(step)}, step=step)
        step += 1
        os.pwrite(counter, struct.pack("<q", step), 0)
        time.sleep(0.001)
    receipt = run.finish()
    assert receipt.pending == receipt.dropped == 0, receipt
"""


def returned(site: Site, rank: int) -> int:
    path = site.directory / f"count{rank}"
    data = path.read_bytes() if path.exists() else b""
    return struct.unpack("<q", data)[0] if len(data) == 8 else 0


def wait_for_rows(site: Site, count: int) -> None:
    wait_until(lambda: returned(site, 0) > count and the_writer() is not None, "ranks log on")


def check_all_stored(site: Site, ranks: int) -> None:
    run = site.only_run()
    steps = site.steps(run["id"], "a")
    for rank in range(ranks):
        stored, logged = steps[rank], returned(site, rank)
        assert stored == list(range(len(stored)))  # none twice, none missing
        assert logged <= len(stored) <= logged + 1  # the kill may fall between log()'s return and the count
    assert run["receipt"]["dropped"] == run["receipt"]["pending"] == 0


@pytest.mark.real(timeout_s=120)
def test_killing_one_rank_and_the_writer_loses_no_row_and_repeats_none(site: Site) -> None:
    script = site.script(LOG_UNTIL_STOPPED)
    ranks = [site.start(sys.executable, script, rank, 3) for rank in range(3)]
    for victim in ("writer", "rank", "writer"):
        before = returned(site, 0)
        wait_for_rows(site, before + 500)
        if victim == "rank":
            ranks[2].kill()
        else:
            writer = the_writer()
            assert writer is not None
            writer.kill()
            writer.wait(300)
    (site.directory / "stop").touch()
    for number, rank in enumerate(ranks):
        output, _ = rank.communicate(timeout=300)
        assert (rank.returncode, output) == ((-signal.SIGKILL, "") if number == 2 else (0, ""))
    run = site.only_run()
    assert [rank["state"] for rank in run["ranks"]] == ["finished", "finished", "crashed"]
    assert run["state"] == "crashed"
    check_all_stored(site, 3)


@pytest.mark.real(timeout_s=120)
def test_killing_everything_at_once_loses_no_row_and_the_next_ls_brings_them_home(site: Site) -> None:
    script = site.script(LOG_UNTIL_STOPPED)
    ranks = [site.start(sys.executable, script, rank, 2) for rank in range(2)]
    wait_until(lambda: min(returned(site, 0), returned(site, 1)) > 500 and the_writer() is not None, "ranks log")
    writer = the_writer()
    assert writer is not None
    for process in (writer, *(psutil.Process(rank.pid) for rank in ranks)):
        process.suspend()
    for process in (writer, *(psutil.Process(rank.pid) for rank in ranks)):
        process.kill()
    for rank in ranks:
        rank.communicate(timeout=300)
    check_all_stored(site, 2)
    assert site.only_run()["state"] == "crashed"


def test_a_rank_killed_before_it_met_a_writer_is_brought_home_as_an_orphan(site: Site) -> None:
    script = site.script(
        """
        import os, sys, disttrack
        sys.executable = "/nowhere/python"  # what it would start a writer with, however late it dies
        run = disttrack.init(project="p")
        run.log({"a": 1})
        os.kill(os.getpid(), 9)
        """
    )
    site.python(script, env={"DISTTRACK_RANK": "1", "DISTTRACK_WORLD_SIZE": "2"}, code=-9)
    assert site.ls()[0]["tags"] == ["orphan"]
    run = site.only_run()
    assert (run["state"], run["receipt"]["stored"]) == ("crashed", 1)
    assert site.ls()[0]["id"] == run["id"]  # brought home once


def test_a_stopped_writer_is_waited_for_and_not_replaced(site: Site) -> None:
    script = site.script(LOG_UNTIL_STOPPED)
    rank = site.start(sys.executable, script, 0, 1)
    wait_until(lambda: bool(list(site.root.glob("p/*/log/*.dtl"))), "the rank has met its writer")
    writer = the_writer()
    assert writer is not None
    writer.suspend()
    before = returned(site, 0)
    wait_until(lambda: returned(site, 0) > before + 2500, "the rank logs on")
    assert the_writer() == writer
    writer.resume()
    (site.directory / "stop").touch()
    output, _ = rank.communicate(timeout=300)
    assert (rank.returncode, output) == (0, "")
    check_all_stored(site, 1)


def test_an_unwritable_root_is_said_once_and_the_rows_wait_in_the_journal(site: Site) -> None:
    site.root.write_text("a file where the directory should be")
    script = site.script(
        """
        import os, time, disttrack
        run = disttrack.init(project="p", settings={"finish_timeout_s": 2})
        for step in range(100): run.log({"a": step})
        while not os.path.exists("go"): time.sleep(0.02)
        print(run.finish())
        """
    )
    process = site.start(sys.executable, script)
    assert process.stdout is not None
    said = process.stdout.readline()  # before it finishes: how long a writer takes to start, nobody knows
    (site.directory / "go").touch()
    output = said + process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert "100 records logged: 0 stored, 100 pending, 0 dropped" in output
    assert output.count("refused this rank") == 1
    site.root.unlink()
    assert site.only_run()["receipt"]["stored"] == 100
