"""torchrun over two nodes: one run, however the agents meet, and nobody else who listens or reads along."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.nodes.cluster import Cluster
from tests.nodes.job import (
    COMMON_STEPS,
    Job,
    exported,
    listening_besides_torchrun,
    serving,
    shown,
    wait_for_disttrack,
)
from tests.nodes.torchrun import Rendezvous


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_four_ranks_on_two_nodes_become_one_run_with_every_row(
    cluster: Cluster, rendezvous: Rendezvous, tmp_path: Path
) -> None:
    cluster.wire.capture(tmp_path / "frames.pcap")
    job = Job(cluster, rendezvous)
    (run_id,) = job.started()
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=1)
    # No rank has a process group yet, so that whatever listens is torchrun's or ours.
    ((node, listener),) = [(node, one) for node in cluster.nodes for one in listening_besides_torchrun(node)]
    assert listener.process == serving(node)
    assert (listener.protocol, listener.address) == ("tcp", node.address)

    job.stop()
    told = job.ended()
    for one in told:
        # its rows, those in common, and the config
        assert (one.run_id, one.stored, one.pending) == (run_id, one.rows + len(COMMON_STEPS) + 1, 0)
    for node in cluster.nodes:
        assert [run["id"] for run in json.loads(node.cli("ls", "--json"))] == [run_id]
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=0)

    run = shown(cluster[1], run_id)
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 4, 4, 0)
    stored = sum(one.stored for one in told)
    assert run["receipt"] == {"logged": stored, "stored": stored, "pending": 0, "dropped": 0, "unreachable": 0}
    assert [rank["rows"] for rank in run["ranks"]] == [one.rows + len(COMMON_STEPS) for one in told]
    assert Counter((rank["node"], rank["local_rank"]) for rank in run["ranks"]) == Counter(
        (node.name, local) for node in cluster.nodes for local in (0, 1)
    )
    assert exported(cluster[0], run_id, "plain/loss") == {
        rank: [(step, step + rank / 4) for step in range(one.rows)] for rank, one in enumerate(told)
    }
    assert exported(cluster[0], run_id, "plain/sum") == {
        rank: [(step, 6.0) for step in COMMON_STEPS] for rank in range(4)
    }

    cluster.wire.capture(None)
    # The run's id may be read: ranks find it in torchrun's store. Names and values of what they log may not.
    assert b"plain/loss" not in (tmp_path / "frames.pcap").read_bytes()


@pytest.mark.real(timeout_s=120)
def test_without_a_shared_directory_the_run_is_whole_on_one_node(tmp_path: Path, require_nodes: None) -> None:
    with Cluster(tmp_path, shared_root=False) as cluster:
        job = Job(cluster, "static")
        (run_id,) = job.started()
        job.stop()
        told = job.ended()
        for node in cluster.nodes:
            wait_for_disttrack(node, processes=0)
        runs = {node.name: json.loads(node.cli("ls", "--json")) for node in cluster.nodes}
        ((home, [run]),) = [(node, runs[node.name]) for node in cluster.nodes if runs[node.name]]
        assert (run["id"], run["state"], run["ranks_joined"]) == (run_id, "finished", 4)
        assert exported(home, run_id, "plain/loss") == {
            rank: [(step, step + rank / 4) for step in range(one.rows)] for rank, one in enumerate(told)
        }
