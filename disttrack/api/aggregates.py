"""Aggregates of what this rank logged, as run.define_metric asked for them: `loss.min` in run.summary."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

from disttrack.api.replay import Replay
from disttrack.journal.outbox import Outbox
from disttrack.records.metrics import Definitions
from disttrack.records.payloads import Goal

__all__ = ["OwnAggregates"]

Number = int | float
_EXACT = 2**63  # ints beyond 64 bits are floats to their readers


class OwnAggregates:
    """Reads a journal once for the metrics of some definitions, and then what is new in it."""

    def __init__(self, outbox: Outbox, definitions: Definitions) -> None:
        self._replay = Replay(outbox)
        self._definitions = definitions
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()  # else two readers would count a row twice; log() never takes it

    def values(self, last: Mapping[str, object]) -> dict[str, object]:
        """Return the aggregates so far, by `KEY.REDUCER`; last: the last values."""
        with self._lock:
            for said in self._replay.new():
                for key, value in said.values:
                    if self._definitions.reducers(key) and isinstance(value, int | float):
                        seen = self._seen.get(key)
                        if seen is None:
                            seen = self._seen[key] = _Seen()
                        seen.take(said.step, value)
            found: dict[str, object] = {}
            for key, seen in self._seen.items():
                reducers = self._definitions.reducers(key)
                reduced = seen.reduced(self._definitions.goal(key)) | {"last": last.get(key)}
                found.update((f"{key}.{name}", reduced[name]) for name in reducers if name in reduced)
            return found


class _Seen:
    """The numbers of one metric: of those at one step the last call's, as far as these came one after the other."""

    def __init__(self) -> None:
        self._step: int | None = None  # of the newest value, which another at that step may yet replace
        self._value: Number = math.nan
        self._count = 0
        self._total = 0.0
        self._low: Number = math.inf
        self._high: Number = -math.inf
        self._first: tuple[int, Number] | None = None  # of the lowest step

    def take(self, step: int, value: Number) -> None:
        if step != self._step:
            self._settle()
            self._step = step
        self._value = value

    def _settle(self) -> None:
        value, step = self._value, self._step
        if step is None or value != value:
            return
        try:
            value = value if -_EXACT <= value < _EXACT else float(value)
        except OverflowError:  # an int beyond any float
            value = math.inf if value > 0 else -math.inf
        self._count += 1
        self._total += value
        self._low, self._high = min(self._low, value), max(self._high, value)
        if self._first is None or step <= self._first[0]:
            self._first = step, value

    def reduced(self, goal: Goal | None) -> dict[str, object]:
        """Return all reducers' values, the newest number included; NaN counts only where there is nothing else."""
        now = _Seen()
        vars(now).update(vars(self))
        now._settle()
        if now._first is None:
            found: dict[str, object] = dict.fromkeys(("min", "max", "mean", "first"), math.nan)
        else:
            found = {"min": now._low, "max": now._high, "mean": now._total / now._count, "first": now._first[1]}
        if goal is not None:
            found["best"] = found["min" if goal == "minimize" else "max"]
        return found
