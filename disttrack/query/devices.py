"""What nodes sampled of themselves as lines of a picture: one quantity, a line a node and device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from disttrack.index.chunks import Floats
from disttrack.index.snapshots import Snapshot
from disttrack.query.heatmaps import Samples
from disttrack.query.members import members, newest_team
from disttrack.query.system import samples_of

__all__ = ["DeviceLine", "Quantities", "Quantity", "device_samples", "quantities_of"]

_DEVICE = re.compile(r"^(gpu|process)\.(\d+)\.")
_TITLES = {
    "cpu.percent": "CPU busy",
    "cpu.load_1m": "Load, 1 min",
    "memory.percent": "Memory used",
    "memory.used_bytes": "Memory used",
    "swap.used_bytes": "Swap used",
    "disk.read_bytes_per_s": "Read from disk",
    "disk.written_bytes_per_s": "Written to disk",
    "net.received_bytes_per_s": "Received",
    "net.sent_bytes_per_s": "Sent",
    "gpu.percent": "GPU busy",
    "gpu.memory_used_bytes": "GPU memory used",
    "process.cpu.percent": "CPU of the rank",
    "process.memory_bytes": "Memory of the rank",
    "process.threads": "Threads of the rank",
    "process.processes": "Processes of the rank",
    "gpu.temperature_c": "GPU temperature",
    "gpu.power_w": "GPU power",
    "gpu.clock_mhz": "GPU clock",
    "disttrack.cpu.percent": "CPU of disttrack",
    "disttrack.memory_bytes": "Memory of disttrack",
    "memory.container_used_bytes": "Memory of the container used",
    "memory.container_limit_bytes": "Memory limit of the container",
}
_UNIT_WORDS = frozenset({"bytes", "percent", "c", "w", "mhz", "per", "s"})
_SHORT = frozenset({"gpu", "cpu", "io", "id", "pcie", "sm"})
_FIRST = ("gpu", "cpu", "memory", "process", "net", "disk")


@dataclass(frozen=True)
class Quantity:
    """What was sampled, with the numbers of devices left out of its name; keys: with them, by number."""

    quantity: str
    title: str
    unit: str | None
    keys: list[str]


@dataclass(frozen=True)
class Quantities:
    """What the nodes of a run sampled, and when (unix seconds; None where nothing was)."""

    nodes: list[str]
    start: float | None
    end: float | None
    quantities: list[Quantity]


@dataclass(frozen=True)
class DeviceLine:
    """A line of a picture; device: its number as text, None for the node itself; ranks: that it serves."""

    node: str
    device: str | None
    key: str
    ranks: list[int]


def quantities_of(snapshot: Snapshot) -> Quantities:
    """Return what the nodes of a run sampled."""
    table = samples_of(snapshot, None, None)
    time = table.pop("time")
    nodes = list(dict.fromkeys(str(node) for node in table.pop("node").tolist()))
    table.pop("attempt")
    keys: dict[str, list[str]] = {}
    for key in table:
        keys.setdefault(_quantity(key), []).append(key)
    found = [Quantity(name, _title(name), _unit(name), sorted(mine, key=_number)) for name, mine in keys.items()]
    found.sort(key=lambda one: (_place(one.quantity), one.quantity))
    return Quantities(
        nodes,
        float(time.min()) if len(time) else None,
        float(time.max()) if len(time) else None,
        found,
    )


def device_samples(snapshot: Snapshot, quantity: str) -> tuple[list[DeviceLine], Samples | None]:
    """Return the lines of a quantity by node and device, and their samples; None where nobody sampled it."""
    everything = {key for block in snapshot.blocks for key in block.keys}
    keys = sorted((key for key in everything if _quantity(key) == quantity), key=_number)
    table = samples_of(snapshot, keys, None) if keys else {}
    ranks = _ranks(snapshot)
    lines: list[DeviceLine] = []
    parts: list[tuple[Floats, Floats]] = []
    for node in dict.fromkeys(str(each) for each in table["node"].tolist()) if keys else ():
        mine = np.flatnonzero(table["node"] == node)
        for key in keys:
            values = np.asarray(table[key][mine], np.float64)
            known = ~np.isnan(values)
            if known.any():
                device = _DEVICE.match(key)
                number = device[2] if device else None
                parts.append((np.asarray(table["time"][mine][known], np.float64), values[known]))
                lines.append(DeviceLine(node, number, key, ranks.get((node, number), ranks.get((node, None), []))))
    if not parts:
        return [], None
    line = np.concatenate([np.full(len(x), at, np.int64) for at, (x, _) in enumerate(parts)])
    x, y = (np.concatenate(axis) for axis in zip(*parts, strict=True))
    return lines, Samples(list(range(len(lines))), line, x, y)


def _ranks(snapshot: Snapshot) -> Mapping[tuple[str, str | None], list[int]]:
    """Return which ranks a node has, and which of them are the ones of a local rank."""
    team = newest_team(members(snapshot.record))
    found: dict[tuple[str, str | None], list[int]] = {}
    for rank, source in team.joined.items():
        if source.join is not None:
            found.setdefault((source.join.host, None), []).append(rank)
            found.setdefault((source.join.host, str(team.local_rank(rank))), []).append(rank)
    return found


def _quantity(key: str) -> str:
    return _DEVICE.sub(r"\1.", key)


def _number(key: str) -> tuple[int, str]:
    device = _DEVICE.match(key)
    return (int(device[2]) if device else -1), key


def _place(quantity: str) -> int:
    group = quantity.partition(".")[0]
    return _FIRST.index(group) if group in _FIRST else len(_FIRST)


def _title(quantity: str) -> str:
    """Return a quantity as a person would write it, without its unit: `gpu.fan_percent` is "GPU fan"."""
    if quantity in _TITLES:
        return _TITLES[quantity]
    words = re.split(r"[._]+", quantity)
    while len(words) > 1 and words[-1] in _UNIT_WORDS:
        words.pop()
    text = " ".join(word.upper() if word in _SHORT else word for word in words)
    return text[:1].upper() + text[1:]


def _unit(quantity: str) -> str | None:
    for end, unit in (
        ("percent", "%"),
        ("_bytes_per_s", "B/s"),
        ("_bytes", "B"),
        ("_c", "°C"),
        ("_w", "W"),
        ("_mhz", "MHz"),
    ):
        if quantity.endswith(end):
            return unit
    return None
