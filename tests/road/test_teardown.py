"""What torchrun ends since a peer failed, or since it is told to end itself: named as that, with the first cause."""

import signal
from typing import Any

import pytest

from tests.road.site import TORCHRUN, Site, wait_until

#: Rank 1 fails in a way that no hook of disttrack sees: its reason is only in what @record leaves for the agent.
FAILING = """
    import os, pathlib, sys, time
    import disttrack
    from torch.distributed.elastic.multiprocessing.errors import record

    @record
    def main():
        rank = int(os.environ["RANK"])
        run = disttrack.init(project="demo")
        run.log({"rank": rank})
        run._recorder.sender.welcomed.wait()
        pathlib.Path(f"ready-{rank}").touch()
        while len(list(pathlib.Path().glob("ready-*"))) < 3:
            time.sleep(0.02)
        if rank == 1 and sys.argv[1] == "fail":
            raise ValueError("a batch of nan")
        time.sleep(600)

    try:
        main()
    except ValueError:
        os._exit(7)
"""


def states(run: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(rank["state"], rank["signal"]) for rank in run["ranks"]]


@pytest.mark.real(timeout_s=120)
def test_the_first_failure_is_named_with_its_reason_and_ranks_ended_for_it_did_not_crash(site: Site) -> None:
    site.torchrun(3, site.script(FAILING), "fail", code=1)
    wait_until(lambda: site.ls()[0]["ended_at"] is not None, "all ends are stored")
    run = site.only_run()
    assert states(run) == [("terminated", "SIGTERM"), ("crashed", None), ("terminated", "SIGTERM")]
    first = run["first_failure"]
    assert (first["rank"], first["exit_code"], first["exception"]) == (1, 7, "ValueError: a batch of nan")
    assert (first["others"], first["terminated"]) == (0, 2)
    told = site.cli("show", run["id"])
    assert "crashed (exit 7): ValueError: a batch of nan; 2 ranks ended by the launcher" in told
    assert "terminated (SIGTERM)" in site.cli("ranks", run["id"])
    assert site.steps(run["id"], "rank") == {rank: [0] for rank in range(3)}


@pytest.mark.real(timeout_s=120)
def test_a_launch_that_is_told_to_end_is_preempted_and_no_rank_of_it_crashed(site: Site) -> None:
    agent = site.start(*TORCHRUN, 3, site.script(FAILING), "wait")
    wait_until(lambda: len(list(site.directory.glob("ready-*"))) == 3, "all ranks are there")
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=300)
    wait_until(lambda: site.ls()[0]["ended_at"] is not None, "all ends are stored")
    run = site.only_run()
    assert (run["state"], run["first_failure"]) == ("preempted", None)
    assert states(run) == [("preempted", "SIGTERM")] * 3
