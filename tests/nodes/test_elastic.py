"""torchelastic over two nodes: whatever it restarts, adds or takes away is one run, one attempt a round."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.nodes.cluster import Cluster, Node, NodeProcess
from tests.nodes.job import shown, wait_for_disttrack
from tests.nodes.torchrun import agent, ended
from tests.road.site import wait_until

WORKER = """
import os, time
from pathlib import Path
import disttrack

run = disttrack.init(project="demo")
fails = Path(f"fail-{run.rank}-of-{run.world_size}")
step = 0
while not (step >= 50 and Path("stop").exists()):
    run.log({"world": run.world_size}, step=step)
    step += 1
    if step == 50:
        run._recorder.sender.welcomed.wait()
        Path(f"went-{run.rank}-of-{run.world_size}-in-{run.attempt}").touch()
    time.sleep(0.01)
    if fails.exists():
        fails.unlink()
        raise RuntimeError("as planned")
run.finish()
Path(f"rows-{run.rank}-in-{run.attempt}-{step}").touch()
"""

# As the maintainers advise for jobs that change their size: the agents' store then moves with each round.
ENVIRONMENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
OPTIONS = ("--max-restarts", 3, "--rdzv-conf", "last_call_timeout=2,join_timeout=60")


def launch(cluster: Cluster, node: Node, nodes: str) -> NodeProcess:
    script = cluster.shared / "worker.py"
    script.write_text(WORKER)
    return agent(node, "c10d", [script], nodes=nodes, options=OPTIONS, env=ENVIRONMENT)


def wait_for_round(cluster: Cluster, *, world_size: int, attempt: int) -> None:
    names = [f"went-{rank}-of-{world_size}-in-{attempt}" for rank in range(world_size)]
    wait_until(
        lambda: all((cluster.shared / name).exists() for name in names), f"attempt {attempt} has {world_size} ranks", 90
    )


def fail(cluster: Cluster, rank: int, world_size: int) -> None:
    (cluster.shared / f"fail-{rank}-of-{world_size}").touch()


def finish(cluster: Cluster, processes: list[NodeProcess]) -> dict[str, Any]:
    """Let the job end; return its run, of which every row of the last attempt is there once."""
    (cluster.shared / "stop").touch()
    ended(processes, timeout_s=90)
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=0)
    ((run_id,),) = [[run["id"] for run in json.loads(node.cli("ls", "--json"))] for node in cluster.nodes[:1]]
    run = shown(cluster[0], run_id)
    told = {
        int(rank): int(rows)
        for path in cluster.shared.glob(f"rows-*-in-{run['attempt']}-*")
        for _, rank, _, _, rows in [path.name.split("-")]
    }
    lines = cluster[0].cli("export", run_id, "--superseded", "--format", "jsonl").splitlines()
    rows = Counter((row["attempt"], row["rank"], row["step"]) for row in map(json.loads, lines))
    assert set(rows.values()) == {1}
    assert {rank: sum(key[:2] == (run["attempt"], rank) for key in rows) for rank in range(run["world_size"])} == told
    for before in run["attempts"]:
        ranks = {rank for attempt, rank, _ in rows if attempt == before["attempt"]}
        assert ranks == set(range(before["world_size"]))
        assert before["ranks_joined"] == before["world_size"]
    return run


def rounds(run: dict[str, Any]) -> list[tuple[int, int]]:
    return [(attempt["attempt"], attempt["world_size"]) for attempt in run["attempts"]]


@pytest.mark.real(timeout_s=170)
def test_a_rank_that_fails_once_is_two_attempts_of_all_ranks_and_both_are_whole(cluster: Cluster) -> None:
    processes = [launch(cluster, node, "2") for node in cluster.nodes]
    wait_for_round(cluster, world_size=4, attempt=0)
    fail(cluster, rank=3, world_size=4)  # torchelastic's count of restarts stays 0 on the other node
    wait_for_round(cluster, world_size=4, attempt=1)
    run = finish(cluster, processes)
    assert rounds(run) == [(0, 4), (1, 4)]
    assert (run["state"], run["attempts"][0]["lost_steps"] > 0) == ("finished", True)
    failure = run["attempts"][0]["first_failure"]
    assert (failure["rank"], failure["exit_code"], failure["others"], failure["terminated"]) == (3, 1, 0, 3)


@pytest.mark.real(timeout_s=170)
def test_a_job_that_grows_to_a_second_node_and_shrinks_again_is_one_run(cluster: Cluster) -> None:
    first = launch(cluster, cluster[0], "1:2")
    wait_for_round(cluster, world_size=2, attempt=0)
    (cluster.shared / "went-0-of-2-in-0").unlink()
    second = launch(cluster, cluster[1], "1:2")
    wait_for_round(cluster, world_size=4, attempt=1)
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=1)
    second.terminate()  # as a scheduler does that takes a node away
    second.wait(timeout=300)
    fail(cluster, rank=0, world_size=4)  # as a collective does whose peer is gone
    wait_for_round(cluster, world_size=2, attempt=2)
    run = finish(cluster, [first])
    assert rounds(run) == [(0, 2), (1, 4), (2, 2)]
    assert run["state"] == "finished"
    assert (run["attempts"][0]["state"], run["attempts"][0]["first_failure"]) == ("stopped", None)  # nobody failed
