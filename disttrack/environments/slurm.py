"""Slurm: ranks from a step's variables (srun's alone: a batch script has a rank's, too, and is none), and its job.

Each node of a step has one slurmstepd, which started all of its tasks there: that is the launch on this node. Nodes
meet in a file of the runs' root, as Slurm gives them no store.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from disttrack.environments.launch import Identity, Job, launcher_pid, own_key, parent_key
from disttrack.records.types import Rank

__all__ = ["identity", "job"]

SOURCE = "Slurm step"


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is in its step; None where the variables are not of a step or make no sense.

    A step of one task is a process by itself: `srun --pty bash` starts one after the other.
    """
    number, step = environ.get("SLURM_JOB_ID"), environ.get("SLURM_STEP_ID")
    rank, world_size = _number(environ, "SLURM_PROCID"), _number(environ, "SLURM_STEP_NUM_TASKS")
    if not number or not step or rank is None or world_size is None or not rank < world_size:
        return None
    local_rank = _number(environ, "SLURM_LOCALID")
    if local_rank is not None and local_rank >= world_size:
        return None
    place = Rank(rank=rank, world_size=world_size, local_rank=local_rank, source=SOURCE)
    if world_size == 1:
        return Identity(place, own_key())
    nodes = _number(environ, "SLURM_STEP_NUM_NODES") or None
    name = f"slurm-{environ.get('SLURM_CLUSTER_NAME', '')}-{number}.{step}.{_restarts(environ)}"
    variables = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID")
    daemon = launcher_pid({name: environ[name] for name in variables})
    # Not to be seen from a container with process ids of its own: then the step has one name on all nodes.
    key = parent_key(daemon) if daemon > 1 else f"slurm:{name}"
    return Identity(place, key, meeting=f"file:{name}" if nodes != 1 else "", nodes=nodes)


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
    return Job(name, _restarts(environ))


def _program(modules: Mapping[str, Any]) -> str:
    """Return the name of the script or module that this process runs; "" where there is none."""
    main = modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return PurePath(getattr(main, "__file__", None) or "").name if spec is None else str(spec.name)


def _restarts(environ: Mapping[str, str]) -> int:
    return _number(environ, "SLURM_RESTART_COUNT") or 0


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None
