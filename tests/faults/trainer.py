"""A training script: `python -m tests.faults.trainer PLAN`, with a Plan as JSON.

How many log() calls returned, and how many of them slept, is counted in a file that it maps: no signal can take that.
What it prints is the same with and without the tracker, but for what the tracker says on stderr.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import resource
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COUNTS", "Plan", "read_counts"]

COUNTS = struct.Struct("<qq")  # calls that returned, calls in which the thread slept


@dataclass(frozen=True)
class Plan:
    """What to do: log `steps` rows (none: until the file `stop` exists), rate_hz a second (0: as fast as it goes)."""

    counts: str  # the file to count in
    rank: int = 0
    ranks: int = 1
    project: str = "p"
    steps: int | None = None
    rate_hz: float = 0.0
    text_bytes: int = 0  # of text in each row, beside two numbers
    settings: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    tracked: bool = True
    exit_code: int = 0
    setup: str = ""  # Python code to run first
    report: str = ""  # where to leave the receipt


class Untracked:
    """The same script without the tracker."""

    def log(self, data: dict[str, Any], step: int) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


def read_counts(path: Path) -> tuple[int, int]:
    """Return how many log() calls returned, and how many of them slept; zeros before the first."""
    data = path.read_bytes() if path.exists() else b""
    returned, slept = COUNTS.unpack(data) if len(data) == COUNTS.size else (0, 0)
    return returned, slept


def say(text: str) -> None:
    """Print."""
    sys.stdout.write(text)
    sys.stdout.flush()


def train(plan: Plan) -> None:
    """Train, or what stands for it here."""
    fd = os.open(plan.counts, os.O_RDWR | os.O_CREAT, 0o600)
    os.truncate(fd, COUNTS.size)
    shared = mmap.mmap(fd, COUNTS.size)
    os.close(fd)
    report = os.open(plan.report, os.O_WRONLY | os.O_CREAT, 0o600)  # now: later there may be no descriptor
    exec(plan.setup)
    if plan.tracked:
        import disttrack

        run: Any = disttrack.init(
            project=plan.project,
            settings={"rank": plan.rank, "world_size": plan.ranks, "finish_timeout_s": 300.0, **plan.settings},
        )
    else:
        run = Untracked()
    say("begin\n")
    text = {"text": "x" * plan.text_bytes} if plan.text_bytes else {}
    slept = step = 0
    began = time.monotonic()
    while not os.path.exists("stop") if plan.steps is None else step < plan.steps:
        row = {"loss": 1.0 / (step + 1), "rank": float(plan.rank), **text}
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        run.log(row, step=step)
        slept += resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw > before
        step += 1
        COUNTS.pack_into(shared, 0, step, slept)
        if plan.rate_hz:
            time.sleep(max(0.0, began + step / plan.rate_hz - time.monotonic()))
    receipt = run.finish()
    if receipt is not None:
        os.write(report, json.dumps(dataclasses.asdict(receipt)).encode())
    say(f"end {step if plan.steps is not None else ''}\n")
    sys.exit(plan.exit_code)


if __name__ == "__main__":
    train(Plan(**json.loads(sys.argv[1])))
