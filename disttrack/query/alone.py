"""One run read by itself, from its log and nothing else: for who must neither wait for an index nor write one."""

from __future__ import annotations

from pathlib import Path

from disttrack.index.blocks import unmixed
from disttrack.index.decoder import Replaced, RunDecoder
from disttrack.index.plan import log_of
from disttrack.index.queries import RunRecord
from disttrack.index.snapshots import Snapshot
from disttrack.index.survey import segments
from disttrack.records.names import directory_name

__all__ = ["read_alone"]

MAX_BYTES = 64 << 20  # of a log: a second of reading, and a memory of ten times as much


def read_alone(root: Path, project: str, run_id: str) -> Snapshot | None:
    """Return a run as its log is now; None where there is none yet, or one that is too large or cannot be read."""
    places = directory_name(project), directory_name(run_id)
    log, decoder = log_of(root, *places), RunDecoder()
    try:
        seen = segments(log)
        if not seen or sum(segment.size for segment in seen.values()) > MAX_BYTES:
            return None
        for _ in decoder.read(log, seen):
            pass
    except (Replaced, OSError):
        return None
    blocks = [part for _, block in decoder.tail() for part in unmixed(block)]
    return Snapshot(RunRecord(0, *places, decoder.facts, tuple(decoder.sources)), blocks)
