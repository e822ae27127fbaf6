"""The examples of each kind, run as their docstrings say: Ray is given no callback of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ray.conftest import RaySite

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.real(timeout_s=180)
def test_the_tune_example_is_a_run_for_each_trial_also_for_the_one_that_killed_itself(ray_site: RaySite) -> None:
    output = ray_site.run_example("ray_tune.py", "--trials", 5, "--kill")
    assert "best accuracy 0.9" in output
    runs = [ray_site.show(run["id"]) for run in ray_site.ls()]
    assert len(runs) == 5
    assert {(run["project"], run["group"]) for run in runs} == {("ray-digits", "search")}
    assert {run["state"] for run in runs} <= {"finished", "stopped"}
    for run in runs:
        killed = run["id"].endswith("_00000")
        assert run["attempt"] == int(killed)
        if killed:
            assert run["attempts"][0]["state"] == "crashed"
        epochs = run["summary"]["training_iteration"]
        assert ray_site.steps(run["id"], "accuracy")[0] == list(range(1, epochs + 1))
        assert ray_site.steps(run["id"], "weight_norm")[0] == list(range(1, epochs + 1))
        assert run["receipt"]["stored"] == run["receipt"]["logged"]
    assert max(run["summary"]["training_iteration"] for run in runs) == 12


@pytest.mark.real(timeout_s=180)
def test_the_train_example_learns_through_a_failure_as_one_run_of_two_ranks(ray_site: RaySite) -> None:
    ray_site.run_example("ray_train.py", "--fail", "--epochs", 6)
    run = ray_site.only_run()
    assert (run["state"], run["ranks_joined"], run["attempt"], run["receipt"]["dropped"]) == ("finished", 2, 1, 0)
    assert run["summary"]["test_accuracy"] > 0.9
    assert run["attempts"][0]["first_failure"]["exception"] == "RuntimeError: asked for by --fail"
    steps = ray_site.steps(run["id"], "loss")
    assert steps[0] == steps[1] == list(range(6 * 23))


@pytest.mark.long(timeout_s=180)
def test_the_multinode_example_reads_its_run_back(ray_site: RaySite) -> None:
    output = ray_site.run_example("ray_multinode.py", "--epochs", 2)
    run = ray_site.only_run()
    logged = run["receipt"]["logged"]
    assert f"ray-digits/{run['id']}: {logged} of {logged} records stored" in output
    for rank in run["ranks"]:
        assert f"rank {rank['rank']} on {rank['node']}: finished, 46 rows" in output
