"""Rows to log, and run logs of any size, made as ranks and writers make them."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disttrack.journal.segment import FORMAT_VERSION, Entry, FrameKind, Segment
from disttrack.records.codec import EXPLICIT_STEP, RowEncoder, encode
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Admission, Join, Rank, RunEnd, RunHeader, RunId, changed, new_incarnation

__all__ = ["START_US", "join_of", "rows", "run_header", "walks", "wide_walks", "write_run"]

START_US = 1_700_000_000_000_000  # Unix time in µs at which every run here begins


def rows(count: int, keys: int, seed: int = 0) -> list[dict[str, float]]:
    """Return rows of float32-born values (what `.item()` gives), all different."""
    values = random.Random(seed)
    floats = np.array([values.gauss(0, 1) for _ in range(count * keys)], np.float32).astype(np.float64).tolist()
    names = [f"metric_{key}" for key in range(keys)]
    return [dict(zip(names, floats[at : at + keys], strict=True)) for at in range(0, count * keys, keys)]


def walks(count: int, keys: int, seed: int) -> NDArray[np.float32]:
    """Return [count, keys] random walks, float32: curves as training makes them."""
    steps = np.random.default_rng(seed).standard_normal((count, keys), np.float32) * np.float32(0.01)
    return np.cumsum(steps, axis=0, dtype=np.float32)


def wide_walks(count: int, keys: int, seed: int) -> NDArray[np.float64]:
    """Return [count, keys] random walks, float64 to their last bit: what Python itself computes."""
    return np.cumsum(0.01 * np.random.default_rng(seed).standard_normal((count, keys)), axis=0)


def join_of(rank: int = 0, world_size: int = 1, /, **changes: object) -> Join:
    """Return the Join of a rank that is nowhere to be found any more."""
    incarnation = new_incarnation()
    join = Join(
        incarnation=incarnation,
        launch_key="key",
        ordinal=0,
        root="/nowhere",
        project="bench",
        group=None,
        given_id=None,
        own_id=RunId(f"own{incarnation:016x}"),
        name=None,
        job_type=None,
        rank_job_type=f"rank-{rank}",
        rank=Rank(rank=rank, world_size=world_size, local_rank=rank, source="made"),
        host="node0",
        boot_id="boot0",
        pid=1_000 + rank,
        start_time=1,
        journal="/nowhere/journal",
        time_us=START_US,
    )
    return changed(join, **changes)


def run_header(run_id: str, /, **changes: object) -> RunHeader:
    """Return the header of a run of the project `bench`."""
    header = RunHeader(
        format_version=FORMAT_VERSION,
        run_id=RunId(run_id),
        project="bench",
        name=f"name-{run_id}",
        group=None,
        launch_key="key",
        ordinal=0,
        nonce=os.urandom(8).hex(),
        time_us=START_US,
    )
    return changed(header, **changes)


def write_run(
    root: Path, run_id: str, ranks: int, keys: int, count: int, rows_a_frame: int, *, float64: bool = False
) -> None:
    """Write the log of a finished run: count rows of keys values a rank, and rows_a_frame of them in each commit.

    float64: values that no float32 holds.
    """
    log = root / "bench" / run_id / "log"
    log.mkdir(parents=True)
    segment = Segment(log)
    segment.append(FrameKind.HEADER, run_header(run_id))
    joins = [join_of(rank, ranks) for rank in range(ranks)]
    for join in joins:
        segment.append(FrameKind.ADMISSION, Admission(join=join, attempt=0, role="rank", orphan=False))
    seed = zlib.crc32(run_id.encode())
    journals = [_journal(keys, count, rows_a_frame, seed + rank, float64=float64) for rank in range(ranks)]
    ends = [0] * ranks
    for pieces in zip(*journals, strict=True):
        batch: list[Entry] = []
        for rank, piece in enumerate(pieces):
            ends[rank] += len(piece)
            batch.append(Entry(rank, joins[rank].incarnation, ends[rank], piece))
        segment.append_batch(batch)
    segment.append(FrameKind.END, RunEnd(time_us=START_US + 10_000 * count))
    segment.close()


def _journal(keys: int, count: int, rows_a_frame: int, seed: int, *, float64: bool) -> Iterator[bytes]:
    """Yield what a rank's journal holds, frame by frame."""
    encoder = RowEncoder()
    names = [f"metric_{key}" for key in range(keys)]
    jitter = random.Random(seed)
    block = max(rows_a_frame, 100_000 // keys // rows_a_frame * rows_a_frame)
    curves: Callable[[int, int, int], NDArray[np.floating[Any]]] = wide_walks if float64 else walks
    last: NDArray[np.floating[Any]] = np.zeros(keys, np.float32)
    piece: list[bytes] = []
    for first in range(0, count, block):
        values = curves(min(block, count - first), keys, seed + first) + last
        last = values[-1]
        for step, row in enumerate(values.astype(np.float64).tolist(), first):
            time_us = START_US + 10_000 * step + jitter.randrange(500)
            data = dict(zip(names, row, strict=True))
            piece.append(encoder.encode(data, step, time_us, EXPLICIT_STEP, []))
            if step == count - 1:
                end = End(exit_code=0, logged=count, dropped=0, time_us=time_us)
                piece.append(encode(RecordKind.END, end))
            if step == count - 1 or (step + 1) % rows_a_frame == 0:
                yield b"".join(piece)
                piece = []
