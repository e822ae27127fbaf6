"""Ray's contexts, as Train v2, Train v1 and Tune keep them: plain objects under the names of Ray's modules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from disttrack.environments.detect import detect
from disttrack.environments.ray import Experiment, experiment
from disttrack.settings import Settings

STORAGE = SimpleNamespace(
    storage_filesystem=SimpleNamespace(type_name="local"), storage_fs_path="/results", experiment_fs_path="/results/exp"
)
#: What a shell in a Slurm job that started the cluster leaves to every process of it.
LEAKED = {"RANK": "0", "WORLD_SIZE": "1", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}


def train_v2(rank: int = 3, *, run_id: str = "f00", group: str = "a1") -> dict[str, Any]:
    place = SimpleNamespace(world_rank=rank, world_size=4, local_rank=1, local_world_size=2, node_rank=1)
    run = SimpleNamespace(run_id=run_id, run_config=SimpleNamespace(name="fit"))
    actor = SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: group))
    context = SimpleNamespace(
        distributed_context=place,
        train_run_context=run,
        execution_context=SimpleNamespace(synchronization_actor=actor),
        storage_context=STORAGE,
    )
    return {"ray.train.v2._internal.execution.context": SimpleNamespace(_train_context=context)}


def session(rank: int | None, trial: str = "t1", storage: Any = STORAGE) -> dict[str, Any]:
    """Returns modules with the session of a Tune function (rank None), or of a worker of Train v1."""
    found = SimpleNamespace(
        world_rank=rank,
        world_size=None if rank is None else 2,
        local_rank=rank,
        storage=storage,
        trial_info=SimpleNamespace(id=trial, experiment_name="exp"),
    )
    return {"ray.train._internal.session": SimpleNamespace(_session=found)}


def test_a_worker_of_train_is_its_rank_whatever_the_environment_says() -> None:
    found = detect(LEAKED, train_v2(), Settings())
    assert (found.rank.rank, found.rank.world_size, found.rank.local_rank, found.rank.source) == (3, 4, 1, "Ray Train")
    assert found.rank.settled


def test_the_launch_of_a_train_run_is_that_of_all_its_tries_and_of_no_other() -> None:
    first = detect({}, train_v2(0), Settings())
    again = detect({}, train_v2(1, group="b2"), Settings())
    assert first.launch_key == again.launch_key != detect({}, train_v2(run_id="f01"), Settings()).launch_key
    assert first.hints != again.hints


def test_a_trial_is_one_rank_by_itself_and_reads_no_rank() -> None:
    found = detect(LEAKED, session(None), Settings())
    assert (found.rank.rank, found.rank.world_size, found.rank.source) == (0, 1, "Ray Tune")
    assert found.launch_key != detect({}, session(None, "t2"), Settings()).launch_key


def test_the_workers_of_a_train_v1_trial_are_ranks_of_one_launch() -> None:
    first, second = (detect({}, session(rank), Settings()) for rank in (0, 1))
    assert (second.rank.rank, second.rank.world_size) == (1, 2)
    assert first.launch_key == second.launch_key


@pytest.mark.parametrize(
    "modules",
    [
        {"ray.train._internal.session": SimpleNamespace(_session=None)},
        {"ray.train._internal.session": SimpleNamespace(_session=SimpleNamespace())},
        {"ray.train.v2._internal.execution.context": SimpleNamespace()},
        {"ray.train.v2._internal.execution.context": SimpleNamespace(_train_context=SimpleNamespace())},
        train_v2(4),
    ],
    ids=["no session", "a session of another version", "no context", "a context of another version", "no such rank"],
)
def test_what_is_no_context_or_of_a_version_that_is_unknown_is_left_to_the_other_rows(modules: dict[str, Any]) -> None:
    assert detect({}, modules, Settings()).rank.source == "single process"


def test_an_experiment_has_a_name_and_a_directory_where_its_storage_is_one() -> None:
    assert experiment(train_v2()) == Experiment("fit", "/results")
    remote = SimpleNamespace(storage_filesystem=SimpleNamespace(type_name="s3"), storage_fs_path="bucket/results")
    assert experiment(session(None)) == Experiment("exp", "/results")
    assert experiment(session(None, storage=remote)) == Experiment("exp", None)
    assert experiment({}) is None
