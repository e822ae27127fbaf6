"""What a run's log says already, for a writer that goes on with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from disttrack.environments.endings import Ending
from disttrack.journal.segment import Damage, Frame, FrameKind, check_version, entries, read_frames, segment_paths
from disttrack.records.blobs import Blob
from disttrack.records.types import Admission, Incarnation, RunHeader, Sighting

__all__ = ["OVER", "History", "history_of", "is_clean", "read_history", "stored_blobs"]

OVER = frozenset({"ended", "crashed", "lost", "moved"})
"""Sightings after which nothing more is expected of an incarnation."""


def is_clean(sighting: Sighting) -> bool:
    """Say whether a rank ended by itself, with exit code 0."""
    return sighting.seen == "ended" and not sighting.exit_code and sighting.signal is None


@dataclasses.dataclass
class History:
    """header: of the first segment. over: incarnations that ended or were seen to be gone; clean: with exit code 0;
    stopped: before they were done, as they said.

    endings: what was last said of how they ended.
    """

    header: RunHeader | None = None
    admissions: list[Admission] = dataclasses.field(default_factory=list[Admission])
    over: set[Incarnation] = dataclasses.field(default_factory=set[Incarnation])
    ended: bool = False  # its last frame says that every rank that joined has ended
    moved: bool = False  # it is an alias of another run
    clean: set[Incarnation] = dataclasses.field(default_factory=set[Incarnation])
    stopped: set[Incarnation] = dataclasses.field(default_factory=set[Incarnation])
    endings: dict[Incarnation, Ending] = dataclasses.field(default_factory=dict[Incarnation, Ending])
    covered: dict[Incarnation, list[tuple[int, int]]] = dataclasses.field(
        default_factory=dict[Incarnation, list[tuple[int, int]]]
    )

    def end_of(self, incarnation: Incarnation) -> int:
        """Return the offset up to which the log is whole; beyond a damaged frame the rank sends again."""
        end = 0
        for first, last in sorted(self.covered.get(incarnation, [])):
            if first > end:
                break
            end = max(end, last)
        return end


def read_history(log: Path) -> History:
    """Read every segment of a log; raise UnsupportedFormat where a newer disttrack wrote one."""
    return history_of(segment_paths(log))


def history_of(segments: Iterable[Path]) -> History:
    """Read these segments of a log, in order; raise UnsupportedFormat where a newer disttrack wrote one."""
    history = History()
    known: set[Incarnation] = set()
    for path in segments:
        for frame in read_frames(path):
            if isinstance(frame, Damage):
                continue  # what it held is not covered, so it is sent again where its journal still exists
            if frame.kind in (FrameKind.ADMISSION, FrameKind.DATA, FrameKind.END):
                history.ended = frame.kind == FrameKind.END
            if frame.kind == FrameKind.HEADER:
                header = frame.value(RunHeader)
                check_version(header, path)
                history.header = history.header or header
            elif frame.kind == FrameKind.ADMISSION:
                admission = frame.value(Admission)
                if admission.join.incarnation not in known:
                    known.add(admission.join.incarnation)
                    history.admissions.append(admission)
            elif frame.kind == FrameKind.ALIAS:
                history.moved = True
            elif frame.kind == FrameKind.SIGHTING:
                sighting = frame.value(Sighting)
                history.ended &= sighting.seen == "ended"  # said once more; anything else opens the run again
                if sighting.seen in OVER:
                    history.over.add(sighting.incarnation)
                    history.endings[sighting.incarnation] = Ending(
                        sighting.exit_code, sighting.signal, sighting.exception
                    )
                if is_clean(sighting):
                    history.clean.add(sighting.incarnation)
                if sighting.stopped:
                    history.stopped.add(sighting.incarnation)
            elif frame.kind == FrameKind.DATA:
                for entry in entries(frame):
                    pieces = history.covered.setdefault(entry.incarnation, [])
                    first = entry.end - len(entry.data)
                    if pieces and pieces[-1][1] == first:
                        pieces[-1] = (pieces[-1][0], entry.end)
                    else:
                        pieces.append((first, entry.end))
    return history


def stored_blobs(log: Path, incarnation: Incarnation) -> set[int]:
    """Return the numbers of an incarnation's blobs that a log says are stored, or lost."""
    found: set[int] = set()
    for path in segment_paths(log):
        for frame in read_frames(path):
            if isinstance(frame, Frame) and frame.kind == FrameKind.BLOB:
                blob = frame.value(Blob)
                if blob.incarnation == incarnation:
                    found.add(blob.blob)
    return found
