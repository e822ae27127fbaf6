"""Tune: each trial is a run, through early stopping, failure, death, perturbation and reused actors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ray.conftest import RaySite

FUNCTION = """
import json, os, signal
import disttrack
from disttrack.integrations.ray import trainable
from pathlib import Path
from ray import tune
from ray.tune.schedulers import ASHAScheduler

here = Path(sys.argv[0]).parent

@trainable(project="demo", name="objective")
def objective(config):
    saved = tune.get_checkpoint()
    begin = 0
    if saved is not None:
        begin = json.loads((Path(saved.path) / "state.json").read_text())["iteration"]
    try:
        for iteration in range(begin + 1, 13):
            disttrack.log({"own": iteration / 3})
            disttrack.log({"second": iteration}, step=iteration)
            state = here / f"checkpoint-{config['kind']}"
            state.mkdir(exist_ok=True)
            (state / "state.json").write_text(json.dumps({"iteration": iteration}))
            tune.report({"score": config["score"] * iteration}, checkpoint=tune.Checkpoint(state))
            first = not (here / f"fell-{config['kind']}").exists()
            if iteration == 3 and first and config["kind"] in ("raises", "dies"):
                (here / f"fell-{config['kind']}").touch()
                disttrack.log({"last words": 1.0})
                if config["kind"] == "raises":
                    raise ValueError("planned")
                os.kill(os.getpid(), signal.SIGKILL)
    finally:
        disttrack.log({"unwound": 1.0})

kinds = ["raises", "dies", "plain", "bad"]
results = tune.Tuner(
    objective,
    param_space={
        "kind": tune.grid_search(kinds),
        "score": tune.sample_from(lambda spec: {"raises": 4, "dies": 3, "plain": 2, "bad": -1}[spec.config["kind"]]),
    },
    tune_config=tune.TuneConfig(
        scheduler=ASHAScheduler(grace_period=6, max_t=100, reduction_factor=4, time_attr="training_iteration"),
        metric="score", mode="max", max_concurrent_trials=2,
    ),
    run_config=tune.RunConfig(
        name="exp", storage_path=str(here), verbose=0, failure_config=tune.FailureConfig(max_failures=1)
    ),
).fit()
told = {r.config["kind"]: [r.metrics["trial_id"], r.metrics["training_iteration"], str(r.error)] for r in results}
print("TOLD", json.dumps(told))
"""


def told(output: str) -> Any:
    (line,) = [line for line in output.splitlines() if line.startswith("TOLD ")]
    return json.loads(line.removeprefix("TOLD "))


@pytest.mark.real(timeout_s=180)
def test_trials_of_a_function_are_runs_through_early_stop_failure_and_death(ray_site: RaySite) -> None:
    trials = told(ray_site.drive(FUNCTION))
    runs = {run["id"]: run for run in ray_site.ls()}
    assert sorted(runs) == sorted(trial_id for trial_id, _, _ in trials.values())
    for kind, (trial_id, iterations, _) in trials.items():
        run = ray_site.show(trial_id)
        retried = kind in ("raises", "dies")
        print(kind, run["state"], iterations)
        assert (run["group"], run["name"], run["world_size"], run["attempt"]) == ("exp", "objective", 1, int(retried))
        assert run["config"]["kind"] == kind
        assert run["receipt"]["stored"] == run["receipt"]["logged"]
        assert (run["receipt"]["dropped"], run["receipt"]["unreachable"]) == (0, 0)
        # What was gone over again is not read twice, and nothing that report() or log() returned from is missing.
        steps = ray_site.steps(trial_id, "score")[0]
        assert steps == list(range(1, iterations + 1))
        assert ray_site.steps(trial_id, "own")[0] == steps
        assert [row["value"] for row in ray_site.export(trial_id, "--keys", "second")] == steps
        every = ray_site.export(trial_id, "--superseded", "--keys", "unwound,last words")
        assert len([row for row in every if row["key"] == "last words"]) == int(retried)
        if retried:
            assert [attempt["state"] for attempt in run["attempts"]] == [
                "failed" if kind == "raises" else "crashed",
                run["state"],
            ]
    assert trials["bad"][1] < 12
    assert runs[trials["bad"][0]]["state"] == "stopped"
    assert {runs[trials[kind][0]]["state"] for kind in ("raises", "dies")} == {"finished"}
