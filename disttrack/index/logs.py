"""One run's log, decoded without an index: for readers on hosts that have none, many of them side by side.

In: a log, and which keys matter. Out: a Snapshot, as of what the log held then. It costs what sealing costs, each time:
6 to 37 million values a second, where an index reads its stored columns 4 to 8 times as fast (decision 33).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from disttrack.index.blocks import Block, MemoryBlock, unmixed
from disttrack.index.decoder import Replaced, RunDecoder
from disttrack.index.plan import log_of
from disttrack.index.queries import RunRecord, Vanished
from disttrack.index.snapshots import Snapshot
from disttrack.index.survey import segments

__all__ = ["read_log"]


def read_log(root: Path, project: str, directory: str, keys: Collection[str] | None = None) -> Snapshot:
    """Return a run, up to what its log holds now, with the values of these keys (None: of all).

    project, directory: the names of its project's directory and its own. What is printed is left out. In memory are
    the values that are asked for, and a window of the log (decoder.WINDOW_BYTES) with all of its values.
    Raises Vanished where it is gone, OSError where it cannot be read.
    """
    log = log_of(root, project, directory)
    decoder = RunDecoder()
    blocks: list[Block] = []
    try:
        seen = segments(log, opened=True)
        if not seen:
            raise Vanished
        for _ in decoder.read(log, seen):
            for _, block in decoder.drain():
                blocks.extend(kept for part in unmixed(block) if (kept := _only(part, keys)) is not None)
    except (Replaced, FileNotFoundError):
        raise Vanished from None
    return Snapshot(RunRecord(0, project, directory, decoder.facts, decoder.sources), blocks)


def _only(block: Block, keys: Collection[str] | None) -> Block | None:
    """Return a block with the columns of these keys alone; None where it has none of them."""
    if keys is None or not isinstance(block, MemoryBlock):
        return block
    wanted = [index for index, key in enumerate(block.keys) if key in keys]
    if not wanted:
        return None
    if len(wanted) == len(block.keys):
        return block
    return dataclasses.replace(
        block,
        keys=tuple(block.keys[index] for index in wanted),
        kinds="".join(block.kinds[index] for index in wanted),
        bits=block.bits[wanted],  # a copy: the others are let go
        others={place: block.others[index] for place, index in enumerate(wanted) if index in block.others},
    )
