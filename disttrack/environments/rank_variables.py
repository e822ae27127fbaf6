"""RANK and WORLD_SIZE, from a launcher that leaves no other trace: a script of one's own, a Kubernetes operator."""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments.launch import Identity, launcher_key
from disttrack.environments.variables import Names, master_meeting, node_count, place

__all__ = ["ALL", "BARE", "identity", "of_node"]

ALL = Names(
    "RANK, WORLD_SIZE and LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", besides=("LOCAL_RANK",)
)
BARE = Names("RANK and WORLD_SIZE", "RANK", "WORLD_SIZE")


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is by RANK, WORLD_SIZE and LOCAL_RANK; None where they are not all there."""
    rank = place(environ, ALL) if environ.get("LOCAL_RANK") else None
    if rank is None:
        return None
    nodes = node_count(environ, rank.world_size, local=ALL.local_world_size)
    return Identity(rank, launcher_key(environ, ALL[1:3]), meeting=master_meeting(environ, nodes), nodes=nodes)


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
