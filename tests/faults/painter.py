"""A training script that logs images: `python -m tests.faults.painter PLAN`, with a Plan as JSON.

How many log() calls returned is counted in a file that it maps, as tests.faults.trainer does.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import disttrack
from tests.faults.trainer import COUNTS

__all__ = ["Plan", "paint", "picture"]


@dataclass(frozen=True)
class Plan:
    """What to do: log `images` rows with an image (none: until the file `stop` exists), `scalars` rows between two."""

    counts: str
    images: int | None = None
    rank: int = 0
    ranks: int = 1
    side: int = 64  # pixels
    scalars: int = 1
    pause_s: float = 0.0
    settings: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])


def picture(rank: int, step: int, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the pixels that a rank logs at a step: no two are alike."""
    return np.random.default_rng([rank, step]).integers(0, 256, (side, side, 3), dtype=np.uint8)


def paint(plan: Plan) -> None:
    """Log images, and between them scalars; leave the receipt, and count the scalars' calls that slept."""
    fd = os.open(plan.counts, os.O_RDWR | os.O_CREAT, 0o600)
    os.truncate(fd, COUNTS.size)
    shared = mmap.mmap(fd, COUNTS.size)
    settings = {"rank": plan.rank, "world_size": plan.ranks, **plan.settings}
    run = disttrack.init(project="p", settings=settings)
    step = slept = 0
    while not os.path.exists("stop") if plan.images is None else step < plan.images:
        run.log({"picture": disttrack.Image(picture(plan.rank, step, plan.side))}, step=step)
        for _ in range(plan.scalars):
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
            run.log({"loss": 1.0 / (step + 1)}, step=step)
            slept += resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw > before
        step += 1
        COUNTS.pack_into(shared, 0, step, slept)
        time.sleep(plan.pause_s)
    receipt = run.finish()
    with open(f"{plan.counts}.receipt", "w") as file:
        json.dump(dataclasses.asdict(receipt), file)


if __name__ == "__main__":
    paint(Plan(**json.loads(sys.argv[1])))
