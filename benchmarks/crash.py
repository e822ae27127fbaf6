"""What is lost when a process that logs is killed."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import disttrack
from benchmarks.result import Benchmark, Goal, Measured
from benchmarks.rows import rows
from benchmarks.workbench import Workbench

__all__ = ["BENCHMARKS"]

RATE_HZ = 1_000
COUNTER = "returned"


def log_for_ever() -> None:
    """In a process of its own: log 1,000 steps a second, and note in shared memory how many calls returned."""
    counter = mmap.mmap(os.open(COUNTER, os.O_RDWR), 8)
    data = rows(1_000, 10)
    run = disttrack.init(project="bench")
    began = time.perf_counter()
    for step in range(1_000_000):
        run.log(data[step % 1_000], step)
        struct.pack_into("<q", counter, 0, step + 1)
        time.sleep(max(0.0, began + (step + 1) / RATE_HZ - time.perf_counter()))


def _kill(bench: Workbench, after: int) -> tuple[int, int]:
    """Return how many rows were logged and how many of them are stored after SIGKILL and one `disttrack ls`."""
    directory = bench.fresh()
    (directory / COUNTER).write_bytes(bytes(8))
    process = bench.start(log_for_ever, directory=directory)
    while _returned(directory) < after and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    bench.wait_for_writers()
    command = [sys.executable, "-m", "disttrack", "ls"]
    subprocess.run(command, env=bench.environment(directory), check=True, capture_output=True)
    with disttrack.Api(directory) as api:
        (run,) = api.runs()
        steps = set(run.history(keys=["metric_0"])["step"].tolist())
    returned = _returned(directory)
    return returned, len(steps & set(range(returned)))


def _returned(directory: Path) -> int:
    number: int = struct.unpack("<q", (directory / COUNTER).read_bytes())[0]
    return number


def _lost(bench: Workbench) -> Measured:
    found = [_kill(bench, bench.size(2_000, 200)) for _ in range(bench.repeats)]
    logged = sum(returned for returned, _ in found)
    return Measured([logged - sum(stored for _, stored in found)], note=f"of {logged:,} in {len(found)} kills")


BENCHMARKS = (Benchmark("kill", "SIGKILL at 1,000 steps/s: rows lost", "rows", Goal(at_most=0), _lost),)
