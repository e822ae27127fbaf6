"""Slurm: what srun starts is one run, whoever starts the ranks of it; what is requeued goes on with it."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from disttrack.journal.stored import newest_join
from tests.launchers.slurm_cluster import SlurmCluster
from tests.launchers.training import check_doctor
from tests.nodes.job import serving
from tests.road.site import wait_until

REPOSITORY = Path(__file__).parents[2]
LAUNCHER = REPOSITORY / "launchers/slurm.sbatch"
DIGITS = REPOSITORY / "examples/ddp_digits.py"

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
    doctor = slurm.popen([*step, sys.executable, "-m", "disttrack", "doctor"]).communicate(timeout=300)[0]
    for rank in range(4):
        assert re.search(rf"^{rank}: .*rank {rank} of 4, .*on 2 nodes: from Slurm step", doctor, re.MULTILINE), doctor


@pytest.mark.long(timeout_s=180)
def test_torchrun_in_each_task_of_a_step_is_one_run_of_torchruns_ranks(slurm: SlurmCluster) -> None:
    slurm.write("train.py", TRAIN)
    job = slurm.sbatch(TORCHRUN.replace("train.py", "train.py 150"), "--nodes=2", "--ntasks-per-node=1")
    assert slurm.wait_for_job(job, ["COMPLETED", "FAILED", "NODE_FAIL"], 120) == "COMPLETED", slurm.printed(job)
    (run,) = slurm.runs()
    whole(slurm, run, 150)
    job = slurm.sbatch(TORCHRUN.replace("train.py", "-m disttrack doctor"), "--nodes=2", "--ntasks-per-node=1")
    slurm.wait_for_job(job, ["COMPLETED", "FAILED", "NODE_FAIL"], 120)
    check_doctor(slurm.printed(job), 4, "torchrun")


#: Logs until the test says stop, and begins again where a checkpoint says.
ENDLESS = """
import os, time
from pathlib import Path
import disttrack

run = disttrack.init(project="demo")
run._recorder.sender.welcomed.wait()
start = int(os.environ.get("SLURM_RESTART_COUNT", 0))
checkpoint = Path("checkpoint")
step = int(checkpoint.read_text()) if checkpoint.exists() else 0
while not Path("stop").exists():
    run.log({"loss": step}, step=step)
    step += 1
    if step % 20 == 0:
        Path(f"went-{run.rank}-{start}").touch()
        if run.rank == 0:
            Path("part").write_text(str(step))
            os.replace("part", checkpoint)
    if Path(f"kill-{run.rank}").exists():
        os.kill(os.getpid(), int(Path(f"kill-{run.rank}").read_text()))
    time.sleep(0.01)
run.finish()
"""

TASKS = ("--nodes=2", "--ntasks-per-node=2")

SRUN = f"""#!/bin/sh
srun {sys.executable} train.py
"""

TORCHRUN = f"""#!/bin/sh
srun {sys.executable} -m torch.distributed.run --nnodes 2 --nproc-per-node 2 \\
    --rdzv-backend c10d --rdzv-endpoint node0:29500 --rdzv-id "$SLURM_JOB_ID" train.py
