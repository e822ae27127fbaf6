"""RANK and WORLD_SIZE, from a launcher that leaves no other trace: a script of one's own, a Kubernetes operator."""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments import lsf, mpi, slurm
from disttrack.environments.host import children_of, process_environ
from disttrack.environments.launch import Identity, launcher_key, launcher_pid, parent_key
from disttrack.environments.variables import Names, master_meeting, node_count, place
from disttrack.records.types import Rank

__all__ = ["ALL", "BARE", "identity", "of_node"]

ALL = Names(
    "RANK, WORLD_SIZE and LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", besides=("LOCAL_RANK",)
)
BARE = Names("RANK and WORLD_SIZE", "RANK", "WORLD_SIZE")
COPIED = (mpi.OPEN_MPI, mpi.MVAPICH, mpi.PMI, slurm.NAMES, lsf.NAMES)
"""Launchers from whose variables scripts set the usual ones: `export RANK=$SLURM_PROCID`."""


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is by RANK, WORLD_SIZE and LOCAL_RANK; None where they are not all there."""
    rank = place(environ, ALL) if environ.get("LOCAL_RANK") else None
    if rank is None:
        return None
    nodes = node_count(environ, rank.world_size, local=ALL.local_world_size)
    return Identity(rank, parent_key(_launcher(environ, rank)), meeting=master_meeting(environ, nodes), nodes=nodes)


def _launcher(environ: Mapping[str, str], rank: Rank) -> int:
    """Return what started the ranks on this host: not a wrapper around one that has copied them from its launcher's."""
    nearest = launcher_pid(environ, ALL[1:3])
    for names in COPIED:
        around = place(environ, names)
        if around is not None and (around.rank, around.world_size) == (rank.rank, rank.world_size):
            copied = launcher_pid(environ, (names.rank, names.world_size, *names.besides))
            return nearest if copied == nearest or _starts_others(nearest, environ) else copied
    return nearest


def _starts_others(pid: int, environ: Mapping[str, str]) -> bool:
    """Say whether a process started other ranks than this one: it is a launcher, whose own rank agrees by chance."""
    ranks = {(process_environ(child) or {}).get(ALL.rank) for child in children_of(pid)}
    return bool(ranks - {None, environ[ALL.rank]})


def of_node(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is by RANK and WORLD_SIZE alone, which may be numbers of nodes, not of processes.

    Kubeflow's PyTorchJob and Alibaba's DLC set them so: where such a process starts others, their process group tells.
    """
    if environ.get("LOCAL_RANK"):  # it made no sense, or this would not be asked
        return None
    rank = place(environ, BARE)
    if rank is None:
        return None
    nodes = rank.world_size if "KUBERNETES_SERVICE_HOST" in environ else None
    return Identity(rank, launcher_key(environ, BARE[1:3]), meeting=master_meeting(environ, nodes), nodes=nodes)
