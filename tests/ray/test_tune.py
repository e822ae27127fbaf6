"""Tune: each trial is a run, through early stopping, failure, death, perturbation and reused actors."""

from __future__ import annotations

import itertools
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


PERTURBED = """
import json, time
from pathlib import Path
import disttrack
from disttrack.integrations.ray import DisttrackLoggerCallback, trainable
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

here = Path(sys.argv[0]).parent
decorated, called_back = "decorated" in sys.argv, "called back" in sys.argv

class Walk(tune.Trainable):
    def setup(self, config):
        self.lr, self.value = config["lr"], 0.0
    def step(self):
        self.value += self.lr
        if decorated:
            disttrack.log({"own": self.lr})
        return {"value": self.value, "lr_used": self.lr}
    def save_checkpoint(self, directory):
        return {"value": self.value}
    def load_checkpoint(self, saved):
        self.value = saved["value"]
    def reset_config(self, config):
        self.lr = config["lr"]
        return True

class Seen(tune.Callback):
    def __init__(self):
        self.rows = {}
    def on_trial_result(self, iteration, trials, trial, result, **info):
        row = [result["training_iteration"], result["lr_used"], result["value"]]
        self.rows.setdefault(trial.trial_id, []).append(row)
        (here / "pids").open("a").write(f"{trial.trial_id} {result['pid']}\\n")

seen = Seen()
if decorated:
    Walk = trainable(project="demo")(Walk)
callbacks = [DisttrackLoggerCallback(project="demo")] if called_back else []
pbt = PopulationBasedTraining(
    time_attr="training_iteration", metric="value", mode="max", perturbation_interval=4,
    hyperparam_mutations={"lr": tune.uniform(0.1, 10)}, quantile_fraction=0.34, synch=True,
)
tune.Tuner(
    tune.with_resources(Walk, {"cpu": 2}),
    param_space={"lr": tune.grid_search([0.1, 1.0, 3.0])},
    tune_config=tune.TuneConfig(scheduler=pbt, reuse_actors=True),
    run_config=tune.RunConfig(
        name="pbt", storage_path=str(here), stop={"training_iteration": 16}, verbose=0, callbacks=[seen, *callbacks]
    ),
).fit()
print("TOLD", json.dumps(seen.rows))
"""


@pytest.mark.parametrize(
    "how", [["decorated"], ["called back"], pytest.param(["decorated", "called back"], marks=pytest.mark.long)]
)
@pytest.mark.real(timeout_s=180)
def test_perturbed_trials_that_share_an_actor_keep_their_rows_and_tell_of_their_perturbations(
    ray_site: RaySite, how: list[str]
) -> None:
    trials = told(ray_site.drive(PERTURBED, *how))
    pids = [line.split() for line in (ray_site.directory / "pids").read_text().splitlines()]
    assert any(len({trial for trial, other in pids if other == pid}) > 1 for _, pid in pids), "no actor was used again"
    assert sorted(run["id"] for run in ray_site.ls()) == sorted(trials)
    perturbed = 0
    for trial_id, rows in trials.items():
        run = ray_site.show(trial_id)
        state = "finished" if "called back" in how else "stopped"  # the driver alone knows why it stops a trial
        assert (run["state"], run["attempt"], run["ranks_joined"]) == (state, 0, 1)
        assert run["config"] == {"lr": rows[-1][1]}
        stored = {
            key: [(row["step"], row["value"]) for row in ray_site.export(trial_id, "--keys", key)]
            for key in ("value", "own")
        }
        assert sorted(stored["value"]) == sorted((step, value) for step, _, value in rows)
        if "decorated" in how:
            assert sorted(stored["own"]) == sorted((step, lr) for step, lr, _ in rows)
        changes = [(step, before, lr) for (_, before, _), (step, lr, _) in itertools.pairwise(rows) if lr != before]
        assert [(one["step"], one["before"], one["after"]) for one in run["config_changes"]] == changes
        perturbed += len(changes)
    assert perturbed
