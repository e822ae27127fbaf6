"""What a decorated trainable and setup() hand to init, without a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ray import tune

import disttrack
from disttrack.environments.ray import Experiment
from disttrack.errors import UnknownSetting, UsageError
from disttrack.integrations.ray import setup, trainable
from disttrack.integrations.ray.arguments import with_experiment


def objective(config: dict[str, Any]) -> dict[str, float]:
    return {"score": config["x"] * 2.0}


def test_a_directory_that_is_not_absolute_is_refused_with_the_reason() -> None:
    for refused in (lambda: trainable(dir="runs")(objective), lambda: setup(dir="runs")):
        with pytest.raises(UsageError, match="it is relative, and each trial or worker has a current directory"):
            refused()
    os.environ["DISTTRACK_DIR"] = "runs"
    with pytest.raises(UsageError, match="relative"):
        trainable(objective)


def test_an_argument_that_init_does_not_have_is_refused_where_it_is_written() -> None:
    with pytest.raises(UnknownSetting, match="projct"):
        trainable(projct="demo")(objective)


def test_an_experiment_names_group_and_directory_where_nobody_else_does() -> None:
    del os.environ["DISTTRACK_DIR"]
    experiment = Experiment("exp", "/results")
    assert with_experiment({}, experiment) == {"group": "exp", "dir": "/results"}
    assert with_experiment({"group": "mine", "dir": "/mine"}, experiment) == {"group": "mine", "dir": "/mine"}
    assert with_experiment({"project": "p"}, None) == {"project": "p"}
    with pytest.raises(UsageError, match="its storage path is no local or mounted directory"):
        with_experiment({}, Experiment("exp", None))
    assert with_experiment({"dir": "/mine"}, Experiment(None, None)) == {"dir": "/mine"}


def test_a_decorated_function_is_the_function_and_a_class_keeps_its_name() -> None:
    assert trainable(project="demo")(objective) is objective
    assert objective({"x": 2}) == {"score": 4.0}

    @trainable
    class Walk(tune.Trainable):
        """Walks."""

    assert (Walk.__name__, Walk.__doc__, Walk.__module__) == ("Walk", "Walks.", __name__)
    assert issubclass(Walk, tune.Trainable)


def test_outside_of_ray_setup_is_init(tmp_path: Path) -> None:
    run = setup({"lr": 0.1}, project="demo", group="g")
    run.log({"loss": 1.0})
    receipt = run.finish()
    assert receipt.stored == receipt.logged == 2
    (found,) = disttrack.Api(tmp_path).runs("demo")
    assert (found.group, found.config, found.state) == ("g", {"lr": 0.1}, "finished")
