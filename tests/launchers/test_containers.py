"""Containers that are made again, as Kubernetes does it: with the same id, they go on as the run's next attempt."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from disttrack.writer.history import read_history
from tests.launchers.training import environment
from tests.nodes.cluster import Cluster
from tests.nodes.job import disttrack_processes, shown
from tests.nodes.torchrun import ended
from tests.road.site import Site, wait_until

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)

#: With "on": logs until it is killed. Else: logs 50 rows, and ends.
TRAIN = """
    import os, sys
    import disttrack

    run = disttrack.init(project="demo")
    step = 0
    while step < 50 or sys.argv[1] == "on":
        run.log({"loss": step}, step=step)
        step += 1
        if step % 100 == 0:
            run._recorder.sender.welcomed.wait()
            with open(f"rows-{run.rank}.new", "w") as file:
                file.write(str(step))
            os.replace(f"rows-{run.rank}.new", f"rows-{run.rank}")
    receipt = run.finish()
    assert receipt.stored == receipt.logged == 50, receipt
"""


def rows_said(directory: Path) -> list[int]:
    """Return how many rows each rank has said that it logged; 0 before it said so."""
    paths = [directory / f"rows-{rank}" for rank in range(2)]
    return [int(path.read_text()) if path.exists() else 0 for path in paths]


def check_attempts(run: dict[str, Any]) -> None:
    assert (run["state"], run["attempt"], run["ranks_joined"]) == ("finished", 1, 2)
    assert [rank["attempt"] for rank in run["ranks"]] == [1, 1]
    assert [rank["rows"] for rank in run["ranks"]] == [50, 50]


@pytest.mark.real(timeout_s=120)
def test_a_container_made_again_brings_home_what_the_last_one_left_in_their_volume(
    site: Site, require_nodes: None
) -> None:
    """With the container go its processes, the writer among them, and its /tmp; a volume with the journals stays."""

    def container(number: int, *arguments: str) -> list[object]:
        runtime = Path(os.environ["DISTTRACK_RUNTIME_DIR"], str(number))
        env = ("env", "DISTTRACK_ID=train", f"DISTTRACK_RUNTIME_DIR={runtime}")
        return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *env, *TORCHRUN, script, *arguments]

    script = site.script(TRAIN)
    first = site.start(*container(0, "on"), env=environment())
    wait_until(lambda: min(rows_said(site.directory)) >= 500, "both ranks have logged")
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=300)
    said = rows_said(site.directory)

    site.run(*container(1, "to its end"), env=environment())
    run = site.show("train")
    check_attempts(run)
    assert [attempt["state"] for attempt in run["attempts"]] == ["crashed", "finished"]
    assert run["receipt"]["stored"] == run["receipt"]["logged"]
    rows = site.export("train", "--superseded", "--keys", "loss")
    for rank in range(2):
        before = [row["step"] for row in rows if (row["rank"], row["attempt"]) == (rank, 0)]
        assert before == list(range(len(before)))
        assert len(before) >= said[rank]


@pytest.mark.real(timeout_s=180)
@pytest.mark.long(timeout_s=180)
def test_a_job_made_again_on_another_node_is_the_next_attempt_of_a_run_whose_node_went_without_a_word(
    cluster: Cluster,
) -> None:
    script = cluster.shared / "train.py"
    script.write_text("\n".join(line[4:] for line in TRAIN.splitlines()))
    first, second = cluster.nodes
    first.popen([*TORCHRUN, script, "on"], {"DISTTRACK_ID": "train"})
    wait_until(lambda: min(rows_said(cluster.shared)) >= 500, "both ranks have logged")
    log = cluster.shared / "disttrack-runs" / "demo" / "train" / "log"
    wait_until(lambda: "node" in {one.join.role for one in read_history(log).admissions}, "the node is sampled")
    first.kill()
    live = cluster.shared / "disttrack-runs" / "demo" / ".live" / "train"
    os.utime(live, (0, 0))  # a minute later: until then the run may be in use there, and the id is refused

    ended([second.popen([*TORCHRUN, script, "to its end"], {"DISTTRACK_ID": "train"})])
    check_attempts(shown(second, "train"))
    wait_until(lambda: not disttrack_processes(second), "its writer waits no longer for the node that went", 60)
    run = shown(second, "train")
    check_attempts(run)
    assert [attempt["state"] for attempt in run["attempts"]] == ["lost", "finished"]
