"""Starts painters, and compares the images that are stored with those whose log() returned."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

import disttrack
from tests.conftest import PATIENCE
from tests.faults.jobs import REPOSITORY
from tests.faults.painter import Plan, picture
from tests.faults.trainer import read_counts
from tests.road.site import Site

__all__ = ["Painter", "check_pictures", "media"]


class Painter:
    """One process that logs images."""

    def __init__(self, site: Site, name: str = "counts", **plan: Any) -> None:
        self.plan = Plan(counts=name, **plan)
        self.counts = site.directory / name
        paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "tests.faults.painter", json.dumps(dataclasses.asdict(self.plan))]
        self.process = site.start(*command, env={"PYTHONPATH": paths})

    @property
    def returned(self) -> int:
        """How many images were logged."""
        return read_counts(self.counts)[0]

    @property
    def slept(self) -> int:
        """How many log() calls of scalars slept."""
        return read_counts(self.counts)[1]

    @property
    def receipt(self) -> dict[str, Any]:
        """What finish() returned; it adds up (P11)."""
        receipt: dict[str, Any] = json.loads(self.counts.with_name(f"{self.plan.counts}.receipt").read_text())
        assert receipt["logged"] == receipt["stored"] + receipt["pending"] + receipt["dropped"], receipt
        return receipt

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=300)

    def end(self, limit_s: float = 120) -> str:
        output, _ = self.process.communicate(timeout=PATIENCE * limit_s)
        assert self.process.returncode == 0, output
        assert "Traceback" not in output, output
        return output


def media(site: Site) -> list[Any]:
    """Return the media of the only run."""
    with disttrack.Api(site.directory) as api:
        [run] = api.runs("p")
        return run.media()


def check_pictures(site: Site, painters: Iterator[Painter] | list[Painter]) -> int:
    """Every image whose log() returned is stored, pixel by pixel, once; return how many there are (P1, P6)."""
    rows = media(site)
    total = 0
    for painter in painters:
        mine = {row.step: row for row in rows if row.rank == painter.plan.rank and row.state == "stored"}
        assert len(mine) >= painter.returned, [row for row in rows if row.state != "stored"][:3]
        for step, row in mine.items():
            assert row.file is not None
            with Image.open(row.file) as stored:
                assert (np.asarray(stored) == picture(painter.plan.rank, step, painter.plan.side)).all()
        total += painter.returned
    return total
