"""Tuner.restore in a new process goes on with the runs that the one before it left."""

from __future__ import annotations

import pytest

from tests.ray.conftest import RaySite
from tests.road.site import wait_until

INTERRUPTED = """
import json, os, time
from pathlib import Path
from ray import tune
from disttrack.integrations.ray import DisttrackLoggerCallback, trainable

here = Path(sys.argv[0]).parent
restored = sys.argv[1] == "restore"

def objective(config):
    saved = tune.get_checkpoint()
    begin = 0 if saved is None else int((Path(saved.path) / "state").read_text())
    mine = here / f"state-{config['x']}"
    mine.mkdir(exist_ok=True)
    for iteration in range(begin + 1, 9):
        (mine / "state").write_text(str(iteration))
        tune.report({"score": iteration * config["x"]}, checkpoint=tune.Checkpoint(mine))
        while iteration == 4 and not (here / "go on").exists():
            (here / f"waits-{config['x']}").touch()
            time.sleep(0.05)

if sys.argv[2] == "decorated":
    objective = trainable(project="demo")(objective)
    callbacks = []
else:
    callbacks = [DisttrackLoggerCallback(project="demo")]
if restored:
    (here / "go on").touch()
    tuner = tune.Tuner.restore(str(here / "exp"), objective, resume_errored=True)
else:
    tuner = tune.Tuner(
        objective,
        param_space={"x": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(name="exp", storage_path=str(here), verbose=0, callbacks=callbacks),
    )
tuner.fit()
"""


def state_has(site: RaySite, text: str) -> bool:
    """Says whether Tune has written down of both trials what a new driver would go on from."""
    states = sorted((site.directory / "exp").glob("experiment_state-*.json"))
    return bool(states) and states[-1].read_text().count(text) >= 2


@pytest.mark.parametrize("how", ["decorated", pytest.param("callback", marks=pytest.mark.long)])
@pytest.mark.real(timeout_s=180)
def test_restoring_an_experiment_whose_driver_was_killed_goes_on_with_its_runs(ray_site: RaySite, how: str) -> None:
    killed = ray_site.start_driver(INTERRUPTED, "begin", how)
    wait_until(lambda: all((ray_site.directory / f"waits-{x}").exists() for x in (1, 2)), "both trials wait", 120)
    checkpoints = ray_site.directory / "exp"
    wait_until(lambda: len(list(checkpoints.glob("*/checkpoint_000003"))) == 2, "they are checkpointed")
    wait_until(lambda: state_has(ray_site, "checkpoint_000003"), "the experiment's state knows of these")
    killed.kill()
    killed.communicate()
    before = {run["id"] for run in ray_site.ls()}
    ray_site.drive(INTERRUPTED, "restore", how)
    runs = [ray_site.show(run["id"]) for run in ray_site.ls()]
    assert {run["id"] for run in runs} == before
    assert len(runs) == 2
    for run in runs:
        assert (run["state"], run["group"], run["attempt"]) == ("finished", "exp", 1)
        assert run["attempts"][0]["state"] in ("crashed", "failed", "stopped")
        assert ray_site.steps(run["id"], "score")[0] == list(range(1, 9))
        assert run["receipt"]["stored"] == run["receipt"]["logged"]
