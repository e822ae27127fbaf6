"""Slurm: ranks from a step's variables, never from a batch script's, and a name for what is requeued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from disttrack.environments.detect import detect
from disttrack.environments.launch import Job, own_key, parent_key
from disttrack.environments.slurm import identity, job
from disttrack.records.types import Rank
from disttrack.settings import Settings

REPOSITORY = Path(__file__).parents[2]

#: What a batch script has, also where its job has four tasks: it is none of them (facts of Slurm 22.05.8).
BATCH = {
    "SLURM_CLUSTER_NAME": "cluster",
    "SLURM_JOB_ID": "17",
    "SLURM_PROCID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_NPROCS": "4",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_JOB_NUM_NODES": "2",
}
STEP = {
    **BATCH,
    "SLURM_PROCID": "2",
    "SLURM_NODEID": "1",
    "SLURM_STEP_ID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
TRAIN = {"__main__": SimpleNamespace(__file__="/home/user/train.py", __spec__=None)}

RANK = """
import json, os
from disttrack.environments.slurm import identity
print(json.dumps(identity(os.environ).launch_key))
"""


def found(environ: Mapping[str, str], modules: Mapping[str, Any] = TRAIN) -> Any:
    return detect(environ, modules, Settings())


def test_a_task_of_a_step_is_a_rank_of_it() -> None:
    who = found(STEP)
    assert who.rank == Rank(rank=2, world_size=4, local_rank=0, source="Slurm step")
    assert (who.nodes, who.meeting) == (2, "file:slurm-cluster-17.3.0")


def test_a_batch_script_is_no_rank_however_many_tasks_its_job_has() -> None:
    assert identity(BATCH) is None
    assert found(BATCH).rank == Rank(rank=0, world_size=1, local_rank=0, source="single process")


def test_torchrun_as_the_task_of_a_step_starts_the_ranks() -> None:
    who = found({**STEP, "TORCHELASTIC_RUN_ID": "job", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert (who.rank.rank, who.rank.world_size, who.rank.source) == (5, 8, "torchrun")


def test_what_multiprocessing_started_in_a_task_is_not_the_task() -> None:
    process = {"multiprocessing.process": SimpleNamespace(parent_process=lambda: object())}
    who = found(STEP, {**TRAIN, **process})
    assert (who.rank.source, who.rank.settled) == ("single process", False)


def test_a_step_of_one_task_is_a_launch_by_itself() -> None:
    who = found({**STEP, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"})
    assert (who.rank.world_size, who.launch_key, who.meeting) == (1, own_key(), "")


def test_tasks_on_one_node_need_not_meet_others() -> None:
    assert found({**STEP, "SLURM_STEP_NUM_NODES": "1"}).meeting == ""


@pytest.mark.parametrize(
    "nonsense",
    [
        {"SLURM_PROCID": "4"},
        {"SLURM_PROCID": "-1"},
        {"SLURM_PROCID": ""},
        {"SLURM_STEP_NUM_TASKS": "many"},
        {"SLURM_STEP_NUM_TASKS": "0"},
        {"SLURM_STEP_ID": ""},
        {"SLURM_JOB_ID": ""},
        {"SLURM_LOCALID": "4"},
    ],
)
def test_variables_that_make_no_sense_are_passed_over(nonsense: dict[str, str]) -> None:
    assert identity({**STEP, **nonsense}) is None


def test_tasks_that_one_daemon_started_share_its_key_also_below_a_shell() -> None:
    command = [sys.executable, "-c", RANK]
    keys = [
        subprocess.run(
            [*around, *command],
            cwd=REPOSITORY,
            env={**os.environ, **STEP, "SLURM_PROCID": rank},
            check=True,
            stdout=subprocess.PIPE,
            timeout=15,
        ).stdout
        for rank, around in (("0", []), ("1", ["sh", "-c", '"$@"; exit $?', "wrapper"]))
    ]
    assert [json.loads(key) for key in keys] == [parent_key(os.getpid())] * 2


def test_a_requeued_job_keeps_its_name_and_counts_its_starts() -> None:
    name = "slurm:cluster:17.3:train.py"
    assert job(STEP, TRAIN) == Job(name, 0)
    assert job({**STEP, "SLURM_RESTART_COUNT": "2"}, TRAIN) == Job(name, 2)
    assert job(BATCH, TRAIN) == Job("slurm:cluster:17.batch:train.py", 0)
    assert job({}, TRAIN) is None


def test_the_program_is_part_of_the_jobs_name() -> None:
    module = {
        "__main__": SimpleNamespace(__file__="/somewhere/__main__.py", __spec__=SimpleNamespace(name="pkg.train"))
    }
    assert job(STEP, module) == Job("slurm:cluster:17.3:pkg.train", 0)
    assert job(STEP, {}) == Job("slurm:cluster:17.3:", 0)


def test_ranks_that_torchrun_started_in_a_step_know_its_job() -> None:
    who = found({**STEP, "TORCHELASTIC_RUN_ID": "job", "RANK": "5", "WORLD_SIZE": "8", "SLURM_RESTART_COUNT": "1"})
    assert who.job == Job("slurm:cluster:17.3:train.py", 1)
