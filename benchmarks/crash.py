"""What is lost when a process that logs is killed, and what training pays while its writer is stopped."""

from __future__ import annotations

import mmap
import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import disttrack
from benchmarks.result import Benchmark, Goal, Measured, in_turns
from benchmarks.rows import rows
from benchmarks.workbench import Workbench, writer_of

__all__ = ["BENCHMARKS"]

RATE_HZ = 1_000
COUNTER = "returned"
STEP_WORK = 15_000  # additions in Python: half a millisecond or more
MAY_SLEEP = 0.005  # of the calls


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


def train(steps: int, *, tracked: bool) -> tuple[float, int]:
    """In a process of its own: return ms of processor time a step, and how many log() calls slept."""
    data = rows(1_000, 10)
    run = disttrack.init(project="bench") if tracked else None
    writer = None
    if run is not None:
        run.log(data[0], 0)
        assert run.id  # it has a writer
        writer = writer_of(Path(os.environ["DISTTRACK_RUNTIME_DIR"]))
        assert writer is not None
        writer.suspend()
    slept, began = 0, time.process_time()
    for step in range(1, steps + 1):
        sum(number * number for number in range(STEP_WORK))
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        if run is not None:
            run.log(data[step % 1_000], step)
        slept += resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw > before
    took_s = time.process_time() - began
    if run is not None and writer is not None:
        writer.resume()
        run.finish()
    return 1_000 * took_s / steps, slept


def train_untracked(steps: int) -> tuple[float, int]:
    """In a process of its own: the same loop without the tracker."""
    return train(steps, tracked=False)


def train_tracked(steps: int) -> tuple[float, int]:
    """In a process of its own: the loop with a writer that is stopped."""
    return train(steps, tracked=True)


def _slowdown(bench: Workbench) -> Measured:
    steps = bench.size(4_000, 200)
    slept: list[int] = []

    def tracked() -> float:
        step_ms, calls = bench.call(train_tracked, steps)
        slept.append(calls)
        return float(step_ms)

    measured = in_turns(bench.repeats, tracked, lambda: float(bench.call(train_untracked, steps)[0]))
    note = f"{sum(slept)} of {steps * bench.repeats:,} log() calls slept"
    return measured._replace(note=note, also=sum(slept) <= MAY_SLEEP * steps * bench.repeats)


BENCHMARKS = (
    Benchmark("crash", "SIGKILL at 1,000 steps/s: rows lost", "rows", Goal(at_most=0), _lost),
    Benchmark(
        "slowdown",
        "CPU of a step with log(), writer SIGSTOPped",
        "ms",
        Goal(ratio_at_most=1.05, also="≤ 0.5 % sleep"),
        _slowdown,
        "without disttrack",
    ),
)
