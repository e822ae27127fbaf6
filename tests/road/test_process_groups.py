"""Launches that no environment variable tells of: mp.spawn, and processes started by hand."""

import signal
import subprocess
import sys

import psutil
import pytest

from tests.road.site import Site, wait_until

WORK = """
    import os, sys, tempfile
    import torch.distributed as dist, torch.multiprocessing as mp
    import disttrack

    def work(rank, store, when):
        if when == "before":
            run = disttrack.init(project="demo")
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=4)
        if when == "after":
            run = disttrack.init(project="demo")
        for step in range(100):
            run.log({"rank": rank}, step=step)
        receipt = run.finish()
        assert receipt.stored == receipt.logged == 100, receipt
        print(run.job_type, flush=True)
        dist.destroy_process_group()

    if __name__ == "__main__":
        store, when, *rank = sys.argv[1:]
        if rank:
            work(int(rank[0]), store, when)
        else:
            mp.spawn(work, (store, when), nprocs=4)
"""


def check(site: Site) -> None:
    run = site.only_run()
    assert (run["state"], run["world_size"], run["ranks_joined"]) == ("finished", 4, 4)
    assert run["group"]
    assert [rank["job_type"] for rank in run["ranks"]] == [f"rank-{rank}" for rank in range(4)]
    assert {(rank["state"], rank["rows"]) for rank in run["ranks"]} == {("finished", 100)}
    assert len({rank["node"] for rank in run["ranks"]}) == 1
    assert run["receipt"] == {"logged": 400, "stored": 400, "pending": 0, "dropped": 0, "unreachable": 0}
    assert {(row["rank"], row["value"]) for row in site.export(run["id"])} == {(rank, rank) for rank in range(4)}
    assert site.steps(run["id"], "rank") == {rank: list(range(100)) for rank in range(4)}


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("when", ["before", "after"])
def test_spawned_processes_become_one_run_wherever_init_stands(site: Site, when: str) -> None:
    site.python(site.script(WORK), site.directory / "store", when)
    check(site)


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("when", ["before", "after"])
def test_processes_started_by_hand_become_one_run_wherever_init_stands(site: Site, when: str) -> None:
    script = site.script(WORK)
    ranks = [site.start(sys.executable, script, site.directory / "store", when, rank) for rank in range(4)]
    for rank in ranks:
        output, _ = rank.communicate(timeout=300)
        assert rank.returncode == 0, output
    check(site)


@pytest.mark.real(timeout_s=120)
def test_a_group_that_appears_after_a_rank_went_alone_still_makes_one_run(site: Site) -> None:
    """A rank that read run.id before its group existed opened a run by itself: that one becomes an alias."""
    script = site.script(
        WORK.replace(
            'run = disttrack.init(project="demo")',
            'run = disttrack.init(project="demo"); print("id", run.id, flush=True)',
            1,
        )
    )
    output = site.python(script, site.directory / "store", "before")
    check(site)
    run = site.only_run()
    aliases = {line.split()[1] for line in output.splitlines() if line.startswith("id ")}
    assert len(aliases) == 4
    assert {site.show(alias)["id"] for alias in aliases} == {run["id"]}


@pytest.mark.real(timeout_s=120)
def test_spawning_twice_from_one_script_makes_two_runs(site: Site) -> None:
    twice = WORK.replace(
        "mp.spawn(work, (store, when), nprocs=4)",
        "[mp.spawn(work, (store + str(n), when), nprocs=4) for n in range(2)]",
    )
    site.python(site.script(twice), site.directory / "store", "after")
    runs = site.ls()
    assert [(run["state"], run["ranks_joined"], run["attempt"]) for run in runs] == [("finished", 4, 0)] * 2


@pytest.mark.real(timeout_s=60)
def test_processes_with_explicit_ranks_become_one_run(site: Site) -> None:
    script = site.script(
        """
        import sys, disttrack
        settings = disttrack.Settings(rank=int(sys.argv[1]), world_size=3)
        with disttrack.init(project="demo", job_type="eval", settings=settings) as run:
            run.log({"a": 1})
        """
    )
    ranks = [subprocess.Popen([sys.executable, str(script), str(rank)], cwd=site.directory) for rank in range(3)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0, 0]
    run = site.only_run()
    assert run["job_type"] == "eval"
    assert [rank["job_type"] for rank in run["ranks"]] == ["eval-rank-0", "eval-rank-1", "eval-rank-2"]


STUCK = """
    import os, signal, sys, time
    import torch, torch.distributed as dist
    rank, store, tracker = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if tracker == "with":
        import disttrack
        run = disttrack.init(project="demo")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    if tracker == "with":
        run.log({"a": 1})
        run._recorder.sender.welcomed.wait()
    print("ready", flush=True)
    if rank == 0:
        dist.all_reduce(torch.ones(1))  # rank 1 never comes
    else:
        time.sleep(1_000)
"""


@pytest.mark.real(timeout_s=120)
def test_a_rank_stuck_in_an_all_reduce_dies_of_sigterm_as_without_the_tracker(site: Site) -> None:
    script = site.script(STUCK)
    for tracker in ("with", "without"):
        ranks = [site.start(sys.executable, script, rank, site.directory / tracker, tracker) for rank in range(2)]
        for rank in ranks:
            assert rank.stdout is not None
            while "ready" not in rank.stdout.readline():
                assert rank.poll() is None
        stuck = psutil.Process(ranks[0].pid)
        wait_until_it_sleeps(stuck)
        ranks[0].send_signal(signal.SIGTERM)
        assert ranks[0].wait(timeout=300) == -signal.SIGTERM
        assert ranks[1].poll() is None
        ranks[1].kill()
        for rank in ranks:
            rank.communicate(timeout=300)
    assert [rank["state"] for rank in site.only_run()["ranks"]] == ["crashed", "crashed"]


def wait_until_it_sleeps(process: psutil.Process) -> None:
    wait_until(lambda: process.status() == psutil.STATUS_SLEEPING, "rank 0 waits in all_reduce")
