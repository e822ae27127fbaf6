"""How fast rows come from log() into the store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import zmq

from benchmarks.result import Benchmark, Goal, Measured, in_turns
from benchmarks.rows import rows
from benchmarks.workbench import Workbench, peak_mb, writer_of

__all__ = ["BENCHMARKS"]

KEYS = 10
POOL = 10_000  # different rows: 1 MB, more than zstd-1 looks back
RANKS = 8
MEMORY_MB = 80


def store(count: int) -> float:
    """In a process of its own: seconds from init until count rows are durable and found by a query."""
    import disttrack

    data = rows(POOL, KEYS)
    began = time.perf_counter()
    run = disttrack.init(project="bench")
    for step in range(count):
        run.log(data[step % POOL], step)
    receipt = run.finish()
    with disttrack.Api() as api:
        found = len(api.run(run.id).history(keys=["metric_0"])["step"])
    took_s = time.perf_counter() - began
    assert receipt.stored == found == count, (receipt, found)
    return took_s


def push(count: int) -> float:
    """In a process of its own: seconds to start a process, push count rows to it over ipc, and have them on disk."""
    data = rows(POOL, KEYS)
    began = time.perf_counter()
    reader = _start_reader(1)
    _push_rows(data, count)
    _wait_for(reader)
    return time.perf_counter() - began


def _start_reader(ranks: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.worker", __name__, "pull", f"[{ranks}]"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _wait_for(reader: subprocess.Popen[str]) -> None:
    assert reader.stdout is not None
    assert reader.stdout.readline().strip() == "true"
    reader.wait()


def pull(ranks: int) -> bool:
    """In a process of its own: append every message to a file until each rank has sent an empty one; then fdatasync."""
    socket = _context().socket(zmq.PULL)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.bind("ipc://pipe")
    fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    while ranks:
        if data := socket.recv():
            os.write(fd, data)
        else:
            ranks -= 1
    os.fdatasync(fd)
    return True


def _context() -> zmq.Context[zmq.Socket[bytes]]:
    return zmq.Context()


def _push_rows(data: list[dict[str, float]], count: int) -> None:
    context = _context()
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.connect("ipc://pipe")
    encode = msgspec.msgpack.Encoder().encode
    for step in range(count):
        socket.send(encode((step, data[step % POOL])))
    socket.send(b"")
    socket.close(linger=-1)
    context.term()  # waits until all of it has gone out


def rank_logs(rank: int, count: int) -> bool:
    """In a process of its own: be a rank that is told when to begin and when to go."""
    import disttrack

    data = rows(POOL, KEYS, rank)
    run = disttrack.init(project="bench", settings={"rank": rank, "world_size": RANKS})
    _say(run.id)
    sys.stdin.readline()
    for step in range(count):
        run.log(data[step % POOL], step)
    receipt = run.finish()
    assert receipt.stored == count, receipt
    _say("finished")
    sys.stdin.readline()
    return True


def rank_pushes(rank: int, count: int) -> bool:
    """The same for the limit: encode and push."""
    data = rows(POOL, KEYS, rank)
    _say("ready")
    sys.stdin.readline()
    _push_rows(data, count)
    _say("finished")
    sys.stdin.readline()
    return True


def _say(text: str) -> None:
    print(text, flush=True)


def launch(function: str, count: int, runtime: str) -> tuple[float, int, float]:
    """In a process of its own: seconds from go until all ranks are done; processes; the writer's memory in MB."""
    reader = _start_reader(RANKS) if function == "rank_pushes" else None
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", __name__, function, f"[{rank}, {count}]"],
            cwd=Path.cwd(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    for rank in ranks:
        assert rank.stdout is not None
        rank.stdout.readline()
    began = time.perf_counter()
    for rank in ranks:
        _tell(rank)
    for rank in ranks:
        assert rank.stdout is not None
        assert rank.stdout.readline().strip() == "finished"
    if reader is not None:
        _wait_for(reader)
    took_s = time.perf_counter() - began
    writer = writer_of(Path(runtime)) if reader is None else None
    memory_mb = peak_mb(writer.pid) if writer is not None else 0.0
    for rank in ranks:
        _tell(rank)
    assert [rank.wait() for rank in ranks] == [0] * RANKS
    return took_s, len(ranks) + 1, memory_mb


def _tell(rank: subprocess.Popen[str]) -> None:
    assert rank.stdin is not None
    rank.stdin.write("\n")
    rank.stdin.flush()


def _one(bench: Workbench) -> Measured:
    count = bench.size(100_000, 5_000)
    points = count * KEYS / 1e6
    measured = in_turns(
        bench.repeats, lambda: points / bench.call(store, count), lambda: points / bench.call(push, count)
    )
    return measured._replace(note="starts of writer and reader included")


def _eight(bench: Workbench) -> Measured:
    count = bench.size(50_000, 1_000)
    points = RANKS * count * KEYS / 1e6
    processes, memory_mb = 0, 0.0

    def ours() -> float:
        nonlocal processes, memory_mb
        took_s, processes, mb = bench.call(launch, "rank_logs", count, str(bench.runtime))
        memory_mb = max(memory_mb, mb)
        return points / float(took_s)

    def limit() -> float:
        return points / float(bench.call(launch, "rank_pushes", count, str(bench.runtime))[0])

    measured = in_turns(bench.repeats, ours, limit)
    note = f"{processes} processes, the writer at most {memory_mb:.0f} MB"
    return measured._replace(note=note, also=processes <= RANKS + 1 and memory_mb <= MEMORY_MB)


BENCHMARKS = (
    Benchmark(
        "throughput",
        "100k steps x 10, init to durable and queryable",
        "M points/s",
        Goal(ratio_at_least=0.8),
        _one,
        "push over ipc + append",
        "throughput",
    ),
    Benchmark(
        "eight-ranks",
        "8 ranks of one run x 50k steps x 10, to durable",
        "M points/s",
        Goal(at_least=1.5, also=f"9 processes, writer ≤ {MEMORY_MB} MB"),
        _eight,
        "8 x push over ipc + append",
    ),
)
