"""What a tracker costs a process besides its log() calls: import, init, finish, and processor time a step."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.lifetime import begin_and_end, import_limit
from benchmarks.log_call import Log, encode_and_write
from benchmarks.result import Benchmark, Goal, Measured, in_turns
from benchmarks.rows import rows
from benchmarks.workbench import Workbench

__all__ = ["BENCHMARKS"]

STEP_CPU_S = 0.005
SCALARS = 50


def _lives(bench: Workbench) -> list[dict[str, float]]:
    return bench.once(
        "lives",
        lambda: [
            bench.call(begin_and_end) | {"import limit": bench.call(import_limit)}
            for _ in range(bench.size(2 * bench.repeats, 1))
        ],
    )


def _part(name: str) -> Callable[[Workbench], Measured]:
    def measure(bench: Workbench) -> Measured:
        return Measured([life[name] for life in _lives(bench)], [life[f"{name} limit"] for life in _lives(bench)])

    return measure


def step_cpu(who: str, steps: int) -> float:
    """In a process of its own: µs of this process's CPU, all its threads, that logging adds to a step of 5 ms of CPU.

    All that the process used, less what the steps themselves did in the training thread.
    """
    import disttrack

    data = rows(1_000, SCALARS)
    loops = _calibrated()
    time.sleep(1)  # threads that numpy starts when it is loaded spin for a while
    timing_us = _added_us(lambda row, step: None, steps // 4, data, loops)
    if who == "disttrack":
        run = disttrack.init(project="bench")
        assert run.id
        time.sleep(0.5)
        added_us = _added_us(run.log, steps, data, loops)
        run.finish()
    else:
        added_us = _added_us(encode_and_write("limit"), steps, data, loops)
    return added_us - timing_us


def _added_us(log: Log, steps: int, data: list[dict[str, float]], loops: int) -> float:
    began_s, worked_s = time.process_time(), 0.0
    for step in range(steps):
        before_s = time.thread_time()
        _work(loops)
        worked_s += time.thread_time() - before_s
        log(data[step % 1_000], step)
    time.sleep(0.3)  # what a sender still has to do counts, too
    return 1e6 * (time.process_time() - began_s - worked_s) / steps


def _calibrated() -> int:
    loops = 1_000
    while True:
        before = time.thread_time()
        _work(loops)
        took_s = time.thread_time() - before
        if took_s > STEP_CPU_S / 2:
            return int(loops * STEP_CPU_S / took_s)
        loops *= 2


def _work(loops: int) -> float:
    total = 0.0
    for number in range(loops):
        total += number * 0.5
    return total


def _step_cpu(bench: Workbench) -> Measured:
    steps = bench.size(600, 40)
    return in_turns(
        bench.repeats, lambda: bench.call(step_cpu, "disttrack", steps), lambda: bench.call(step_cpu, "limit", steps)
    )


BENCHMARKS = (
    Benchmark(
        "step-cpu",
        "50 scalars each 5 ms of CPU: CPU added a step",
        "µs",
        Goal(at_most=60, ratio_at_most=1.5),
        _step_cpu,
        "encode + write",
        "step_cpu",
    ),
    Benchmark("import", "import", "ms", Goal(at_most=60), _part("import"), "import msgspec + stdlib", "import"),
    Benchmark("init", "init", "ms", Goal(at_most=100), _part("init"), "mkdir, a file, a thread", "init"),
    Benchmark(
        "finish", "finish, nothing pending", "ms", Goal(at_most=50), _part("finish"), "append + fdatasync", "finish"
    ),
)
