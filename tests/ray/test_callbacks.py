"""What Ray's callbacks make of trials that are not decorated, and add to the runs of Train."""

from __future__ import annotations

import pytest

from tests.ray.conftest import RaySite

UNDECORATED = """
import json, os, signal
from pathlib import Path
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from disttrack.integrations.ray import DisttrackLoggerCallback

here = Path(sys.argv[0]).parent

def objective(config):
    saved = tune.get_checkpoint()
    begin = 0 if saved is None else json.loads((Path(saved.path) / "state.json").read_text())
    for iteration in range(begin + 1, 9):
        (here / config["kind"]).mkdir(exist_ok=True)
        (here / config["kind"] / "state.json").write_text(str(iteration))
        tune.report({"score": config["score"] * iteration}, checkpoint=tune.Checkpoint(here / config["kind"]))
        if iteration == 3 and config["kind"] in ("raises", "dies") and not (here / f"fell-{config['kind']}").exists():
            (here / f"fell-{config['kind']}").touch()
            if config["kind"] == "raises":
                raise ValueError("planned")
            os.kill(os.getpid(), signal.SIGKILL)

SCORES = {"raises": 4, "dies": 3, "plain": 2, "bad": -1}
tune.Tuner(
    objective,
    param_space={"kind": tune.grid_search(list(SCORES)), "score": tune.sample_from(lambda c: SCORES[c["kind"]])},
    tune_config=tune.TuneConfig(
        scheduler=ASHAScheduler(grace_period=6, max_t=100, reduction_factor=4, time_attr="training_iteration"),
        metric="score", mode="max", max_concurrent_trials=2,
    ),
    run_config=tune.RunConfig(
        name="exp", storage_path=str(here), verbose=0, failure_config=tune.FailureConfig(max_failures=1),
        callbacks=[DisttrackLoggerCallback(project="demo", name="objective")],
    ),
).fit()
"""


@pytest.mark.real(timeout_s=180)
def test_trials_that_are_not_decorated_are_runs_by_what_they_report(ray_site: RaySite) -> None:
    ray_site.drive(UNDECORATED)
    runs = {run["config"]["kind"]: run for run in (ray_site.show(run["id"]) for run in ray_site.ls())}
    assert sorted(runs) == ["bad", "dies", "plain", "raises"]
    for kind, run in runs.items():
        retried = kind in ("raises", "dies")
        assert (run["group"], run["name"], run["world_size"], run["attempt"]) == ("exp", "objective", 1, int(retried))
        assert run["receipt"]["stored"] == run["receipt"]["logged"]
        assert run["summary"]["checkpoint"].endswith(run["summary"]["checkpoint_dir_name"])
        steps = ray_site.steps(run["id"], "score")[0]
        assert steps == list(range(1, run["summary"]["training_iteration"] + 1))
        assert steps[-1] == (6 if run["state"] == "stopped" else 8)
        if retried:
            assert [attempt["state"] for attempt in run["attempts"]] == ["failed", run["state"]]
    assert runs["bad"]["state"] == "stopped"
    assert runs["raises"]["state"] == "finished"
    assert runs["raises"]["attempts"][0]["first_failure"]["exception"] == "ValueError: planned"
    assert "ActorDiedError" in runs["dies"]["attempts"][0]["first_failure"]["exception"]


BOTH = """
from pathlib import Path
from ray import tune
from disttrack.integrations.ray import DisttrackLoggerCallback, trainable

@trainable(project="demo")
def objective(config):
    tune.report({"score": 1.0})

tune.Tuner(
    objective,
    run_config=tune.RunConfig(
        storage_path=str(Path(sys.argv[0]).parent), verbose=0, callbacks=[DisttrackLoggerCallback(project="demo")]
    ),
).fit()
"""


@pytest.mark.real(timeout_s=180)
def test_a_decorated_trainable_is_left_to_its_decorator(ray_site: RaySite) -> None:
    ray_site.drive(BOTH)
    run = ray_site.only_run()
    assert (run["state"], run["ranks_joined"], run["ranks"][0]["rows"]) == ("finished", 1, 1)


TRAIN = """
import os, signal, tempfile, time
from pathlib import Path
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from disttrack.integrations.ray import DisttrackCallback, setup

here = Path(sys.argv[0]).parent

def loop(config):
    run = setup(config, project="demo")
    rank = ray.train.get_context().get_world_rank()
    for step in range(4):
        run.log({"loss": step + rank / 4}, step=step)
        with tempfile.TemporaryDirectory() as directory:
            saved = ray.train.Checkpoint(directory) if rank == 0 else None
            ray.train.report({"loss": 0.0}, checkpoint=saved)
        if rank == 1 and step == 1 and not (here / "fell").exists():
            (here / "fell").touch()
            if config["how"] == "raises":
                raise RuntimeError("planned")
            os.kill(os.getpid(), signal.SIGKILL)

result = DataParallelTrainer(
    loop,
    train_loop_config={"how": sys.argv[1]},
    scaling_config=ray.train.ScalingConfig(num_workers=2),
    run_config=ray.train.RunConfig(
        name="train", storage_path=str(here), failure_config=ray.train.FailureConfig(max_failures=1),
        callbacks=[DisttrackCallback()],
    ),
).fit()
print("CHECKPOINT", result.checkpoint.path)
"""


@pytest.mark.parametrize("how", ["raises", pytest.param("dies", marks=pytest.mark.long)])
@pytest.mark.real(timeout_s=180)
def test_a_train_run_has_its_controllers_word_on_failed_ranks_and_checkpoints(ray_site: RaySite, how: str) -> None:
    output = ray_site.drive(TRAIN, how)
    run = ray_site.only_run()
    assert (run["name"], run["state"], run["world_size"], run["attempt"]) == ("train", "finished", 2, 1)
    (checkpoint,) = [line.split()[1] for line in output.splitlines() if line.startswith("CHECKPOINT ")]
    assert run["summary"]["checkpoint"] == checkpoint
    (alert,) = [alert for alert in run["alerts"] if alert["rank"] == 1]
    assert alert["attempt"] == 0
    assert alert["title"].startswith("Rank 1 failed: ")
    if how == "raises":
        assert alert["title"] == "Rank 1 failed: RuntimeError: planned"
        assert "planned" in alert["text"]
    assert {alert["level"] for alert in run["alerts"]} == {"ERROR"}
    assert run["receipt"]["pending"] == 0
