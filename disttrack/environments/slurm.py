"""srun: ranks from its step's variables. A batch script has SLURM_PROCID and SLURM_NTASKS, too, but no step."""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments.launch import Identity, launcher_key
from disttrack.environments.variables import Names, node_count, place

__all__ = ["NAMES", "identity"]

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
