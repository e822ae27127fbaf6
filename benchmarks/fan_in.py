"""How many ranks one writer bears: simulated ranks in one process, real messages, a real writer (and agent) process."""

from __future__ import annotations

import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import psutil

from benchmarks.bare_receiver import receive
from benchmarks.crowd import ON_THE_WAY, Crowd, Way
from benchmarks.result import Benchmark, Goal, Measured, in_turns
from benchmarks.rows import join_of
from benchmarks.workbench import Unmeasurable, Workbench, peak_mb
from disttrack.environments.host import boot_id, node_id, process_start_time
from disttrack.records.codec import encode
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Incarnation, Join, changed
from disttrack.transport.curve import client_key
from disttrack.transport.dealer import Dealer
from disttrack.transport.meeting import Address, Meeting
from disttrack.transport.protocol import PROTOCOL_VERSION, Ack, Data, Hello, Message, Welcome
from disttrack.transport.rendezvous import Record, read_record, start_writer
from disttrack.writer.history import read_history

__all__ = ["BENCHMARKS"]

RANKS_A_NODE = 8
PACE = 10_000  # batches a second, while latency is measured
AGENT_PACE = 1_000  # the same through one agent: 64 ranks that flush 16 times a second
CONNECT_S = 2.0
AGENT_MB = 60
AGENT_QUEUE = 960  # batches on their way through one agent, which takes 1,024 messages
MEETING = "file:fan-in"
SPARE_DESCRIPTORS = 1_000

T = TypeVar("T")


class Found(NamedTuple):
    """What one round showed. cpu_us: processor time of the process in the middle a batch, with no rank ever idle."""

    batches_s: float
    connect_s: float
    end_s: float
    cpu_us: float
    peak_mb: float
    p50_ms: float
    p99_ms: float


def drive(ranks: int, ranks_a_connection: int, bare: bool, batches: int, paced_s: float, runtime: str) -> Found:
    """In a process of its own: be all ranks of a run but its first, over one connection each, or as agents of nodes.

    batches: of each rank.
    """
    _allow_descriptors()
    root, key = Path.cwd(), f"benchmarks:{secrets.token_hex(8)}"
    joins = _joins(ranks, max(ranks_a_connection, 1), root, key)
    if bare:
        receiver, address = _start_bare()
        crowd = Crowd(joins[1:], ranks_a_connection, _way(address))
        found, _ = _measure(crowd, psutil.Process(receiver.pid), batches, paced_s)
        receiver.kill()
        receiver.wait()
        return found
    first = _First(joins[0], Path(runtime), root)
    crowd = Crowd(joins[1:], ranks_a_connection, _way(first.address))
    found, ends = _measure(crowd, psutil.Process(first.record.pid), batches, paced_s)
    first.end()
    _check(root, ends)
    return found


def drive_agent(ranks: int, batches: int, paced_s: float, runtime: str) -> tuple[Found, float]:
    """In a process of its own: be the ranks of one node beside the writer's, through its real agent.

    Returns what was found of the agent, and the writer's processor time a batch in µs.
    """
    _allow_descriptors()
    root, key = Path.cwd(), f"benchmarks:{secrets.token_hex(8)}"
    joins = _joins(ranks, ranks, root, key)
    first = _First(joins[0], Path(runtime), root)
    with tempfile.TemporaryDirectory(prefix="dtb-", dir="/tmp") as name:
        node = Path(name)  # another runtime directory is another node
        record = _start(node, key)
        here = [_of_this_process(join, node) for join in joins[1:]]
        agent, writer = psutil.Process(record.pid), psutil.Process(first.record.pid)
        before_s = _cpu_s(writer)
        crowd = Crowd(here, 1, Way(record.address, record.nonce, None, None))
        found, ends = _measure(crowd, agent, batches, paced_s, AGENT_PACE, AGENT_QUEUE)
        writer_us = 1e6 * (_cpu_s(writer) - before_s) / (ranks * batches + AGENT_PACE * paced_s)
        agent.kill()
    first.end()
    _check(root, ends)
    return found, writer_us