"""


def wait_until_all_log(slurm: SlurmCluster, start: int = 0) -> None:
    ranks = [slurm.here / f"went-{rank}-{start}" for rank in range(4)]
    wait_until(lambda: all(path.exists() for path in ranks), f"start {start} logs in four ranks", 120)


def preempted(slurm: SlurmCluster) -> dict[str, Any]:
    """Return the only run, which was taken down as a whole by nobody's fault.

    Where the writer was killed before it heard so of the other node, its readers wait for it for two minutes.
    """

    def states() -> set[str]:
        (run,) = slurm.runs()
        return {run["state"], *(rank["state"] for rank in run["ranks"])}

    wait_until(lambda: not states() & {"running", "silent", "unknown"}, "nobody counts as running any more", 170)
    assert states() == {"preempted"}
    (run,) = slurm.runs()
    assert (run["ranks_joined"], run["first_failure"]) == (4, None)
    return run


def completed(slurm: SlurmCluster, job: int, starts: int) -> dict[str, Any]:
    """Let a job end that was started so often; return its only run. Every attempt of it is whole but for its end."""
    (slurm.here / "stop").touch()
    assert slurm.wait_for_job(job, ["COMPLETED", "FAILED"], 120) == "COMPLETED", slurm.printed(job)
    (run,) = slurm.runs()
    attempts = [(attempt["state"], attempt["ranks_joined"]) for attempt in run["attempts"]]
    assert attempts == [("preempted", 4)] * (starts - 1) + [("finished", 4)], slurm.cli("show", run["id"])
    assert (run["state"], run["attempt"]) == ("finished", starts - 1)
    rows = slurm.rows(run["id"], "loss", "--superseded")
    assert set(rows) == {(attempt, rank) for attempt in range(starts) for rank in range(4)}
    for steps in rows.values():
        assert [step for step, _ in steps] == list(range(steps[0][0], steps[-1][0] + 1))
    assert [rank["rows"] for rank in run["ranks"]] == [len(rows[starts - 1, rank]) for rank in range(4)]
    assert [rank["job_type"] for rank in run["ranks"]] == [f"rank-{rank}" for rank in range(4)]
    assert run["group"]
    return run


@pytest.mark.long(timeout_s=400)
@pytest.mark.parametrize("script", [SRUN, TORCHRUN], ids=["srun", "torchrun"])
def test_what_is_cancelled_and_requeued_goes_on_with_its_run(slurm: SlurmCluster, script: str) -> None:
    slurm.write("train.py", ENDLESS)
    job = slurm.sbatch(script, "--nodes=2", f"--ntasks-per-node={1 if script == TORCHRUN else 2}", "--requeue")
    wait_until_all_log(slurm)
    slurm.run(["scancel", job])
    slurm.wait_for_job(job, ["CANCELLED"])
    run = preempted(slurm)
    slurm.run(["scontrol", "requeue", job])
    wait_until_all_log(slurm, start=1)
    again = completed(slurm, job, starts=2)
    assert (again["id"], again["group"], again["name"]) == (run["id"], run["group"], run["name"])
    assert sorted(rank["node"] for rank in again["ranks"]) == ["node0", "node0", "node1", "node1"]


@pytest.mark.long(timeout_s=400)
def test_a_job_that_a_more_urgent_one_preempts_starts_again_by_itself(slurm: SlurmCluster) -> None:
    slurm.write("train.py", ENDLESS)
    job = slurm.sbatch(SRUN, *TASKS, "--exclusive", "--requeue")
    wait_until_all_log(slurm)
    slurm.run(["srun", "--partition=high", "--nodes=2", "--exclusive", "true"])
    wait_until_all_log(slurm, start=1)
    completed(slurm, job, starts=2)


@pytest.mark.long(timeout_s=400)
def test_a_job_that_starts_again_on_another_node_goes_on_with_its_run(slurm: SlurmCluster) -> None:
    slurm.write("train.py", ENDLESS)
    job = slurm.sbatch(SRUN, "--nodes=1", "--ntasks=4", "--requeue")
    wait_until_all_log(slurm)
    assert slurm.job(job)["NodeList"] == "node0"
    with slurm.drained("node0"):  # it gets no new jobs
        slurm.run(["scontrol", "requeue", job])
        wait_until_all_log(slurm, start=1)
        run = completed(slurm, job, starts=2)
    assert {rank["node"] for rank in run["ranks"]} == {"node1"}


@pytest.mark.long(timeout_s=400)
def test_the_launcher_file_has_a_job_started_again_before_its_time_is_over(slurm: SlurmCluster) -> None:
    slurm.write("train.py", ENDLESS)
    # Slurm may send the signal up to a minute early; the first start's time limit is none of the test's.
    text = LAUNCHER.read_text()
    assert "#SBATCH --signal=B:USR1@60" in text
    job = slurm.sbatch(text, "--time=1", arguments=["train.py"], env={"PYTHON": sys.executable})
    wait_until_all_log(slurm)
    wait_until_all_log(slurm, start=1)
    completed(slurm, job, starts=int(slurm.job(job)["Restarts"]) + 1)


@pytest.mark.long(timeout_s=400)
def test_a_job_whose_time_is_over_was_preempted(slurm: SlurmCluster) -> None:
    slurm.write("train.py", ENDLESS)
    job = slurm.sbatch(SRUN, *TASKS, "--time=1")
    wait_until_all_log(slurm)
    slurm.wait_for_job(job, ["TIMEOUT"], 200)
    preempted(slurm)


def kill(slurm: SlurmCluster, rank: int, number: signal.Signals) -> None:
    """Have a rank of ENDLESS die of a signal."""
    part = slurm.write("part-of-kill", str(int(number)))
    part.rename(slurm.here / f"kill-{rank}")


@pytest.mark.long(timeout_s=400)
@pytest.mark.parametrize(
    ("rank", "deaf"), [(3, False), (3, True), (0, False)], ids=["elsewhere", "of a deaf writer", "beside the writer"]
)
def test_the_rank_for_whose_death_srun_ends_the_others_is_the_first_cause(
    slurm: SlurmCluster, rank: int, deaf: bool
) -> None:
    """deaf: the writer takes nobody's word any more until Slurm kills it, as on a node that is very busy."""
    slurm.write("train.py", ENDLESS)
    text = LAUNCHER.read_text()
    assert "--kill-on-bad-exit=1" in text
    job = slurm.sbatch(text, arguments=["train.py"], env={"PYTHON": sys.executable})
    wait_until_all_log(slurm)
    if deaf:
        writer = serving(slurm.nodes[0])
        slurm.nodes[0].run(["kill", "-STOP", writer.pid])
    kill(slurm, rank, signal.SIGKILL)
    assert slurm.wait_for_job(job, ["COMPLETED", "FAILED"], 120) == "FAILED", slurm.printed(job)
    (run,) = slurm.runs()
    first = run["first_failure"]
    assert (run["state"], first["rank"], first["signal"]) == ("crashed", rank, "SIGKILL"), slurm.cli("show", run["id"])
    states = [(each["rank"], each["state"]) for each in run["ranks"]]
    assert states == [(each, "crashed" if each == rank else "terminated") for each in range(4)]


