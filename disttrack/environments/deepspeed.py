"""The launcher of DeepSpeed: the usual variables, with the number of nodes beside them."""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments.launch import Identity, launcher_key
from disttrack.environments.variables import Names, master_meeting, node_count, place

__all__ = ["NAMES", "identity"]

NAMES = Names(
    "DeepSpeed", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE", besides=("LOCAL_RANK", "CROSS_RANK", "CROSS_SIZE")
)


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is under deepspeed's launcher; None where the variables are not its or make no sense."""
    rank = place(environ, NAMES)
    if rank is None:
        return None
    nodes = node_count(environ, rank.world_size, local=NAMES.local_world_size, nodes="CROSS_SIZE")
    key = launcher_key(environ, NAMES[1:3])
    return Identity(rank, key, meeting=master_meeting(environ, nodes), nodes=nodes)
