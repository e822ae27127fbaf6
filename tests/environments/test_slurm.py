"""Slurm's job: one name for a launch that is requeued, whoever starts its ranks."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from disttrack.environments.detect import detect
from disttrack.environments.launch import Job
from disttrack.environments.slurm import job
from disttrack.settings import Settings

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


def found(environ: Mapping[str, str], modules: Mapping[str, Any] = TRAIN) -> Any:
    return detect(environ, modules, Settings())


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
