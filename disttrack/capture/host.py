"""The host a process runs on: processors, memory, operating system."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import psutil

__all__ = ["host"]


def host() -> dict[str, object]:
    """Return what this host has; memory_bytes and cpus_allowed are what this process may use of it."""
    memory = psutil.virtual_memory().total
    limit = _memory_limit()
    return {
        "os": platform.platform(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": psutil.cpu_count(),
        "cpu_cores": psutil.cpu_count(logical=False),
        "cpus_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
        "host_memory_bytes": memory,
        "memory_bytes": min(memory, limit) if limit else memory,
    }


def _cpu_model() -> str | None:
    """Return what the processor calls itself."""
    if sys.platform != "linux":
        return platform.processor() or None
    try:
        with open("/proc/cpuinfo", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("model name", "Model", "cpu model"):
                    return value.strip()
    except OSError:
        pass  # no /proc
    return platform.processor() or None


def _memory_limit() -> int | None:
    """Return the memory limit of this process's control group (version 2, then 1), in bytes; None without one."""
    for path in (*_group_files(), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            return int(text)
    return None


def _group_files() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    group = next((line[3:] for line in lines if line.startswith("0::")), None)
    root = Path("/sys/fs/cgroup")
    return [] if group is None else [root / group.lstrip("/") / "memory.max", root / "memory.max"]
