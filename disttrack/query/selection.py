"""Which rows of a run's blocks are asked for, and whose they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from disttrack.index.blocks import Block
from disttrack.index.snapshots import Snapshot
from disttrack.query.members import Member, members, newest_team

__all__ = ["RankChoice", "blocks_with", "chosen"]

RankChoice = Literal["all", "primary"] | Sequence[int] | None
"""Of whom: everybody ("all", None), the primary rank, or the ranks named."""


def chosen(snapshot: Snapshot, ranks: RankChoice) -> list[Member]:
    """Return the sources of a choice of ranks, by rank, attempt and seniority."""
    everybody = members(snapshot.record)
    if ranks is None or ranks == "all":
        return everybody
    if isinstance(ranks, str):
        joined = newest_team(everybody).joined
        wanted: Collection[int] = [min(joined)] if joined else []
    else:
        wanted = set(ranks)
    return [member for member in everybody if member.rank in wanted]


def blocks_with(snapshot: Snapshot, keys: Collection[str] | None) -> list[tuple[Block, tuple[str, ...]]]:
    """Return the blocks that hold any of these keys (None: of all keys), each with those it holds, in its order."""
    wanted = None if keys is None else frozenset(keys)
    found = [(block, tuple(key for key in block.keys if wanted is None or key in wanted)) for block in snapshot.blocks]
    return [(block, mine) for block, mine in found if mine]
