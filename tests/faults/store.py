"""What a run's log holds, read byte by byte: no index, no query, and nothing is brought home by looking."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from disttrack.journal.segment import Damage, FrameKind, entries, read_frames, segment_paths
from disttrack.records.codec import decode_row, records
from disttrack.records.payloads import RecordKind
from disttrack.records.types import Admission, Incarnation

__all__ = ["Stored", "run_directories", "stored"]


@dataclass
class Stored:
    """What one incarnation has in a run's log: its journal's bytes from 0 on, without a hole."""

    rank: int
    attempt: int
    pid: int
    role: str
    data: bytes = b""

    def steps(self) -> list[int]:
        """Return the steps of its rows, in the order of its calls."""
        found: list[int] = []
        for record in records(self.data):
            body = self.data[record.start : record.end]
            if record.kind == RecordKind.ROW:
                found.append(struct.unpack_from("<q", body)[0])
            elif record.kind == RecordKind.MSGPACK_ROW:
                found.append(decode_row(body)[0])
        return found


def run_directories(root: Path, project: str = "p") -> list[Path]:
    """Return the runs of a project, oldest first."""
    directory = root / project
    found = [path for path in directory.iterdir() if not path.name.startswith(".")] if directory.is_dir() else []
    return sorted(found, key=lambda path: path.stat().st_mtime)


def stored(run: Path, *, damaged: bool = False) -> dict[Incarnation, Stored]:
    """Return what each incarnation of a rank has in a run's log; what its node sampled is left out.

    Fails where the log is damaged (unless that is expected), where the same bytes of an incarnation differ between two
    frames, or where bytes are missing below the highest.
    """
    sources: dict[Incarnation, Stored] = {}
    waiting: dict[Incarnation, list[tuple[int, bytes]]] = {}
    for path in segment_paths(run / "log"):
        for frame in read_frames(path):
            if isinstance(frame, Damage):
                assert damaged, (path, frame)
            elif frame.kind == FrameKind.ADMISSION:
                admission = frame.value(Admission)
                join = admission.join
                known = sources.get(join.incarnation)
                sources[join.incarnation] = known or Stored(join.rank.rank, admission.attempt, join.pid, admission.role)
            elif frame.kind == FrameKind.DATA:
                for entry in entries(frame):
                    data = bytes(entry.data)
                    waiting.setdefault(entry.incarnation, []).append((entry.end - len(data), data))
    assert not damaged or set(waiting) <= set(sources)
    for incarnation, pieces in waiting.items():
        source = sources[incarnation]
        for start, data in sorted(pieces):
            assert start <= len(source.data), f"a hole at {len(source.data)} of rank {source.rank}"
            both = len(source.data) - start
            assert source.data[start : start + len(data)] == data[:both], "one offset, two contents"
            source.data += data[both:]
    return {incarnation: source for incarnation, source in sources.items() if source.role != "node"}
