"""What one log() call costs the thread that makes it."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping

import msgspec

import disttrack
from benchmarks.result import Benchmark, Goal, Measured
from benchmarks.rows import rows
from benchmarks.workbench import Workbench

__all__ = ["BENCHMARKS", "Log", "encode_and_write"]

CALLS = 2_000  # a repeat, in a tight loop
PACED_CALLS, PACE_S = 100, 0.01

Log = Callable[[Mapping[str, float], int], object]


def encode_and_write(path: str) -> Log:
    """Return what no logging to a file can undercut: step, time and row as msgspec's msgpack, and one write."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    encode = msgspec.msgpack.Encoder().encode

    def log(row: Mapping[str, float], step: int) -> None:
        os.write(fd, encode((step, time.time_ns(), row)))

    return log


def _nothing(row: Mapping[str, float], step: int) -> None:
    """What calling and timing cost by themselves."""


def _p50_us(log: Log, calls: int, pace_s: float) -> float:
    """Return the median of one call's time, less what calling and timing a function costs."""
    data = rows(1_000, 10)
    now = time.perf_counter_ns
    medians: list[float] = []
    for function in (_nothing, log):
        times_ns: list[int] = []
        for step in range(calls):
            row = data[step % 1_000]
            before = now()
            function(row, step)
            times_ns.append(now() - before)
            if pace_s and function is log:
                time.sleep(pace_s)
        medians.append(statistics.median(times_ns))
    return (medians[1] - medians[0]) / 1_000


def call_times(repeats: int, calls: int, pace_s: float) -> tuple[list[float], list[float]]:
    """In a process of its own: log() and the limit in turns; each turn begins when the writer is at rest."""
    run = disttrack.init(project="bench")
    assert run.id  # the writer is there
    limit = encode_and_write("limit")
    ours_us: list[float] = []
    limit_us: list[float] = []
    for turn in range(repeats + 1):  # the first warms up
        for log, found in ((run.log, ours_us), (limit, limit_us)):
            time.sleep(0.5)
            p50_us = _p50_us(log, calls, pace_s)
            if turn:
                found.append(p50_us)
    run.finish()
    return ours_us, limit_us


def sleeping_calls(calls: int) -> tuple[int, int]:
    """In a process of its own: how often the calling thread gave up its processor during calls, ours and limit's."""
    run = disttrack.init(project="bench")
    assert run.id
    data = rows(1_000, 10)
    slept: list[int] = []
    for log in (run.log, encode_and_write("limit")):
        log(data[0], 0)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        for step in range(calls):
            log(data[step % 1_000], step)
        slept.append(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before)
    run.finish()
    return slept[0], slept[1]


def _tight(bench: Workbench) -> Measured:
    ours, limit = bench.call(call_times, bench.repeats, CALLS, 0)
    return Measured(ours, limit)


def _paced(bench: Workbench) -> Measured:
    ours, limit = bench.call(call_times, bench.repeats, bench.size(PACED_CALLS, 10), PACE_S)
    return Measured(ours, limit)


def _sleeps(bench: Workbench) -> Measured:
    found = [bench.call(sleeping_calls, 3_000) for _ in range(bench.repeats)]
    note = f"of 3,000; the limit's: {max(limit for _, limit in found)}"
    return Measured([ours / 30 for ours, _ in found], note=note)


LIMIT = "encode + write"
BENCHMARKS = (
    Benchmark("log-tight", "log() of 10 floats, tight loop, p50", "µs", Goal(ratio_at_most=3), _tight, LIMIT, "tight"),
    Benchmark("log-paced", "the same at 100 Hz, p50", "µs", Goal(ratio_at_most=1.5), _paced, LIMIT, "paced"),
    Benchmark("log-sleeps", "log() calls that sleep (ru_nvcsw)", "%", Goal(at_most=0.5), _sleeps),
)
