"""Train: every worker is a rank of one run, also after a failure."""

from __future__ import annotations

import pytest

from tests.ray.conftest import RaySite

LOOP = """
import warnings
from pathlib import Path
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from disttrack.integrations.ray import setup

here = Path(sys.argv[0]).parent

def loop(config):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # Train v2 warns of what it has no more
        run = setup(config, project="demo", job_type="worker")
    rank = ray.train.get_context().get_world_rank()
    for step in range(20):
        run.log({"loss": step + rank / 4}, step=step)
        if rank == 1 and step == 7 and not (here / "fell").exists():
            (here / "fell").touch()
            raise RuntimeError("planned")
    ray.train.report({"loss": 0.0})

DataParallelTrainer(
    loop,
    train_loop_config={"lr": 0.1},
    scaling_config=ray.train.ScalingConfig(num_workers=2),
    run_config=ray.train.RunConfig(
        name="train", storage_path=str(here), failure_config=ray.train.FailureConfig(max_failures=1)
    ),
).fit()
"""


@pytest.mark.real(timeout_s=180)
def test_workers_are_the_ranks_of_one_run_and_a_retry_is_its_next_attempt(ray_site: RaySite) -> None:
    ray_site.drive(LOOP)
    run = ray_site.only_run()
    assert (run["name"], run["group"], run["project"], run["config"]) == ("train", "train", "demo", {"lr": 0.1})
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 2, 2, 1)
    assert [rank["job_type"] for rank in run["ranks"]] == ["worker-rank-0", "worker-rank-1"]
    first, second = run["attempts"]
    assert (first["world_size"], first["ranks_joined"], second["ranks_joined"]) == (2, 2, 2)
    assert first["first_failure"]["rank"] == 1 or first["first_failure"]["others"] == 1
    assert run["receipt"]["stored"] == run["receipt"]["logged"]
    rows = [
        (row["rank"], row["attempt"], row["step"], row["value"])
        for row in ray_site.export(run["id"], "--keys", "loss", "--superseded")
    ]
    assert {row for row in rows if row[1] == 1} == {(rank, 1, s, s + rank / 4) for rank in (0, 1) for s in range(20)}
    assert [row for row in rows if row[:2] == (1, 0)] == [(1, 0, step, step + 1 / 4) for step in range(8)]
    (told,) = [rank for rank in ray_site.show(run["id"])["attempts"] if rank["attempt"] == 0]
    assert told["state"] in ("failed", "crashed")
