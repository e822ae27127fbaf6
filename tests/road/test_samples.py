"""Samples of a node: they come by themselves, belong to no rank, and are as safe as what ranks log."""

import os

import numpy as np
import pytest

from disttrack import Api
from tests.faults.jobs import no_writer
from tests.road.site import TORCHRUN, Site, wait_until

LOGS = """
import os, sys, time
import disttrack

run = disttrack.init(project="p")
step = 0
while not os.path.exists("stop"):
    run.log({"loss": 1.0 / (step + 1)}, step=step)
    step += 1
    time.sleep(0.01)
run.finish()
"""
OFTEN = {"DISTTRACK_SYSTEM_INTERVAL_S": "0.2"}


def samples(site: Site) -> dict[str, np.ndarray]:
    with Api(site.directory) as api:
        return api.runs("p")[0].system()


def sampled(site: Site, rank: int) -> bool:
    """Say whether a sample has a figure of this rank's process."""
    found = samples(site).get(f"process.{rank}.processes")
    return found is not None and bool(np.isfinite(found).any())


def stop(site: Site) -> None:
    (site.directory / "stop").touch()


@pytest.mark.real(timeout_s=90)
def test_every_node_is_sampled_and_no_rank_shows_it(site: Site) -> None:
    process = site.start(*TORCHRUN, 2, site.script(LOGS), env=OFTEN)
    wait_until(lambda: site.root.is_dir() and len(site.ls()) == 1 and len(samples(site)["time"]) >= 3, "three samples")
    for rank in (0, 1):
        wait_until(lambda: sampled(site, rank), f"rank {rank} is sampled")  # noqa: B023
    stop(site)
    process.communicate(timeout=300)
    assert process.returncode == 0
    wait_until(no_writer, "the writer has gone")
    found = samples(site)
    assert set(found["node"]) == {os.uname().nodename}
    assert (np.diff(found["time"]) > 0).all()
    assert (found["cpu.percent"] >= 0).all()
    assert (found["memory.used_bytes"] > 1 << 20).all()
    for rank in (0, 1):
        assert np.nanmax(found[f"process.{rank}.memory_bytes"]) > 1 << 20
        assert np.nanmax(found[f"process.{rank}.processes"]) >= 1
    assert np.nanmax(found["disttrack.memory_bytes"]) < 200 << 20
    run = site.only_run()
    assert run["state"] == "finished"
    assert [(rank["rank"], rank["state"]) for rank in run["ranks"]] == [(0, "finished"), (1, "finished")]
    assert set(run["summary"]) == {"loss"}
    assert run["receipt"]["stored"] == sum(rank["rows"] for rank in run["ranks"])
    captured = run["captured"]
    assert captured["logged"] == captured["stored"] > len(found["time"])  # what ranks found out about themselves, too
    with Api(site.directory) as api:
        view = api.runs("p")[0]
        assert list(view.system(["cpu.percent", "no such key"])) == [
            "node",
            "attempt",
            "time",
            "cpu.percent",
            "no such key",
        ]
        assert len(view.system(node="another host")["time"]) == 0


@pytest.mark.real(timeout_s=60)
def test_without_an_interval_nothing_is_sampled(site: Site) -> None:
    stop(site)
    site.python(site.script(LOGS), env={"DISTTRACK_SYSTEM_INTERVAL_S": "0"})
    wait_until(no_writer, "the writer has gone")
    assert len(samples(site)["time"]) == 0
