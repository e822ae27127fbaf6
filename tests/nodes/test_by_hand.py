"""Ranks over two nodes that nobody but their variables, or their settings, tells apart: they meet all the same."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from tests.nodes.cluster import Cluster, Node
from tests.nodes.job import exported, listening_besides_torchrun, shown, wait_for_disttrack
from tests.nodes.torchrun import PORT, ended
from tests.road.site import wait_until

RANK = """
import sys, time
from pathlib import Path
import disttrack

run = disttrack.init(project="demo")
if "group" in sys.argv:
    import torch.distributed as dist
    dist.init_process_group("gloo", init_method=sys.argv[2], rank=run.rank, world_size=run.world_size)
for step in range(100):
    run.log({"rank": run.rank}, step=step)
while not Path("went-" + str(run.rank)).exists():
    if run._recorder.sender.welcome is not None:  # it has met its writer
        Path(f"went-{run.rank}").touch()
    time.sleep(0.05)
while not Path("stop").exists():
    time.sleep(0.05)
assert run.finish().pending == 0
if "group" in sys.argv:
    dist.barrier()  # the store is rank 0's
    dist.destroy_process_group()
"""

#: Starts two ranks on a node, as a script of one's own does.
LAUNCHER = """
import json, os, subprocess, sys
ranks = [subprocess.Popen(sys.argv[2:], env={**os.environ, **own}) for own in json.loads(sys.argv[1])]
sys.exit(max(map(abs, [rank.wait() for rank in ranks])))
"""

MASTER = {"MASTER_ADDR": "node0", "MASTER_PORT": str(PORT)}


def by_variables(rank: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": "4", "LOCAL_RANK": str(rank % 2), **MASTER}


def by_settings(rank: int) -> dict[str, str]:
    return {"DISTTRACK_RANK": str(rank), "DISTTRACK_WORLD_SIZE": "4", **MASTER}


def of_deepspeed(rank: int) -> dict[str, str]:
    return by_variables(rank) | {"LOCAL_SIZE": "2", "CROSS_RANK": str(rank // 2), "CROSS_SIZE": "2"}


@pytest.mark.parametrize(
    ("told", "source", "group"),
    [
        pytest.param(by_settings, "settings", True, marks=pytest.mark.real(timeout_s=150)),
        pytest.param(by_variables, "RANK, WORLD_SIZE and LOCAL_RANK", False, marks=pytest.mark.long(timeout_s=150)),
        pytest.param(of_deepspeed, "DeepSpeed", False, marks=pytest.mark.long(timeout_s=150)),
    ],
    ids=["by settings, with a process group", "by variables", "by deepspeed"],
)
def test_ranks_set_by_hand_on_two_nodes_are_one_run(
    cluster: Cluster, told: Callable[[int], Mapping[str, str]], source: str, group: bool
) -> None:
    script = cluster.shared / "rank.py"
    script.write_text(RANK)
    arguments = ["group", f"tcp://node0:{PORT}"] if group else []

    def launcher(node: Node, *command: object) -> list[object]:
        ranks = [told(2 * node.index + local) for local in range(2)]
        return [sys.executable, "-c", LAUNCHER, json.dumps(ranks), *command]

    processes = [node.popen(launcher(node, sys.executable, script, *arguments)) for node in cluster.nodes]
    went = [cluster.shared / f"went-{rank}" for rank in range(4)]
    wait_until(lambda: all(path.exists() for path in went), "all ranks have met their writer", 90)
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=1)
    ports = [one for node in cluster.nodes for one in listening_besides_torchrun(node) if "writer" in str(one.process)]
    assert len(ports) == 1
    (cluster.shared / "stop").touch()
    ended(processes)
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=0, limit_s=60)
    (found,) = json.loads(cluster[1].cli("ls", "--json"))
    run = shown(cluster[1], found["id"])
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 4, 4, 0)
    assert Counter(rank["node"] for rank in run["ranks"]) == Counter({"node0": 2, "node1": 2})
    assert [rank["job_type"] for rank in run["ranks"]] == [f"rank-{rank}" for rank in range(4)]
    rows = exported(cluster[0], found["id"], "rank")
    assert rows == {rank: [(step, rank) for step in range(100)] for rank in range(4)}
    outputs = ended([cluster[0].popen(launcher(cluster[0], sys.executable, "-m", "disttrack", "doctor"))])
    assert f": from {source}" in outputs[0]
