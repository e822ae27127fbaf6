"""Which rows a later attempt has gone over again: decided when reading, by nothing but what was logged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disttrack.index.blocks import Block
from disttrack.index.indexer import Snapshot
from disttrack.query.members import members

__all__ = ["cuts"]


def cuts(snapshot: Snapshot) -> dict[int, int]:
    """Return the cut of each attempt that has one: rows of it from that step on are superseded.

    It is the lowest step that any source of a later attempt logged first: in the order of its calls, so a late step
    that it goes back to later supersedes nothing. Runs of one attempt cost nothing.
    """
    everybody = members(snapshot.record)
    attempts = sorted({member.attempt for member in everybody}, reverse=True)
    if len(attempts) < 2:
        return {}
    later = {member.src: member.attempt for member in everybody if member.attempt > attempts[-1]}
    first_of: dict[int, int] = {}  # by attempt: the lowest of its sources' first steps
    for src, step in _first_steps(snapshot.blocks, later).items():
        first_of[later[src]] = min(step, first_of.get(later[src], step))
    found: dict[int, int] = {}
    lowest: int | None = None
    for attempt in attempts:
        if lowest is not None:
            found[attempt] = lowest
        if attempt in first_of:
            lowest = first_of[attempt] if lowest is None else min(lowest, first_of[attempt])
    return found


def _first_steps(blocks: Sequence[Block], sources: dict[int, int]) -> dict[int, int]:
    """Return the step of the first row that each of these sources logged."""
    first: dict[int, tuple[int, int]] = {}  # by source: offset of that row, its step
    wanted = np.array(sorted(sources), np.int64)
    for block in blocks:
        places = block.places()
        starts, ends = np.searchsorted(places.src, wanted), np.searchsorted(places.src, wanted, "right")
        for src, start, end in zip(wanted.tolist(), starts.tolist(), ends.tolist(), strict=True):
            if start < end:
                row = start + int(places.at[start:end].argmin())
                here = (int(places.at[row]), int(places.step[row]))
                first[src] = min(first.get(src, here), here)
    return {src: step for src, (_, step) in first.items()}
