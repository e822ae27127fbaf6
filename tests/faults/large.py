"""A run log of more than 1 MB, the same bytes each time, to be damaged anywhere: what each frame holds is known."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disttrack.index.blocks import Block
from disttrack.index.decoder import RunDecoder, SegmentSeen
from disttrack.journal.segment import Frame, FrameKind, read_frames
from disttrack.records.types import Incarnation, RunId
from tests.index.logs import Process, RunLog, process_of

__all__ = ["LargeLog", "Neighbourhood", "Placed", "Rows", "decoded", "large_log", "rows_of"]

RANKS = 4
SEGMENTS = 3
FRAMES = 60  # DATA frames of a segment
KEYS = tuple(f"metric_{number}" for number in range(8))
FEW, MANY = 3, 36  # steps of each rank in a frame
TEXT_EVERY = 12  # steps

Rows = NDArray[np.float64]  # [rows, 2 + keys]: rank, step, values; by rank and step


@dataclass(frozen=True)
class Placed:
    """A frame of the log: where it lies, and the rows in it."""

    segment: int
    kind: int
    start: int
    end: int
    rows: Rows

    def holds(self, segment: int, position: int) -> bool:
        return self.segment == segment and self.start <= position < self.end


@dataclass(frozen=True)
class Neighbourhood:
    """A log of one segment: the beginning of a segment of the large one, a frame, and those beside it."""

    data: bytes
    frames: list[Placed]  # where they lie in data
    at: int  # which of them it is about

    @property
    def frame(self) -> Placed:
        return self.frames[self.at]

    def rows_without(self) -> Rows:
        return joined(frame.rows for number, frame in enumerate(self.frames) if number != self.at)


@dataclass(frozen=True)
class LargeLog:
    """The log, its segments as bytes, and its frames in their order."""

    log: Path
    segments: dict[int, bytes]
    frames: list[Placed]

    def path(self, segment: int) -> Path:
        return self.log / f"{segment:06d}.dtl"

    @property
    def size(self) -> int:
        return sum(map(len, self.segments.values()))

    def chosen(self) -> list[Placed]:
        """Returns the frames that are damaged byte by byte: a small first, a large one in the middle, the last."""
        data = [frame for frame in self.frames if frame.kind == FrameKind.DATA]
        middle = max((frame for frame in data if frame.segment == 2), key=lambda frame: frame.end - frame.start)
        return [data[0], middle, data[-1]]

    def rows_without(self, lost: Iterable[Placed]) -> Rows:
        gone = set(map(id, lost))
        return joined(frame.rows for frame in self.frames if id(frame) not in gone)

    def neighbourhood(self, frame: Placed) -> Neighbourhood:
        """Returns a frame with what its segment begins with, and the frames before and after it."""
        mine = [each for each in self.frames if each.segment == frame.segment]
        number = mine.index(frame)
        first_data = next(at for at, each in enumerate(mine) if each.kind == FrameKind.DATA)
        kept = sorted({*range(first_data), *range(max(0, number - 1), min(len(mine), number + 2))})
        data, placed = b"", list[Placed]()
        for each in (mine[at] for at in kept):
            piece = self.segments[each.segment][each.start : each.end]
            placed.append(Placed(1, each.kind, len(data), len(data) + len(piece), each.rows))
            data += piece
        return Neighbourhood(data, placed, kept.index(number))


def large_log(root: Path) -> LargeLog:
    """Writes the log of a finished run: four ranks, three lives of a writer, each frame readable by itself."""
    noise = random.Random(16)
    log = RunLog(root, nonce="00")
    ranks = [_process(rank) for rank in range(RANKS)]
    committed: list[Rows] = []
    step = 0
    for life in range(SEGMENTS):
        for number in range(FRAMES):
            last = life == SEGMENTS - 1 and number == FRAMES - 1
            count = FEW if number == 0 else noise.randint(FEW, MANY)
            steps = range(step, step + count)
            bounds = [len(process.bounds) - 1 for process in ranks]
            committed.append(joined(_log(process, steps, noise, last) for process in ranks))
            log.commit(*[(process, first, None) for process, first in zip(ranks, bounds, strict=True)])
            step += count
        if life < SEGMENTS - 1:
            log.close()
    for process in ranks:
        log.see(process, "ended", exit_code=0)
    log.end()
    log.close()
    segments = {number: (log.log / f"{number:06d}.dtl").read_bytes() for number in range(1, SEGMENTS + 1)}
    return LargeLog(log.log, segments, list(_placed(log.log, iter(committed))))


def _process(rank: int) -> Process:
    return process_of(rank, RANKS, incarnation=Incarnation(0xD157_0000 + rank), own_id=RunId(f"own{rank}"))


def _log(process: Process, steps: range, noise: random.Random, is_last: bool) -> Rows:
    """Logs these steps, and returns the rows of KEYS among them."""
    process.encoder.announce_again()
    rank = process.join.rank.rank
    process.config(**{f"from_{steps.start}": noise.randbytes(4).hex()})
    rows = np.array([[rank, step, *(noise.gauss(0, 1) for _ in KEYS)] for step in steps])
    for row in rows.tolist():
        process.row(dict(zip(KEYS, row[2:], strict=True)), int(row[1]))
        if int(row[1]) % TEXT_EVERY == 0:
            process.row({"text": noise.randbytes(20).hex()}, int(row[1]))
    if is_last:
        process.end()
    return rows


def _placed(log: Path, committed: Iterator[Rows]) -> Iterator[Placed]:
    for number in range(1, SEGMENTS + 1):
        for frame in read_frames(log / f"{number:06d}.dtl"):
            assert isinstance(frame, Frame)
            rows = next(committed) if frame.kind == FrameKind.DATA else joined([])
            yield Placed(number, frame.kind, frame.start, frame.end, rows)


def joined(parts: Iterable[Rows]) -> Rows:
    rows = np.concatenate([np.empty((0, 2 + len(KEYS))), *parts])
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


def rows_of(blocks: Iterable[Block], ranks: list[int]) -> Rows:
    """Returns the rows of KEYS in blocks; ranks: by source."""
    parts: list[Rows] = []
    for block in blocks:
        if KEYS[0] in block.keys:
            places = block.places()
            rank = np.array(ranks)[np.asarray(places.src)]
            columns = [np.asarray(block.column(key), np.float64) for key in KEYS]
            parts.append(np.column_stack([rank, np.asarray(places.step), *columns]).astype(np.float64))
    return joined(parts)


def decoded(data: bytes) -> tuple[Rows, RunDecoder]:
    """Returns what the index's decoder finds in a segment."""
    decoder = RunDecoder()
    for _ in decoder.read("log", {1: SegmentSeen(1, len(data))}, {1: data}):
        pass
    ranks = [source.facts.join.rank.rank if source.facts.join else source.facts.rank_hint for source in decoder.streams]
    return rows_of([block for _, block in decoder.tail()], ranks), decoder
