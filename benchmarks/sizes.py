"""Bytes a point, in the run log and in the index, beside the values alone."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

from benchmarks.reading import MANY, MANY_WIDE, ONE, WIDE, Logs, build_index, index_bytes, logs
from benchmarks.result import Benchmark, Goal, Measured
from benchmarks.rows import START_US, join_of, run_header, walks, wide_walks
from benchmarks.workbench import Workbench
from disttrack.records.codec import EXPLICIT_STEP, RowEncoder
from disttrack.writer.ingest import RunIngest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BENCHMARKS"]

KEYS, HZ = 10, 10


def _log_bytes(bench: Workbench) -> Measured:
    """Drive the writer's ingest by a clock that is handed in: minutes of 10 Hz without waiting for them."""
    count = bench.size(10_000, 500)
    per_point: list[float] = []
    bare: list[float] = []
    for seed in range(bench.repeats):
        values = walks(count, KEYS, seed)
        directory = bench.fresh() / "bench" / "run"
        _ingest(directory, values.astype(np.float64).tolist(), random.Random(seed))
        size = sum(path.stat().st_size for path in (directory / "log").iterdir())
        per_point.append(size / count / KEYS)
        bare.append(len(zstd.compress(values.tobytes(), 1)) / count / KEYS)
    return Measured(per_point, bare, f"{count / HZ:,.0f} s of one rank in compressed time")


def _ingest(directory: Path, values: list[list[float]], jitter: random.Random) -> None:
    """Give a run's writer rows as the sender does, every 100 ms, and let it commit when it is due."""
    now = 0.0
    run = RunIngest(directory, run_header("run"), lambda: now)
    join = join_of(0, 1)
    source = run.admit(join, lambda _: True)
    encoder = RowEncoder()
    names = [f"metric_{key}" for key in range(KEYS)]
    end = 0
    for step, row in enumerate(values):
        next_row_s = step / HZ
        while (due_s := run.due_in()) is not None and now + due_s < next_row_s:
            now += due_s
            run.commit()
        now = next_row_s
        time_us = START_US + int(1e6 * now) + jitter.randrange(2_000)
        data = encoder.encode(dict(zip(names, row, strict=True)), step, time_us, EXPLICIT_STEP, [])
        run.receive(source, end, data)
        end += len(data)
    run.commit()
    run.close()


def _index_bytes(bench: Workbench, kind: Logs) -> Measured:
    found = logs(bench, kind)
    build_index(bench, found)
    curves = wide_walks if kind.float64 else walks
    bare = [len(zstd.compress(curves(65_536, 1, seed).tobytes(), 1)) / 65_536 for seed in range(bench.repeats)]
    return Measured([index_bytes(found.root) / found.points] * bench.repeats, bare)


LIMIT = "values as float32, zstd-1"
BENCHMARKS = (
    Benchmark(
        "log-bytes", "run log, 10 float32-born keys at 10 Hz", "B/point", Goal(at_most=8), _log_bytes, LIMIT, "bytes"
    ),
    Benchmark(
        "index-bytes-one",
        "index of one run, 10 M points",
        "B/point",
        Goal(at_most=5),
        lambda bench: _index_bytes(bench, ONE),
        LIMIT,
    ),
    Benchmark(
        "index-bytes-many",
        "index of 10,000 runs x 1,000 points",
        "B/point",
        Goal(at_most=5),
        lambda bench: _index_bytes(bench, MANY),
        LIMIT,
    ),
    Benchmark(
        "index-bytes-float64",
        "index of one run, 2 M float64-born points",
        "B/point",
        Goal(at_most=8.5),
        lambda bench: _index_bytes(bench, WIDE),
        "values, zstd-1",
    ),
    Benchmark(
        "index-bytes-float64-many",
        "index of 1,000 runs x 1,000 float64-born points",
        "B/point",
        Goal(at_most=8.5),
        lambda bench: _index_bytes(bench, MANY_WIDE),
        "values, zstd-1",
    ),
)
