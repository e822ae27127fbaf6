"""How busy a node and its ranks' processes are: one sample is a flat dict of numbers.

Names end with their unit. A rate is the mean since the sample before; the first sample has none. What a machine does
not tell (no such device, a container that hides it) is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from disttrack.capture.devices import Devices

__all__ = ["NodeProbe"]

CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # what version 1 says for no limit is near 2^63
_LIMITS = (
    ("memory.current", "memory.max"),
    ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"),
)

Sample = dict[str, int | float]


class NodeProbe:
    """Takes samples of this node. Not for two threads at once."""

    def __init__(self) -> None:
        self._devices = Devices()
        self._counters: dict[str, float] = {}
        self._counted_at = 0.0
        self._cpu_s: dict[psutil.Process, float] = {}
        psutil.cpu_percent()  # the next call tells the mean since this one

    def sample(self, ranks: Mapping[int, int]) -> Sample:
        """Return how the node is now, and the processes below each local rank; ranks: their pids by local rank.

        A rank's `cpu.percent` is 100 for each processor that it and its children keep busy.
        """
        now = time.monotonic()
        passed_s = now - self._counted_at if self._counted_at else 0.0
        self._counted_at = now
        sample: Sample = {"cpu.percent": psutil.cpu_percent(), "cpu.load_1m": os.getloadavg()[0]}
        sample |= _memory()
        sample |= self._rates(_disk() | _network(), passed_s)
        sample |= self._processes(ranks, passed_s)
        sample |= self._devices.sample()
        return sample

    def _rates(self, counters: Mapping[str, float], passed_s: float) -> Sample:
        """Return by how much counters grew a second; a counter that fell began anew."""
        before, self._counters = self._counters, dict(counters)
        if not passed_s:
            return {}
        return {
            f"{name}_per_s": (value - before[name]) / passed_s
            for name, value in counters.items()
            if name in before and value >= before[name]
        }

    def _processes(self, ranks: Mapping[int, int], passed_s: float) -> Sample:
        """Return what the processes below each rank, and this one, take."""
        before, self._cpu_s = self._cpu_s, {}
        sample: Sample = {}
        families = _families(ranks.values())
        for local_rank, pid in ranks.items():
            sample |= self._family(f"process.{local_rank}", families[pid], before, passed_s)
        return sample | self._family("disttrack", [psutil.Process()], before, passed_s)

    def _family(
        self, name: str, family: Iterable[psutil.Process], before: Mapping[psutil.Process, float], passed_s: float
    ) -> Sample:
        memory_bytes = threads = count = 0
        cpu_s = 0.0
        for process in family:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory_bytes += process.memory_info().rss
                    threads += process.num_threads()
            except psutil.Error:
                continue  # it ended this moment, or is another user's
            count += 1
            spent_s = times.user + times.system
            self._cpu_s[process] = spent_s
            cpu_s += spent_s - before.get(process, 0.0)
        if not count:
            return {}
        sample: Sample = {
            f"{name}.memory_bytes": memory_bytes,
            f"{name}.threads": threads,
            f"{name}.processes": count,
        }
        if passed_s:
            sample[f"{name}.cpu.percent"] = 100.0 * cpu_s / passed_s
        return sample


def _memory() -> Sample:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    sample: Sample = {
        "memory.used_bytes": memory.total - memory.available,
        "memory.percent": memory.percent,
        "swap.used_bytes": swap.used,
    }
    for used, limit in _LIMITS:  # of the container or job, where it has one
        limit_bytes = _number(CGROUP / limit)
        used_bytes = _number(CGROUP / used)
        if used_bytes is not None and limit_bytes is not None and limit_bytes < _UNLIMITED:
            sample |= {"memory.container_used_bytes": used_bytes, "memory.container_limit_bytes": limit_bytes}
            break
    return sample


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _disk() -> dict[str, float]:
    try:
        counters = psutil.disk_io_counters()
    except (OSError, RuntimeError, ValueError, NotImplementedError):  # containers hide or garble /proc/diskstats
        counters = None
    return (
        {} if counters is None else {"disk.read_bytes": counters.read_bytes, "disk.written_bytes": counters.write_bytes}
    )


def _network() -> dict[str, float]:
    """Return bytes over all interfaces but the loopback."""
    try:
        interfaces = psutil.net_io_counters(pernic=True)
    except (OSError, RuntimeError):
        return {}
    outside = [counters for name, counters in interfaces.items() if name != "lo"]
    return {
        "net.received_bytes": sum(counters.bytes_recv for counters in outside),
        "net.sent_bytes": sum(counters.bytes_sent for counters in outside),
    }


def _families(pids: Iterable[int]) -> dict[int, list[psutil.Process]]:
    """Return each of these processes with all below it; one look over the table of processes serves them all."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    families: dict[int, list[psutil.Process]] = {}
    for head in pids:
        families[head] = []
        waiting = [head]
        while waiting:
            pid = waiting.pop()
            waiting += children.get(pid, [])
            try:
                families[head].append(psutil.Process(pid))
            except psutil.Error:
                pass  # it has ended
    return families


def _parents() -> dict[int, int]:
    return {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid"])}
