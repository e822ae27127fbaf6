"""Ranks over two nodes that no launcher started: their process group's own store is where the nodes meet."""

import json
import sys
from collections import Counter

import pytest

from tests.nodes.cluster import Cluster
from tests.nodes.job import listening_besides_torchrun, shown, wait_for_disttrack
from tests.nodes.torchrun import PORT, ended
from tests.road.site import wait_until

SPAWN = """
import os, sys, time
from pathlib import Path
import disttrack, torch.distributed as dist, torch.multiprocessing as mp

def train(local_rank, node, before, port):
    rank = 2 * node + local_rank
    if before:
        run = disttrack.init(project="demo")
    dist.init_process_group("gloo", init_method=f"tcp://node0:{port}", rank=rank, world_size=4)
    if not before:
        run = disttrack.init(project="demo")
    for step in range(100):
        run.log({"rank": rank}, step=step)
    run._recorder.sender.welcomed.wait()
    Path(f"went-{rank}").touch()
    while not Path("stop").exists():
        time.sleep(0.05)
    assert run.finish().pending == 0
    dist.barrier()
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(train, args=(int(sys.argv[1]), sys.argv[2] == "before", int(sys.argv[3])), nprocs=2)
"""


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("when", ["before", "after"])
def test_spawned_ranks_of_two_nodes_are_one_run_whether_init_comes_before_the_group_or_after(
    cluster: Cluster, when: str
) -> None:
    script = cluster.shared / "spawn.py"
    script.write_text(SPAWN)
    processes = [node.popen([sys.executable, script, node.index, when, PORT]) for node in cluster.nodes]
    went = [cluster.shared / f"went-{rank}" for rank in range(4)]
    wait_until(lambda: all(path.exists() for path in went), "all ranks have met their writer", 60)
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=1)
    open_ports = [
        one for node in cluster.nodes for one in listening_besides_torchrun(node) if "writer" in str(one.process)
    ]
    assert len(open_ports) == 1  # opened when the other node knocked
    (cluster.shared / "stop").touch()
    ended(processes)
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=0)
    (found,) = json.loads(cluster[1].cli("ls", "--json"))
    run = shown(cluster[1], found["id"])
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 4, 4, 0)
    assert Counter(rank["node"] for rank in run["ranks"]) == Counter({"node0": 2, "node1": 2})
    lines = cluster[0].cli("export", found["id"], "--format", "jsonl").splitlines()
    assert Counter((row["rank"], row["value"]) for row in map(json.loads, lines)) == Counter(
        {(rank, rank): 100 for rank in range(4)}
    )
