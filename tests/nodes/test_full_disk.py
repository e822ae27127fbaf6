"""A disk that is full where the writer is costs no rank anything, also none on another node, once there is room."""

from pathlib import Path

import pytest

from tests.nodes.cluster import Cluster
from tests.nodes.job import Job, exported, said, shown, wait_for_disttrack
from tests.road.site import wait_until

ROOT = "/var/tmp/disttrack-runs"


@pytest.mark.real(timeout_s=150)
def test_ranks_of_both_nodes_lose_nothing_while_the_writers_disk_is_full(tmp_path: Path, require_nodes: None) -> None:
    with Cluster(tmp_path, shared_root=False) as cluster:
        writer = cluster[0]
        writer.run(["mkdir", ROOT])
        writer.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", ROOT])
        job = Job(cluster, "static")
        (run_id,) = job.started()
        writer.run(["sh", "-c", f"cat /dev/zero > {ROOT}/ballast"], code=1)
        # Every rank logs a row every 10 ms, so what was taken and could not be stored was of all of them.
        wait_until(lambda: "No space left" in said(writer), "a commit has failed", 30)
        writer.run(["rm", f"{ROOT}/ballast"])
        job.stop()
        told = job.ended()
        for node in cluster.nodes:
            wait_for_disttrack(node, processes=0)
        run = shown(writer, run_id)
        assert (run["state"], run["receipt"]["pending"], run["receipt"]["dropped"]) == ("finished", 0, 0)
        assert exported(writer, run_id, "plain/loss") == {
            rank: [(step, step + rank / 4) for step in range(one.rows)] for rank, one in enumerate(told)
        }