@pytest.mark.long(timeout_s=400)
def test_a_rank_that_somebody_ends_alone_was_not_preempted(slurm: SlurmCluster) -> None:
    slurm.write("train.py", ENDLESS)
    job = slurm.sbatch(SRUN, *TASKS)
    wait_until_all_log(slurm)
    kill(slurm, 3, signal.SIGTERM)

    def told() -> tuple[str, int | None, str | None]:
        (run,) = slurm.runs()
        first = run["first_failure"] or {"rank": None, "signal": None}
        return run["state"], first["rank"], first["signal"]

    wait_until(lambda: told() == ("crashed", 3, "SIGTERM"), "the others are seen to go on", 60)
    (slurm.here / "stop").touch()
    slurm.wait_for_job(job, ["COMPLETED", "FAILED"], 120)
    recover(slurm)
    assert told() == ("crashed", 3, "SIGTERM")
    (run,) = slurm.runs()
    assert [rank["state"] for rank in run["ranks"]] == ["finished"] * 3 + ["crashed"]


@pytest.mark.long(timeout_s=300)
def test_a_rank_that_is_killed_alone_is_why_its_step_crashed(slurm: SlurmCluster) -> None:
    slurm.write("train.py", ENDLESS)
    job = slurm.sbatch(SRUN, *TASKS)
    wait_until_all_log(slurm)
    kill(slurm, 3, signal.SIGKILL)
    wait_until(lambda: slurm.runs()[0]["ranks"][3]["state"] == "crashed", "rank 3 is known to have crashed", 60)
    slurm.run(["scancel", job])  # as srun --kill-on-bad-exit does, only that it may be quicker than the word of it
    slurm.wait_for_job(job, ["CANCELLED", "FAILED"])
    (run,) = slurm.runs()
    assert run["state"] == "crashed"
    assert (run["first_failure"]["rank"], run["first_failure"]["signal"]) == (3, "SIGKILL")


def journals(slurm: SlurmCluster) -> list[Path]:
    """Return what lies where the nodes keep journals, but for those of other tests' runs."""
    places = ("tmp/disttrack-*/journals/*", "var/tmp/disttrack-*/journals/*")
    found = [path for node in slurm.nodes for place in places for path in node.directory.glob(place)]
    joins = {path: newest_join(path) for path in found}
    return [path for path, join in joins.items() if join is None or join.root.startswith(str(slurm.here))]


def recover(slurm: SlurmCluster) -> None:
    """Have everything brought home that a job left on its nodes, once Slurm has ended its last process."""

    def left() -> list[str]:
        return [node.name for node in slurm.nodes for each in node.processes() if "disttrack.writer" in each.command]

    wait_until(lambda: not left(), "no process of disttrack is left", 60)
    for number in range(len(slurm.nodes)):
        slurm.cli("recover", node=number)


@pytest.mark.long(timeout_s=300)
def test_the_digits_example_learns_as_the_launcher_file_starts_it(slurm: SlurmCluster) -> None:
    job = slurm.sbatch(
        LAUNCHER.read_text(), arguments=[DIGITS, "--group", "g"], env={"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    )
    assert slurm.wait_for_job(job, ["COMPLETED", "FAILED"], 200) == "COMPLETED", slurm.printed(job)
    (run,) = slurm.runs()
    assert (run["state"], run["ranks_joined"], run["group"]) == ("finished", 4, "g")
    # Slurm ends the writer with its step; the launcher file's last step brings home what that had no time for.
    assert (run["receipt"]["pending"], run["receipt"]["dropped"]) == (0, 0)
    assert run["summary"]["test_accuracy"] > 0.9
    assert slurm.printed(job).count("records logged") == 4
    recover(slurm)
    assert journals(slurm) == [], slurm.printed(job)
