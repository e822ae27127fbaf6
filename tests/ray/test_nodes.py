"""A Ray cluster of two nodes that share no disk: one writer on its head, whoever is killed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import PATIENCE
from tests.nodes.cluster import PROGRAMS, Cluster, why_not
from tests.nodes.job import disttrack_processes, exported, serving, shown
from tests.ray.conftest import EXAMPLES
from tests.ray.nodes import RayNodes
from tests.road.site import wait_until

ROOT = "/var/tmp"  # each node's own
LIMIT_S = 120.0

TRAIN = """
import json, os, sys, time
from pathlib import Path
import ray, ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from disttrack.integrations.ray import setup

ray.init(log_to_driver=False)
shared = Path(sys.argv[1])

def tell(what, rank, told):
    (shared / f"{what}-{rank}.part").write_text(json.dumps(told))
    os.replace(shared / f"{what}-{rank}.part", shared / f"{what}-{rank}.json")

def loop(config):
    run = setup(config, project="demo", dir="/var/tmp")
    rank, rows = ray.train.get_context().get_world_rank(), 0
    while rows < 100 or not (shared / "stop").exists():
        run.log({"loss": rows + rank / 4}, step=rows)
        rows += 1
        if rows == 100:
            run._recorder.sender.welcomed.wait()
            tell("started", rank, run.id)
        time.sleep(0.01)
    receipt = run.finish()
    tell("ended", rank, [rows, receipt.logged, receipt.stored])

DataParallelTrainer(
    loop,
    scaling_config=ray.train.ScalingConfig(num_workers=4),
    run_config=ray.train.RunConfig(name="two nodes", storage_path=str(shared)),
).fit()
"""

KILL_FOR_GOOD = """
import ray
ray.init(log_to_driver=False)
(found,) = [each for each in ray.util.list_named_actors(all_namespaces=True) if each["name"].startswith("writer-")]
ray.kill(ray.get_actor(found["name"], found["namespace"]), no_restart=True)
"""

REFUSED = """
import ray
from disttrack.integrations.ray.hosting import ask
ray.init(log_to_driver=False)
try:
    ask("ray:refused", "/nowhere/disttrack-runs")
except Exception as error:
    print("TOLD", str(error).replace("\\n", " "))
"""


@pytest.fixture(scope="module")
def cluster_of_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, RayNodes]]:
    """Two nodes with two processors each, and Ray on them."""
    if any(shutil.which(program) is None for program in PROGRAMS) or why_not() is not None:
        pytest.skip("nodes are not to be had; tests/nodes/test_cluster.py says why")
    with Cluster(tmp_path_factory.mktemp("ray"), shared_root=False) as cluster:
        yield cluster, RayNodes(cluster)


@pytest.fixture
def ray_nodes(cluster_of_ray: tuple[Cluster, RayNodes]) -> Iterator[tuple[Cluster, RayNodes]]:
    """The cluster, with all its processors free for a test whatever the one before has left."""
    yield cluster_of_ray
    cluster_of_ray[1].stop_drivers()


@pytest.mark.long(timeout_s=900)
def test_four_workers_on_two_nodes_lose_no_row_while_writer_and_actor_are_killed(
    ray_nodes: tuple[Cluster, RayNodes],
) -> None:
    cluster, ray = ray_nodes
    head, other = cluster.nodes
    script = cluster.shared / "train.py"
    script.write_text(TRAIN)
    driver = ray.drive(script, cluster.shared)

    def told(what: str) -> list[Any]:
        files = [cluster.shared / f"{what}-{rank}.json" for rank in range(4)]
        wait_until(
            lambda: all(file.exists() for file in files) or driver.poll() is not None, f"every rank has {what}", LIMIT_S
        )
        assert all(file.exists() for file in files), driver.communicate()[0]
        return [json.loads(file.read_text()) for file in files]

    (run_id,) = {str(run_id) for run_id in told("started")}
    first = serving(head, LIMIT_S)
    actor = ray.actor("WriterHost", LIMIT_S)
    head.kill_process(first)
    head.kill_process(actor)
    actor = ray.actor("WriterHost", LIMIT_S, instead_of=actor)  # Ray starts it again
    second = serving(head, LIMIT_S, instead_of=first)

    # Nobody starts it again but a rank that notices that nothing is stored any more.
    head.run([sys.executable, "-c", KILL_FOR_GOOD], ray.environment)
    wait_until(lambda: actor not in ray.actors("WriterHost"), "the actor is gone", LIMIT_S)
    head.kill_process(second)
    ray.actor("WriterHost", LIMIT_S, instead_of=actor)
    serving(head, LIMIT_S, instead_of=second)

    (cluster.shared / "stop").touch()
    ended = told("ended")
    output = driver.communicate(timeout=PATIENCE * LIMIT_S)[0]
    assert driver.returncode == 0, output
    run = shown(head, run_id)
    assert (run["name"], run["group"], run["state"], run["ranks_joined"]) == ("two nodes", "two nodes", "finished", 4)
    assert [rank["node"] for rank in run["ranks"]].count(head.name) == 2
    logged = sum(each[1] for each in ended)
    assert run["receipt"] == {"logged": logged, "stored": logged, "pending": 0, "dropped": 0, "unreachable": 0}
    rows = exported(head, run_id, "loss")
    for rank, each in enumerate(ended):
        assert rows[rank] == [(step, step + rank / 4) for step in range(each[0])]
    assert json.loads(other.cli("ls", "--json")) == []
    wait_until(lambda: not (ray.actors("WriterHost") or disttrack_processes(head)), "writer and actor go", LIMIT_S)
    assert not list((head.directory / "tmp").glob("disttrack-*/claims/*.seat"))


@pytest.mark.long(timeout_s=900)
def test_the_multinode_example_tells_of_the_ranks_of_both_nodes(ray_nodes: tuple[Cluster, RayNodes]) -> None:
    cluster, ray = ray_nodes
    arguments = ("--workers", 4, "--epochs", 2, "--storage", cluster.shared)
    driver = ray.drive(EXAMPLES / "ray_multinode.py", *arguments, env={"RAY_TRAIN_V2_ENABLED": "1"})
    output = driver.communicate(timeout=3 * PATIENCE * LIMIT_S)[0]
    assert driver.returncode == 0, output
    told = [line.split() for line in output.splitlines() if line.startswith("rank ")]
    assert sorted(int(line[1]) for line in told) == [0, 1, 2, 3]
    assert sorted(line[3] for line in told) == sorted(2 * [f"{node.name}:" for node in cluster.nodes])
    assert {line[4] for line in told} == {"finished,"}
    (stored,) = [line.split() for line in output.splitlines() if line.endswith("records stored")]
    assert stored[1] == stored[3]


@pytest.mark.long(timeout_s=900)
def test_a_directory_that_the_head_does_not_have_is_refused(ray_nodes: tuple[Cluster, RayNodes]) -> None:
    cluster, ray = ray_nodes
    output = cluster[1].run([sys.executable, "-c", REFUSED], ray.environment, timeout_s=LIMIT_S)
    assert "the writer runs on the head node, which has no such directory" in output
