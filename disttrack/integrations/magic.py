"""init(magic=...): what a plain torch loop does, recorded without any log(); nothing where torch is never imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from disttrack.api.run import Run
from disttrack.integrations.imports import when_imported

__all__ = ["Wanted", "start"]

EVERY = 10  # optimizer steps


class Wanted(NamedTuple):
    """What is recorded, and at which steps: the first two, and each one that `every` divides."""

    step_time: bool = True
    loss: bool = True
    lr: bool = True
    grad_norm: bool = True
    throughput: bool = True
    every: int = EVERY

    def due(self, step: int) -> bool:
        """Say whether values are taken at this step, from 1: the first two are, as many a loop is tried with few."""
        return step <= 2 or step % self.every == 0


def start(run: Run, value: Mapping[str, Any] | bool) -> None:
    """Record torch's training loops in this process from now on, or from when torch is imported.

    value: the setting `magic`, checked: True is all, and what a mapping does not name is recorded too.
    """
    chosen = Wanted(**value) if isinstance(value, Mapping) else Wanted()
    when_imported("torch", lambda: importlib.import_module("disttrack.integrations.torch").record(run, chosen))
