"""The doctor on the nodes of a job: an agent is linked to the writer on another node, or it is said why not."""

import json
import re
from typing import Any

import pytest

from tests.nodes.cluster import Cluster, Node
from tests.nodes.job import Job, disttrack_processes, wait_for_disttrack
from tests.road.site import wait_until


def examined(node: Node, code: int) -> dict[str, list[dict[str, Any]]] | None:
    """Return the findings of `disttrack doctor --json` on a node by check; None where it ends with another code."""
    process = node.popen(["python", "-m", "disttrack", "doctor", "--json"])
    output, _ = process.communicate(timeout=300)
    if process.returncode != code:
        return None
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(output)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return found


def notices(cluster: Cluster) -> list[str]:
    """Return what the nodes' processes left for each other below the root."""
    return [path.read_text() for path in (cluster.shared / "disttrack-runs" / ".launches").glob("*.json")]


@pytest.mark.real(timeout_s=150)
def test_an_agent_that_is_cut_off_from_its_writer_is_told_and_so_is_its_silence(cluster: Cluster) -> None:
    job = Job(cluster, "static")
    (run_id,) = job.started()
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=1)
    home, away = cluster.nodes
    if not [one for one in home.listening() if one.process in disttrack_processes(home)]:
        home, away = away, home

    found = examined(away, 0)
    assert found is not None
    (answers,), (link,), (writer,) = found["processes.answers"], found["processes.link"], found["meeting.writer"]
    assert (answers["facts"]["part"], answers["facts"]["runs"]) == ("agent", [run_id])
    assert (link["facts"]["linked"], link["facts"]["writer_host"]) == (True, home.name)
    assert link["facts"]["endpoint"] == writer["facts"]["endpoint"]
    assert writer["facts"]["took_s"] > 0
    assert found["clocks.writer"][0]["level"] == "ok"
    keys = [re.findall(r'"(?:server_key|client_secret|nonce)":"([^"]+)"', text) for text in notices(cluster)]
    assert keys
    for words in keys:
        assert len(words) >= 3
        assert not [word for word in words if word in json.dumps(found) or word in away.cli("doctor")]
    found = examined(home, 0)
    assert found is not None
    assert found["processes.answers"][0]["facts"]["part"] == "writer"
    assert found["processes.node"][0]["facts"]["node"] == away.name
    assert found["access.ports"][0]["facts"]["bound"] == [link["facts"]["endpoint"].removeprefix("tcp://")]

    cluster.wire.cut(away.name)
    unlinked: list[dict[str, Any]] = []

    def is_unlinked() -> bool:
        found = examined(away, 1) or {}
        unlinked[:] = [one for one in found.get("processes.link", []) if one["level"] == "failed"]
        return bool(unlinked)

    wait_until(is_unlinked, "the agent gives up", 60)
    assert unlinked[0]["facts"]["why"] == "the writer does not answer"
    assert link["facts"]["endpoint"] in unlinked[0]["fix"]
    wait_until(lambda: "processes.node_silent" in (examined(home, 1) or {}), "the writer misses the node", 60)

    cluster.wire.heal()
    wait_until(lambda: examined(away, 0) is not None, "it is linked again", 60)
    job.stop()
    job.ended()
