"""torchrun: ranks from its agent's variables, and one launch key for all that one agent started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from disttrack.environments.launch import parent_key
from disttrack.environments.torchrun import agent_store, error_file, error_in, identity
from disttrack.records.types import Rank

REPOSITORY = Path(__file__).parents[2]

#: A rank: prints its identity, as any process under torchrun would find it.
RANK = """
import json, os
from disttrack.environments.torchrun import identity
found = identity(os.environ)
print(json.dumps([found.rank.rank, found.rank.world_size, found.launch_key]))
"""

#: An agent: starts a rank as it would a training script, and waits for it.
AGENT = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', sys.argv[1]]))"


class Found(NamedTuple):
    rank: int
    world_size: int
    launch_key: str


def variables(rank: int = 0, world_size: int = 2, run_id: str = "none", **more: str) -> dict[str, str]:
    return {
        "TORCHELASTIC_RUN_ID": run_id,
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(rank),
        **more,
    }


def started(*command: str, rank: int, run_id: str = "none") -> Found:
    """Starts a rank and returns who it found that it is."""
    environ = {**os.environ, **variables(rank, run_id=run_id)}
    ended = subprocess.run(command, cwd=REPOSITORY, env=environ, check=True, stdout=subprocess.PIPE, timeout=300)
    return Found(*json.loads(ended.stdout))


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def in_shell(command: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the command with a shell around it that stays while the command runs."""
    return "sh", "-c", '"$@"; exit $?', "wrapper", *command


# The launch key


def test_ranks_that_one_agent_started_have_its_key() -> None:
    ranks = [started(*python(RANK), rank=rank) for rank in range(2)]
    assert ranks == [Found(0, 2, parent_key(os.getpid())), Found(1, 2, parent_key(os.getpid()))]


def test_shells_between_agent_and_rank_change_nothing() -> None:
    once = started(*in_shell(python(RANK)), rank=0)
    twice = started(*in_shell(in_shell(python(RANK))), rank=1)
    assert once.launch_key == twice.launch_key == parent_key(os.getpid())


def test_two_agents_under_one_parent_are_two_launches() -> None:
    # Each agent gets another rank's variables from around it, as when a script under torchrun starts torchrun.
    agent = ("sh", "-c", 'RANK=9 TORCHELASTIC_RUN_ID=outer "$0" -c "$1" "$2"; exit $?', sys.executable)
    inner = f"import os; os.environ.update(RANK='0', TORCHELASTIC_RUN_ID='inner')\n{AGENT}"
    keys = {started(*agent, inner, RANK, rank=0).launch_key for _ in range(2)}
    assert len(keys) == 2
    assert parent_key(os.getpid()) not in keys


# The rank


def test_the_agents_variables_say_everything() -> None:
    found = identity(variables(3, 4, TORCHELASTIC_RESTART_COUNT="2") | {"LOCAL_RANK": "1"})
    assert found is not None
    assert found.rank == Rank(rank=3, world_size=4, local_rank=1, source="torchrun")
    assert found.hints == (("TORCHELASTIC_RESTART_COUNT", "2"),)


def test_what_the_agent_did_not_say_is_not_invented() -> None:
    environ = variables(0, 1)
    del environ["LOCAL_RANK"]
    found = identity(environ)
    assert found is not None
    assert found.rank.local_rank is None
    assert found.hints == (("TORCHELASTIC_RESTART_COUNT", "0"),)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"RANK": ""},
        {"RANK": "7", "WORLD_SIZE": "4"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"RANK": "-1"},
        {"RANK": "one"},
        {"RANK": "0.5"},
        {"RANK": "9" * 5_000},
        {"WORLD_SIZE": ""},
        {"WORLD_SIZE": "0"},
        {"WORLD_SIZE": "-4"},
        {"LOCAL_RANK": "abc"},
    ],
    ids=lambda nonsense: ",".join(f"{name}={value:.9}" for name, value in nonsense.items()),
)
def test_variables_that_make_no_sense_are_not_torchruns(nonsense: dict[str, str]) -> None:
    assert identity(variables() | nonsense) is None


@pytest.mark.parametrize("missing", ["TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"])
def test_without_one_of_its_variables_it_is_not_torchrun(missing: str) -> None:
    environ = variables()
    del environ[missing]
    assert identity(environ) is None
    assert identity({}) is None


# The agent's store

STORE = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}


def test_the_agents_store_is_where_the_agent_says() -> None:
    assert agent_store(STORE) == ("node-0", 29_500)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"TORCHELASTIC_USE_AGENT_STORE": "False"},
        {"TORCHELASTIC_USE_AGENT_STORE": ""},
        {"MASTER_ADDR": ""},
        {"MASTER_PORT": ""},
        {"MASTER_PORT": "0"},
        {"MASTER_PORT": "65536"},
        {"MASTER_PORT": "-1"},
        {"MASTER_PORT": "port"},
    ],
    ids=str,
)
def test_there_is_no_agents_store_where_the_variables_name_none(nonsense: dict[str, str]) -> None:
    assert agent_store(STORE | nonsense) is None
    assert agent_store({}) is None


# What a rank leaves for its agent


@pytest.mark.parametrize(
    ("left", "told"),
    [
        ('{"message": {"message": "ValueError: nan", "extraInfo": {"timestamp": "1"}}}', "ValueError: nan"),
        ('{"message": "Signal 11 (SIGSEGV) received"}', "Signal 11 (SIGSEGV) received"),
        ('{"message": {"extraInfo": {}}}', None),
        ('{"message": null}', None),
        ("[]", None),
        ("{", None),
        ("", None),
    ],
)
def test_the_exception_that_a_rank_left_is_read_and_nothing_else_is_made_of_what_lies_there(
    tmp_path: Path, left: str, told: str | None
) -> None:
    file = tmp_path / "error.json"
    file.write_text(left)
    assert error_in(str(file)) == told


def test_an_error_file_that_is_none_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    for path in (tmp_path / "missing", tmp_path / "link", tmp_path):
        assert error_in(str(path)) is None


def test_only_a_rank_of_torchrun_has_an_error_file() -> None:
    place = {"TORCHELASTIC_ERROR_FILE": "/tmp/error.json"}
    assert error_file(variables() | place) == "/tmp/error.json"
    assert error_file(place) == error_file(variables()) == ""
