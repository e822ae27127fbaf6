"""Reading runs back: the index built cold, series, statistics over ranks, lists of runs."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import disttrack
from benchmarks.result import Benchmark, Goal, Measured, in_turns
from benchmarks.rows import walks, write_run
from benchmarks.workbench import Unmeasurable, Workbench, peak_mb
from disttrack.journal.segment import read_frames
from disttrack.query.api import Runs, RunView

__all__ = [
    "BENCHMARKS",
    "MANY",
    "MANY_WIDE",
    "ONE",
    "SERIES",
    "TEAM",
    "WIDE",
    "Found",
    "Logs",
    "build_index",
    "index_bytes",
    "indexed",
    "logs",
]

BUCKETS = 1_000
PAGE = 100
KEY = "metric_0"


class Logs(NamedTuple):
    """Run logs to make: how many of what."""

    name: str
    runs: int
    ranks: int
    keys: int
    rows: int
    rows_a_frame: int
    quick: tuple[int, int]  # runs, rows
    float64: bool = False


class Found(NamedTuple):
    """Run logs that were made."""

    root: Path
    points: int
    runs: int
    ranks: int
    rows: int


ONE = Logs("one", 1, 1, 100, 100_000, 100, (1, 2_000))
SERIES = Logs("series", 1, 1, 1, 1_000_000, 1_000, (1, 20_000))
TEAM = Logs("team", 1, 256, 20, 2_000, 20, (1, 40))
WIDE = Logs("wide", 1, 1, 100, 20_000, 100, (1, 2_000), float64=True)
MANY_WIDE = Logs("many-wide", 1_000, 1, 10, 100, 5, (50, 100), float64=True)
MANY = Logs("many", 10_000, 1, 10, 100, 5, (50, 100))


def logs(bench: Workbench, kind: Logs) -> Found:
    """Return logs of this kind, written when they are asked for first."""

    def make() -> Found:
        directory = bench.fresh()
        runs, count = kind.quick if bench.quick else (kind.runs, kind.rows)
        root = directory / "disttrack-runs"
        for number in range(runs):
            write_run(root, f"run{number:05d}", kind.ranks, kind.keys, count, kind.rows_a_frame, float64=kind.float64)
        return Found(root, runs * kind.ranks * kind.keys * count, runs, kind.ranks, count)

    return bench.once(f"logs-{kind.name}", make)


def indexed(bench: Workbench, kind: Logs) -> Found:
    """Return logs of this kind with an index of them."""
    found = logs(bench, kind)
    build_index(bench, found)
    return found


def build_index(bench: Workbench, found: Found) -> None:
    """Have an index of these logs, built in a process of its own if there is none."""
    if not index_bytes(found.root):
        bench.call(index, str(found.root.parent), directory=found.root.parent)


def _index_files(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_file() and "index" in path.name]


def index_bytes(root: Path) -> int:
    """Return how large the index of a root is."""
    return sum(path.stat().st_size for path in _index_files(root))


# The index, built cold


def index(directory: str) -> tuple[float, float, int]:
    """In a process of its own: seconds until the index of a directory holds all of it, peak memory in MB, runs."""
    began = time.perf_counter()
    with disttrack.Api(directory) as api:
        runs = len(api.runs())
        return time.perf_counter() - began, peak_mb(), runs


def read_only(directory: str) -> float:
    """In a process of its own: seconds to read, check and unzip every frame below a directory."""
    began = time.perf_counter()
    for path in sorted(Path(directory).rglob("*.dtl")):
        for _ in read_frames(path):
            pass
    return time.perf_counter() - began


def _cold(bench: Workbench, kind: Logs) -> Measured:
    found = logs(bench, kind)
    memory_mb = 0.0

    def ours() -> float:
        nonlocal memory_mb
        for path in _index_files(found.root):
            path.unlink()
        took_s, mb, runs = bench.call(index, str(found.root.parent), directory=found.root.parent)
        assert runs == found.runs, (runs, found.runs)
        memory_mb = max(memory_mb, mb)
        return float(took_s)

    measured = in_turns(bench.repeats, ours, lambda: bench.call(read_only, str(found.root)))
    points_a_s = found.points / 1e6 / sorted(measured.ours)[len(measured.ours) // 2]
    note = f"{points_a_s:.1f} M points/s, at most {memory_mb:.0f} MB"
    return measured._replace(note=note, also=memory_mb <= 150)


# Series


def min_max(run: RunView, key: str) -> dict[str, NDArray[Any]]:
    """Return the first and the last row of a series, and those of the lowest and highest value in 1,000 buckets."""
    return run.history(keys=[key], points=2 * BUCKETS + 2)


def over_ranks(values: NDArray[Any], ranks: int) -> list[NDArray[Any]]:
    """Return mean, min, max and p95 over ranks, step by step."""
    table = values.reshape(ranks, -1)
    at = int(0.95 * (ranks - 1))
    return [table.mean(0), table.min(0), table.max(0), np.partition(table, at, axis=0)[at]]


def _ms(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return 1_000 * (time.perf_counter() - began)


def _table(bench: Workbench, found: Found) -> Path:
    """Return an SQLite file with a row a point: rank, step, value."""
    path = bench.fresh() / "points.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table point (rank integer, step integer, value real, primary key (rank, step))")
        for rank in range(found.ranks):
            values = walks(found.rows, 1, rank)[:, 0].astype(np.float64).tolist()
            rows = ((rank, step, value) for step, value in enumerate(values))
            connection.executemany("insert into point values (?, ?, ?)", rows)
    connection.close()
    return path


def _scan(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def _chart(bench: Workbench) -> Measured:
    found = indexed(bench, SERIES)
    table = _table(bench, found)

    def ours() -> None:
        with disttrack.Api(found.root.parent) as api:
            values = min_max(api.run("run00000"), KEY)[KEY]
            assert BUCKETS < len(values) <= 2 * BUCKETS + 2

    def limit() -> None:
        assert len(_scan(table, query)) == 2 * BUCKETS

    bucket = f"step * {BUCKETS} / {found.rows}"
    extremes = [f"select step, {best}(value) from point group by {bucket}" for best in ("min", "max")]
    query = " union all ".join(extremes)
    return in_turns(bench.repeats, lambda: _ms(ours), lambda: _ms(limit))


def _quantiles(bench: Workbench) -> Measured:
    found = indexed(bench, TEAM)
    table = _table(bench, found)

    def ours() -> None:
        with disttrack.Api(found.root.parent) as api:
            values = api.run("run00000").history(keys=[KEY], ranks="all")[KEY]
            assert len(over_ranks(values, found.ranks)[0]) == found.rows

    def limit() -> None:
        over_ranks(np.array(_scan(table, "select value from point order by rank, step"))[:, 0], found.ranks)

    return in_turns(bench.repeats, lambda: _ms(ours), lambda: _ms(limit))


def read_everything(directory: str) -> float:
    """In a process of its own: seconds until every point of a run is there as numpy columns."""
    began = time.perf_counter()
    with disttrack.Api(directory) as api:
        table = api.run("run00000").history()
        assert len(table) > 4
    return time.perf_counter() - began


def _everything(bench: Workbench) -> Measured:
    found = indexed(bench, ONE)
    return in_turns(
        bench.repeats,
        lambda: bench.call(read_everything, str(found.root.parent)),
        lambda: bench.call(read_only, str(found.root)),
    )


# Lists of runs


def page(api: disttrack.Api) -> list[object]:
    """Return a page of 100 runs with their summaries, sorted by a metric."""
    runs: Runs = api.runs("bench", order=f"-{KEY}")
    return [run.summary for run in runs[:PAGE]]


def _page(bench: Workbench) -> Measured:
    found = indexed(bench, MANY)
    table = bench.fresh() / "latest.sqlite"
    with sqlite3.connect(table) as connection:
        connection.execute("create table latest (run integer, key integer, value real, primary key (key, value, run))")
        rows = [
            (run, key, value)
            for run in range(found.runs)
            for key, value in enumerate(walks(1, 10, run)[0].astype(np.float64).tolist())
        ]
        connection.executemany("insert into latest values (?, ?, ?)", rows)
    connection.close()
    query = f"select run, value from latest where key = 0 order by value desc limit {PAGE}"
    with disttrack.Api(found.root.parent) as api:
        page(api)  # the index is open, as in a server
        return in_turns(bench.repeats, lambda: _ms(lambda: page(api)), lambda: _ms(lambda: _scan(table, query)))


METADATA = "%file,getdents64,fstat"


def _metadata_calls(bench: Workbench) -> Measured:
    strace = shutil.which("strace")
    if strace is None:
        raise Unmeasurable("strace is not installed")
    found = indexed(bench, MANY)
    trace = bench.fresh() / "trace"
    ls = [sys.executable, "-m", "disttrack", "ls"]
    environment = bench.environment(found.root.parent)
    subprocess.run(ls, env=environment, check=True, capture_output=True)
    time.sleep(2.1)  # a directory that changed within 2 s is listed again
    subprocess.run(ls, env=environment, check=True, capture_output=True)
    command = [strace, "-f", "-y", "-e", f"trace={METADATA}", "-o", str(trace), *ls]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    calls = [line for line in trace.read_text().splitlines() if str(found.root) in line and "(" in line]
    of_index = [line for line in calls if re.search(r"index-v|\.sqlite", line)]
    kinds = Counter(re.sub(r"^\d+ +", "", line).partition("(")[0] for line in calls if line not in of_index)
    note = f"{dict(kinds)}, and {len(of_index)} of the index file; in all of `disttrack ls` with {found.runs:,} runs"
    return Measured([sum(kinds.values())], note=note)


SQLITE = "sqlite row scan"
FRAMES = "read, check, unzip"
BENCHMARKS = (
    Benchmark("chart", "1M-point series to 1,000 min/max buckets, from disk", "ms", Goal(at_most=25), _chart, SQLITE),
    Benchmark("over-ranks", "mean/min/max/p95 over 256 ranks x 2k steps", "ms", Goal(at_most=25), _quantiles, SQLITE),
    Benchmark("history", "10 M points of one run as numpy columns", "s", Goal(at_most=2), _everything, FRAMES),
    Benchmark(
        "index-one",
        "index built cold: 10 M points of one run",
        "s",
        Goal(at_most=1, also="≤ 150 MB"),
        lambda bench: _cold(bench, ONE),
        FRAMES,
    ),
    Benchmark(
        "index-ranks",
        "index built cold: 256 ranks x 20 keys x 2k steps",
        "s",
        Goal(at_most=1.024, also="≤ 150 MB"),
        lambda bench: _cold(bench, TEAM),
        FRAMES,
    ),
    Benchmark(
        "index-many",
        "index built cold: 10,000 runs x 1,000 points",
        "s",
        Goal(at_most=6, also="≤ 150 MB"),
        lambda bench: _cold(bench, MANY),
        FRAMES,
    ),
    Benchmark(
        "list-sorted", "page of 100 of 10,000 runs sorted by a metric", "ms", Goal(at_most=10), _page, "sqlite, indexed"
    ),
    Benchmark("ls-calls", "`ls` over 10,000 ended runs: metadata calls", "calls", Goal(at_most=10), _metadata_calls),
)
