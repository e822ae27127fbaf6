"""Lightning's own launcher (strategy="ddp"): the process the user started, and the children that it starts in fit().

Children have NODE_RANK, LOCAL_RANK and WORLD_SIZE, and never RANK. The process the user started has none of them before
fit(): which launch both belong to is told by the process group that they make there.
"""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments.launch import Identity
from disttrack.environments.variables import number
from disttrack.records.types import Rank

__all__ = ["identity"]

SOURCE = "Lightning"


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is by Lightning's variables; None where they are not all there, or make no sense."""
    if environ.get("RANK"):
        return None
    node, local_rank, world_size = (number(environ.get(name)) for name in ("NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"))
    if node is None or local_rank is None or not world_size:
        return None
    # How many ranks each node has is not said. With two nodes this is right; the group corrects the rest.
    rank = node * (world_size // (node + 1)) + local_rank
    if not (node < world_size and rank < world_size):
        return None
    found = Rank(rank=rank, world_size=world_size, local_rank=local_rank, source=SOURCE, settled=False)
    return Identity(found, None)