def _measure(
    crowd: Crowd, process: psutil.Process, batches: int, paced_s: float, pace: int = PACE, on_the_way: int = ON_THE_WAY
) -> tuple[Found, dict[Incarnation, int]]:
    connect_s = crowd.connect()
    crowd.flood(1)
    before_s = _cpu_s(process)
    took_s = crowd.flood(batches, on_the_way)
    cpu_s = _cpu_s(process) - before_s
    waited_s = statistics.quantiles(crowd.pace(pace, paced_s), n=100)
    began = time.perf_counter()
    ends = crowd.end()
    end_s = time.perf_counter() - began
    total = batches * len(ends)
    found = Found(
        batches_s=total / took_s,
        connect_s=connect_s,
        end_s=end_s,
        cpu_us=1e6 * cpu_s / total,
        peak_mb=peak_mb(process.pid),
        p50_ms=1e3 * waited_s[49],
        p99_ms=1e3 * waited_s[98],
    )
    crowd.close()
    return found, ends


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _allow_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _way(address: Address) -> Way:
    key = client_key(address.credentials, address.nonce)
    return Way(address.endpoints[0], address.nonce, address.credentials.server_key.encode(), key)


def _joins(ranks: int, ranks_a_node: int, root: Path, key: str) -> list[Join]:
    """Return the Joins of rank 0 and of so many others, which are on nodes that are nowhere."""
    nodes = [f"node{-(-rank // ranks_a_node)}" for rank in range(ranks + 1)]
    return [
        changed(
            join_of(rank, ranks + 1),
            launch_key=key,
            root=str(root),
            group="fan-in",
            node=node,
            host=node,
            boot_id=node,
            meeting=MEETING,
            nodes=len(set(nodes)),
        )
        for rank, node in enumerate(nodes)
    ]


def _of_this_process(join: Join, runtime: Path) -> Join:
    pid = os.getpid()
    return changed(join, node=node_id(runtime), boot_id=boot_id(), pid=pid, start_time=process_start_time(pid))


def _start(runtime: Path, key: str) -> Record:
    """Return the node process of a launch, which was not there before."""
    start_writer(runtime, key)
    return _wait_for(lambda: read_record(runtime, key), "a node's process")


class _First:
    """Rank 0: it makes its node's process the writer, which listens for the other nodes at address."""

    def __init__(self, join: Join, runtime: Path, root: Path) -> None:
        self._join = _of_this_process(join, runtime)
        self.record = _start(runtime, join.launch_key)
        self._dealer = Dealer(self.record.address)
        self._dealer.send(Hello(version=PROTOCOL_VERSION, nonce=self.record.nonce, join=self._join))
        _wait_for(lambda: self._heard(Welcome), "a welcome")
        meeting = Meeting(MEETING, root)
        try:
            found = _wait_for(lambda: meeting.found, "a notice of where the writer listens")
        finally:
            meeting.close()
        assert found.writer is not None
        if not found.writer.endpoints:
            raise RuntimeError("no address of this machine leads out, so the writer listens to nobody")
        self.address = found.writer

    def end(self) -> None:
        last = encode(RecordKind.END, End(exit_code=0, logged=0, dropped=0, time_us=0))
        self._dealer.send(Data(self._join.incarnation, 0, True, True, last))
        _wait_for(lambda: self._heard(Ack), "an acknowledgement")
        self._dealer.close()

    def _heard(self, kind: type[Message]) -> bool:
        return any(isinstance(answer, kind) for answer in self._dealer.answers())


