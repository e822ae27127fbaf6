"""The runs of the root that are not over, on whatever node: does a writer still mark them?"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from disttrack.doctor.findings import Finding, Surroundings, good, warning
from disttrack.index.survey import project_directories
from disttrack.records.names import LIVE

__all__ = ["check_runs"]

FRESH_S = 120.0  # a writer touches its runs' markers about every 15 s; readers believe them as long (query.members)
NAMED = 8


class _Live(NamedTuple):
    """A run with a marker, as its directory is named, and how long ago that was touched."""

    name: str
    age_s: float


def check_runs(around: Surroundings) -> Iterator[Finding]:
    """Tell which runs are live, and which only seem to be."""
    if not around.root.is_dir():
        return
    runs = sorted(_live(around.root), key=lambda run: run.age_s)
    fresh = [run for run in runs if run.age_s <= FRESH_S]
    stale = [run for run in runs if run.age_s > FRESH_S]
    names = ", ".join(run.name for run in fresh[:NAMED]) + (" ..." if len(fresh) > NAMED else "")
    text = f"{len(fresh)} live: {names}" if fresh else "none is live"
    yield good("runs.live", text, runs=[run.name for run in fresh])
    for run in stale[:NAMED]:
        yield warning(
            "runs.stale",
            f"{run.name} is not over, and no writer has marked it for {run.age_s / 60:.0f} min: it is gone, or cannot "
            "write here",
            "disttrack ls on the nodes it ran on brings home what is left there",
            run=run.name,
            age_s=run.age_s,
        )
    if len(stale) > NAMED:
        more = [run.name for run in stale[NAMED:]]
        yield warning("runs.stale", f"{len(more)} more of them", None, runs=more)


def _live(root: Path) -> Iterator[_Live]:
    for project in project_directories(root):
        try:
            with os.scandir(root / project / LIVE) as markers:
                for marker in markers:
                    age_s = time.time() - marker.stat().st_mtime
                    yield _Live(f"{unquote(project)}/{unquote(marker.name)}", age_s)
        except FileNotFoundError:
            continue  # none was ever live, or one has just ended
