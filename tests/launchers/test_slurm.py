"""Slurm: what srun starts is one run, whoever starts the ranks of it; what is requeued goes on with it."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from tests.launchers.slurm_cluster import SlurmCluster
from tests.road.site import wait_until

TRAIN = """
import sys
import disttrack

run = disttrack.init(project="demo", config={"lr": 0.1})
for step in range(int(sys.argv[1])):
    run.log({"loss": step + run.rank / 4}, step=step)
receipt = run.finish()
assert receipt.stored == receipt.logged, receipt
"""


def whole(slurm: SlurmCluster, run: dict[str, Any], rows: int) -> None:
    """Assert that a run of four ranks on two nodes ended well, and has every row once."""
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 4, 4, 0)
    places = [(rank["rank"], rank["local_rank"], rank["node"], rank["job_type"]) for rank in run["ranks"]]
    assert places == [
        (0, 0, "node0", "rank-0"),
        (1, 1, "node0", "rank-1"),
        (2, 0, "node1", "rank-2"),
        (3, 1, "node1", "rank-3"),
    ]
    assert {rank["state"] for rank in run["ranks"]} == {"finished"}
    assert run["group"] is not None
    assert (run["receipt"]["pending"], run["receipt"]["dropped"]) == (0, 0)
    assert slurm.rows(run["id"], "loss") == {
        (0, rank): [(step, step + rank / 4) for step in range(rows)] for rank in range(4)
    }


@pytest.mark.real(timeout_s=120)
def test_two_nodes_with_two_tasks_each_are_one_run_of_four_ranks(slurm: SlurmCluster) -> None:
    script = slurm.write("train.py", TRAIN)
    step = ("srun", "--nodes=2", "--ntasks-per-node=2", "--label")
    slurm.run([*step, sys.executable, script, 150])
    (run,) = slurm.runs()
    whole(slurm, run, 150)
    doctor = slurm.popen([*step, sys.executable, "-m", "disttrack", "doctor"]).communicate(timeout=60)[0]
    for rank in range(4):
        assert re.search(rf"^{rank}: .*rank {rank} of 4, .*on 2 nodes: from Slurm step", doctor, re.MULTILINE), doctor


@pytest.mark.long(timeout_s=180)
def test_torchrun_in_each_task_of_a_step_is_one_run_of_torchruns_ranks(slurm: SlurmCluster) -> None:
    script = slurm.write("train.py", TRAIN)
    job = slurm.sbatch(
        f"""#!/bin/sh
        srun {sys.executable} -m torch.distributed.run --nnodes 2 --nproc-per-node 2 \\
            --rdzv-backend c10d --rdzv-endpoint node0:29500 --rdzv-id "$SLURM_JOB_ID" {script} 150
        """.replace("\n        ", "\n"),
        "--nodes=2",
        "--ntasks-per-node=1",
    )
    assert slurm.wait_for_job(job, ["COMPLETED", "FAILED", "NODE_FAIL"], 120) == "COMPLETED", slurm.printed(job)
    (run,) = slurm.runs()
    whole(slurm, run, 150)


#: Logs until the test says stop, and begins again where a checkpoint says.
ENDLESS = """
import json, os, sys, time
from pathlib import Path
import disttrack

run = disttrack.init(project="demo")
run.id  # known once a writer has welcomed this rank
checkpoint = Path("checkpoint")
step = int(checkpoint.read_text()) if checkpoint.exists() else 0
while not Path("stop").exists():
    run.log({"loss": step}, step=step)
    step += 1
    if step % 20 == 0:
        Path(f"went-{run.rank}-{os.environ.get('SLURM_RESTART_COUNT', 0)}").write_text(str(step))
        if run.rank == 0:
            checkpoint.with_name("part").write_text(str(step))
            os.replace("part", checkpoint)
    time.sleep(0.01)
run.finish()
"""

BATCH = f"""#!/bin/sh
srun {sys.executable} train.py
"""


def wait_until_all_log(slurm: SlurmCluster, start: int = 0) -> None:
    ranks = [slurm.here / f"went-{rank}-{start}" for rank in range(4)]
    wait_until(lambda: all(path.exists() for path in ranks), f"start {start} logs in four ranks", 90)


@pytest.mark.long(timeout_s=300)
def test_what_is_cancelled_and_requeued_goes_on_with_its_run(slurm: SlurmCluster) -> None:
    slurm.write("train.py", ENDLESS)
    job = slurm.sbatch(BATCH, "--nodes=2", "--ntasks-per-node=2", "--requeue")
    wait_until_all_log(slurm)
    slurm.run(["scancel", job])
    slurm.wait_for_job(job, ["CANCELLED"])
    (run,) = slurm.runs()
    assert {run["state"], *(rank["state"] for rank in run["ranks"])} == {"preempted"}
    assert run["first_failure"] is None
    slurm.run(["scontrol", "requeue", job])
    wait_until_all_log(slurm, start=1)
    (slurm.here / "stop").touch()
    assert slurm.wait_for_job(job, ["COMPLETED", "FAILED"], 90) == "COMPLETED", slurm.printed(job)
    (again,) = slurm.runs()
    assert again["id"] == run["id"]
    print(slurm.cli("show", run["id"]), again["attempts"])
    assert [(attempt["state"], attempt["ranks_joined"]) for attempt in again["attempts"]] == [
        ("preempted", 4),
        ("finished", 4),
    ]
    assert (again["state"], again["group"]) == ("finished", run["group"])
    rows = slurm.rows(run["id"], "loss", "--superseded")
    assert set(rows) == {(attempt, rank) for attempt in range(2) for rank in range(4)}
    for steps in rows.values():
        assert [step for step, _ in steps] == list(range(steps[0][0], steps[-1][0] + 1))
