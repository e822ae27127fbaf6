"""What a benchmark is, what it measured, and whether that meets its goal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.workbench import Workbench

__all__ = ["Benchmark", "Goal", "Measured", "Result", "in_turns", "missing", "result_of"]


@dataclass(frozen=True)
class Goal:
    """What is to be reached: everything that is set."""

    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    also: str = ""  # in words, where Measured.also says whether it is met

    def text(self, unit: str) -> str:
        """Return the goal as it is printed."""
        parts = [
            *([f"≤ {self.at_most:,g} {unit}"] if self.at_most is not None else []),
            *([f"≥ {self.at_least:,g} {unit}"] if self.at_least is not None else []),
            *([f"≤ {self.ratio_at_most:g}x"] if self.ratio_at_most is not None else []),
            *([f"≥ {self.ratio_at_least:g}x"] if self.ratio_at_least is not None else []),
            *([self.also] if self.also else []),
        ]
        return ", ".join(parts)

    def met(self, ours: float, ratio: float | None) -> bool:
        """Say whether a figure and its ratio to the limit are within all of it."""
        return (
            (self.at_most is None or ours <= self.at_most)
            and (self.at_least is None or ours >= self.at_least)
            and (self.ratio_at_most is None or (ratio is not None and ratio <= self.ratio_at_most))
            and (self.ratio_at_least is None or (ratio is not None and ratio >= self.ratio_at_least))
        )


class Measured(NamedTuple):
    """One figure a repeat, ours and the limit's taken in turns; the limit may be missing."""

    ours: Sequence[float]
    limit: Sequence[float] = ()
    note: str = ""
    also: bool = True  # whether Goal.also is met


@dataclass(frozen=True)
class Benchmark:
    """One row of the table."""

    name: str
    what: str
    unit: str
    goal: Goal
    measure: Callable[[Workbench], Measured]
    limit_name: str = ""
    peer: str | None = None  # the name of the same measurement in peer_script.py


@dataclass(frozen=True)
class Result:
    """One row of the table, measured. ratio is ours / limit, spread its lowest and highest repeat."""

    name: str
    what: str
    ours: float | None
    unit: str
    limit: float | None
    limit_name: str
    ratio: float | None
    spread: tuple[float, float] | None
    goal: str
    met: bool | None  # None: not measured
    note: str = ""
    peers: dict[str, float | None] = field(default_factory=dict[str, "float | None"])


def in_turns(repeats: int, ours: Callable[[], float], limit: Callable[[], float], note: str = "") -> Measured:
    """Measure ours, limit, ours, limit, ...: what else the machine does meets both."""
    pairs = [(ours(), limit()) for _ in range(repeats)]
    return Measured([pair[0] for pair in pairs], [pair[1] for pair in pairs], note)


def result_of(benchmark: Benchmark, measured: Measured) -> Result:
    """Return medians over the repeats, and whether the goal is met."""
    ours = statistics.median(measured.ours)
    ratios = [mine / limit for mine, limit in zip(measured.ours, measured.limit, strict=True)] if measured.limit else []
    ratio = statistics.median(ratios) if ratios else None
    return Result(
        name=benchmark.name,
        what=benchmark.what,
        ours=ours,
        unit=benchmark.unit,
        limit=statistics.median(measured.limit) if measured.limit else None,
        limit_name=benchmark.limit_name,
        ratio=ratio,
        spread=(min(ratios), max(ratios)) if ratios else None,
        goal=benchmark.goal.text(benchmark.unit),
        met=benchmark.goal.met(ours, ratio) and measured.also,
        note=measured.note,
    )


def missing(benchmark: Benchmark, why: str) -> Result:
    """Return the row of a benchmark that could not be measured here, with the reason."""
    return Result(
        name=benchmark.name,
        what=benchmark.what,
        ours=None,
        unit=benchmark.unit,
        limit=None,
        limit_name=benchmark.limit_name,
        ratio=None,
        spread=None,
        goal=benchmark.goal.text(benchmark.unit),
        met=None,
        note=why,
    )
