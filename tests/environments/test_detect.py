"""Who am I: the first row of the ladder that makes sense wins, and says all by itself."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed

from disttrack.environments.detect import detect, single
from disttrack.environments.launch import Identity, own_key, parent_key
from disttrack.environments.process_group import agree_on_key
from disttrack.errors import UsageError
from disttrack.records.types import Rank
from disttrack.settings import Settings

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
PARENT = SimpleNamespace(pid=os.getpid())  # which was started with none of these variables
ALONE = Rank(rank=0, world_size=1, local_rank=0, source="single process")


def found(
    environ: Mapping[str, str] | None = None, modules: Mapping[str, Any] | None = None, **settings: Any
) -> Identity:
    return detect(environ or {}, modules or {}, Settings(**settings))


def group(
    rank: object = 2, world_size: object = 8, *, available: bool = True, initialized: bool = True
) -> dict[str, Any]:
    """Returns modules in which torch.distributed says this of the default process group."""
    distributed = SimpleNamespace(
        is_available=lambda: available,
        is_initialized=lambda: initialized,
        get_rank=lambda: rank,
        get_world_size=lambda: world_size,
    )
    return {"torch": SimpleNamespace(), "torch.distributed": distributed}


def multiprocessing(parent: object) -> dict[str, Any]:
    """Returns modules in which multiprocessing names this parent process."""
    return {"multiprocessing.process": SimpleNamespace(parent_process=lambda: parent)}


# Alone


def test_a_plain_process_is_a_launch_by_itself() -> None:
    assert found() == Identity(ALONE, own_key())
    assert found() == single(settled=True)


@pytest.mark.parametrize(
    "modules",
    [{"torch": SimpleNamespace()}, multiprocessing(PARENT), group(initialized=False), group(available=False)],
    ids=["torch", "multiprocessing", "no group yet", "no groups here"],
)
def test_a_process_that_may_get_a_group_is_not_settled(modules: dict[str, Any]) -> None:
    identity = found(modules=modules)
    assert identity.rank == Rank(rank=0, world_size=1, local_rank=0, source="single process", settled=False)
    assert identity.launch_key == own_key()


def test_multiprocessing_without_a_parent_changes_nothing() -> None:
    assert found(modules=multiprocessing(None)) == Identity(ALONE, own_key())


# Set by hand


def test_what_is_set_by_hand_wins_over_everything() -> None:
    identity = found(TORCHRUN, group(), rank=5, world_size=6, local_rank=1)
    assert identity.rank == Rank(rank=5, world_size=6, local_rank=1, source="settings")


def test_ranks_set_by_hand_belong_to_the_launch_around_them() -> None:
    alone = found(rank=0, world_size=2)
    torchrun = found(TORCHRUN, rank=0, world_size=2)
    in_group = found({}, group(), rank=0, world_size=2)
    assert alone.launch_key == parent_key()
    assert torchrun[1:] == found(TORCHRUN)[1:]
    assert in_group.launch_key is None
    assert alone.rank.settled


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"rank": 1}, "one of them is missing"),
        ({"world_size": 4}, "one of them is missing"),
        ({"rank": 4, "world_size": 4}, "world_size is 4"),
        ({"rank": 0, "world_size": 0}, "world_size is 0"),
    ],
)
def test_ranks_set_by_hand_that_make_no_sense_are_refused(settings: dict[str, int], why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        found(TORCHRUN, group(), **settings)
    assert refused.value.mend


def test_a_local_rank_alone_says_nothing() -> None:
    assert found(local_rank=3).rank == ALONE


# torchrun


def test_torchruns_row_is_taken_whole() -> None:
    identity = found(TORCHRUN)
    assert identity.rank == Rank(rank=1, world_size=4, local_rank=1, source="torchrun")
    assert identity.launch_key == parent_key()
    assert identity.rank.settled


def test_torchruns_row_is_settled_also_where_torch_is_loaded() -> None:
    assert found(TORCHRUN, group(initialized=False)).rank.settled
    assert found(TORCHRUN, multiprocessing(PARENT)).rank.source == "torchrun"


@pytest.mark.parametrize(
    "nonsense",
    [{"RANK": ""}, {"RANK": "7", "WORLD_SIZE": "4"}, {"LOCAL_RANK": "abc"}, {"WORLD_SIZE": "many"}, {"RANK": "-1"}],
    ids=str,
)
def test_a_row_that_makes_no_sense_is_passed_over(nonsense: dict[str, str]) -> None:
    assert found(TORCHRUN | nonsense) == Identity(ALONE, own_key())
    assert found(TORCHRUN | nonsense, group(2, 8)).rank.source == "torch.distributed"


# A live process group


def test_a_live_group_is_the_truth_about_ranks() -> None:
    identity = found({"RANK": "0", "WORLD_SIZE": "1"}, group(2, 8))
    assert identity.rank == Rank(rank=2, world_size=8, local_rank=None, source="torch.distributed")
    assert identity.launch_key is None  # its store has to be asked


def test_ranks_that_multiprocessing_spawned_have_their_parents_key() -> None:
    identity = found(modules=group(2, 8) | multiprocessing(PARENT))
    assert identity.rank.source == "torch.distributed"
    assert identity.launch_key == parent_key()


@pytest.mark.parametrize(("rank", "world_size"), [(-1, 8), (8, 8), (0, 0), (None, 8), ("x", 8)])
def test_a_group_that_makes_no_sense_is_passed_over(rank: object, world_size: object) -> None:
    assert found(TORCHRUN, group(rank, world_size)).rank.source == "torchrun"
    assert found({}, group(rank, world_size)).rank.source == "single process"


def test_a_group_that_is_being_destroyed_is_passed_over() -> None:
    half_imported = {"torch": SimpleNamespace(), "torch.distributed": SimpleNamespace()}
    assert found(TORCHRUN, half_imported).rank.source == "torchrun"


# The key that a group agrees on


def test_whoever_asks_first_names_the_key_for_all() -> None:
    store = torch.distributed.HashStore()
    modules = {"torch.distributed.distributed_c10d": SimpleNamespace(_get_default_store=lambda: store)}
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    assert agree_on_key(modules, first) == f"group:{first}"
    assert agree_on_key(modules, second) == f"group:{first}"


def test_a_store_that_does_not_answer_gives_no_key() -> None:
    assert agree_on_key({}, "nonce") is None
    broken = SimpleNamespace(_get_default_store=lambda: SimpleNamespace())
    assert agree_on_key({"torch.distributed.distributed_c10d": broken}, "nonce") is None
