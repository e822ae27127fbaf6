"""Slurm: ranks from the variables of srun's step, and the job around whatever else starts ranks in it.

A batch script has SLURM_PROCID and SLURM_NTASKS, too, but no step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from disttrack.environments.launch import Identity, Job, launcher_key
from disttrack.environments.variables import Names, node_count, place

__all__ = ["NAMES", "identity", "job"]

NAMES = Names("Slurm step", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", besides=("SLURM_STEP_ID",))


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is as a task of a step; None where it is none, or the variables make no sense."""
    rank = place(environ, NAMES)
    if rank is None:
        return None
    nodes = node_count(environ, rank.world_size, nodes="SLURM_STEP_NUM_NODES")
    restarts = environ.get("SLURM_RESTART_COUNT", "0")  # absent until the first requeue
    cluster, job = environ.get("SLURM_CLUSTER_NAME", ""), environ.get("SLURM_JOB_ID", "")
    meeting = f"file:slurm-{cluster}-{job}.{environ['SLURM_STEP_ID']}.{restarts}" if job and nodes != 1 else ""
    # On each node the tasks' parent is the slurmstepd of their step.
    key = launcher_key(environ, (NAMES.rank, *NAMES.besides))
    return Identity(rank, key, (("SLURM_RESTART_COUNT", restarts),), meeting, nodes)


def job(environ: Mapping[str, str], modules: Mapping[str, Any]) -> Job | None:
    """Return what Slurm calls the launch of a process, also one that is no task of a step, or that torchrun started.

    A requeued job keeps its number, and its steps are counted anew. The program is part of the name: a batch script
    that leaves out what is done already counts its steps otherwise.
    """
    number = environ.get("SLURM_JOB_ID")
    if not number:
        return None
    step = environ.get("SLURM_STEP_ID") or "batch"
    name = f"slurm:{environ.get('SLURM_CLUSTER_NAME', '')}:{number}.{step}:{_program(modules)}"
    restarts = environ.get("SLURM_RESTART_COUNT", "")
    return Job(name, int(restarts) if restarts.isdecimal() else 0)


def _program(modules: Mapping[str, Any]) -> str:
    """Return the name of the script or module that this process runs; "" where there is none."""
    main = modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return PurePath(getattr(main, "__file__", None) or "").name if spec is None else str(spec.name)
