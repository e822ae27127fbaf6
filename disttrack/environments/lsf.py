"""LSF's jsrun (JSM): ranks from its variables."""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments.launch import Identity, launcher_key
from disttrack.environments.variables import Names, node_count, place

__all__ = ["NAMES", "identity"]

NAMES = Names(
    "LSF",
    "JSM_NAMESPACE_RANK",
    "JSM_NAMESPACE_SIZE",
    "JSM_NAMESPACE_LOCAL_RANK",
    "JSM_NAMESPACE_LOCAL_SIZE",
)


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is under jsrun; None where the variables are not there or make no sense."""
    rank = place(environ, NAMES)
    if rank is None:
        return None
    nodes = node_count(environ, rank.world_size, local=NAMES.local_world_size)
    job, step = environ.get("LSB_JOBID", ""), environ.get("PMIX_NAMESPACE", "")
    meeting = f"file:lsf-{job}.{environ.get('LSB_JOBINDEX', '0')}.{step}" if job and nodes != 1 else ""
    return Identity(rank, launcher_key(environ, NAMES[1:3]), meeting=meeting, nodes=nodes)
