"""Which metrics one run has: what they are, and how they are to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from disttrack.index.snapshots import Snapshot
from disttrack.query.members import members
from disttrack.query.metrics import definitions_of
from disttrack.records.payloads import Goal

__all__ = ["KeyRow", "run_keys"]


@dataclass(frozen=True)
class KeyRow:
    """One key; ranks: how many of the ranks logged it."""

    key: str
    kind: Literal["number", "media", "text"]
    ranks: int
    hidden: bool
    goal: Goal | None
    step_metric: str | None


def run_keys(snapshot: Snapshot) -> list[KeyRow]:
    """Return the keys that ranks logged, in the order of the blocks that hold them; what nodes sampled is none."""
    everybody = members(snapshot.record)
    rank_of = {member.src: member.rank for member in everybody}
    ranks: dict[str, set[int]] = {}
    kinds: dict[str, str] = {}
    for block in snapshot.blocks:
        mine = {rank_of[src] for src in block.places().slices[1].tolist() if src in rank_of}
        if mine:
            for key, kind in zip(block.keys, block.kinds, strict=True):
                ranks.setdefault(key, set()).update(mine)
                kinds[key] = kind if kinds.get(key, kind) == kind else "d" if "*" not in (kind, kinds[key]) else "*"
    last: dict[str, object] = {}
    for member in everybody:
        for key in ranks.keys() & member.source.last.keys():
            last.setdefault(key, member.source.last[key])
    definitions = definitions_of(everybody)
    return [
        KeyRow(
            key,
            _kind(kinds[key], last.get(key)),
            len(mine),
            bool(definitions.of(key).hidden),
            definitions.goal(key),
            definitions.of(key).step_metric,
        )
        for key, mine in ranks.items()
    ]


def _kind(letter: str, last: object) -> Literal["number", "media", "text"]:
    if letter != "*" or (isinstance(last, int | float) and not isinstance(last, bool)):
        return "number"
    items = cast("list[object]", last) if isinstance(last, list) else [last]
    return "media" if any(isinstance(item, dict) and "_type" in item for item in items) else "text"