def _wait_for(look: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + 30.0
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited 30 s for {what}")
        time.sleep(0.01)
    return found


def _check(root: Path, ends: dict[Incarnation, int]) -> None:
    """Raise AssertionError unless the run's log holds every byte that was acknowledged."""
    (log,) = root.glob("bench/*/log")
    history = read_history(log)
    lacking = [incarnation for incarnation, end in ends.items() if history.end_of(incarnation) != end]
    assert not lacking, f"the log lacks bytes of {len(lacking)} ranks"


def _start_bare() -> tuple[subprocess.Popen[str], Address]:
    command = [sys.executable, "-m", "benchmarks.worker", receive.__module__, receive.__name__, "[]"]
    receiver = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    return receiver, msgspec.json.decode(receiver.stdout.readline(), type=Address)


def _fan_in(bench: Workbench, ranks: int, ranks_a_connection: int, memory_mb: float) -> Measured:
    _require_descriptors(ranks)
    ranks, batches, paced_s = bench.size(ranks, 32), bench.size(100_000, 320) // ranks, bench.size(3, 1)
    rounds: list[Found] = []

    def measure(bare: bool) -> Found:
        return Found(*bench.call(drive, ranks, ranks_a_connection, bare, max(batches, 5), paced_s, str(bench.runtime)))

    def ours() -> float:
        rounds.append(measure(False))
        return rounds[-1].batches_s / 1e3

    measured = in_turns(bench.repeats, ours, lambda: measure(True).batches_s / 1e3)
    return measured._replace(note=_note(rounds, PACE), also=_within(rounds, memory_mb))


def _agent(bench: Workbench) -> Measured:
    ranks, batches, paced_s = bench.size(64, 8), bench.size(1_500, 10), bench.size(3, 1)
    answers = [bench.call(drive_agent, ranks, batches, paced_s, str(bench.runtime)) for _ in range(bench.repeats)]
    rounds = [Found(*found) for found, _ in answers]
    writer_us = statistics.median(float(us) for _, us in answers)
    note = f"of the writer {writer_us:.0f} µs; {_note(rounds, AGENT_PACE)}"
    return Measured([found.cpu_us for found in rounds], note=note, also=_within(rounds, AGENT_MB))


def _require_descriptors(connections: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < connections + SPARE_DESCRIPTORS:
        raise Unmeasurable(
            f"a process may have {hard} descriptors here, which is too few for {connections} connections"
        )


def _within(rounds: list[Found], memory_mb: float) -> bool:
    return all(found.connect_s <= CONNECT_S and found.peak_mb <= memory_mb for found in rounds)


def _note(rounds: list[Found], pace: int) -> str:
    middle = Found(*(statistics.median(column) for column in zip(*rounds, strict=True)))
    return (
        f"connect {middle.connect_s:.2f} s, {middle.cpu_us:.0f} µs of CPU a batch, at most "
        f"{max(found.peak_mb for found in rounds):.0f} MB; durable after {middle.p50_ms:.0f} ms, "
        f"p99 {middle.p99_ms:.0f} ms, at {pace // 1000} k/s; all ended in {middle.end_s:.2f} s"
    )


def _benchmark(name: str, ranks: int, through: str, ranks_a_connection: int, memory_mb: int) -> Benchmark:
    return Benchmark(
        name,
        f"{ranks:,} ranks {through}: batches of 100 values, to durable",
        "k batches/s",
        Goal(at_least=20, also=f"connect ≤ {CONNECT_S:g} s, writer ≤ {memory_mb} MB"),
        partial(_fan_in, ranks=ranks, ranks_a_connection=ranks_a_connection, memory_mb=memory_mb),
        "receive, append, sync",
    )


BENCHMARKS = (
    _benchmark("fan-in-direct", 1_000, "over one connection each", 0, 100),
    _benchmark("fan-in-agents", 1_000, "through agents of 8", RANKS_A_NODE, 100),
    _benchmark("fan-in-direct-4096", 4_096, "over one connection each", 0, 400),
    _benchmark("fan-in-agents-4096", 4_096, "through agents of 8", RANKS_A_NODE, 200),
    Benchmark(
        "fan-in-agent",
        "64 ranks of one node through its agent: CPU of the agent a batch",
        "µs",
        Goal(at_most=20, also=f"connect ≤ {CONNECT_S:g} s, agent ≤ {AGENT_MB} MB"),
        _agent,
    ),
)
