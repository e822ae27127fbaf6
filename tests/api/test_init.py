"""init: what it refuses before anything is started, and what it gives back."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

import disttrack
from disttrack.errors import ConfigError, NotLoggedIn, UnknownSetting, UsageError
from tests.road.site import Site

BAD: list[tuple[dict[str, Any], str]] = [
    ({"project": 3}, "project=3"),
    ({"project": ""}, "empty"),
    ({"project": "a/b"}, "'/'"),
    ({"project": "x" * 129}, "129 characters"),
    ({"project": " p"}, "blank"),
    ({"id": "a:b"}, "':'"),
    ({"id": "a\nb"}, "control character"),
    ({"id": 7}, "id=7"),
    ({"tags": 5}, "tags=5"),
    ({"tags": [1]}, "tag 1"),
    ({"config": [1, 2]}, "config="),
    ({"config": "a text"}, "config="),
    ({"mode": "sometimes"}, "no such mode"),
    ({"resume": "perhaps"}, "no such resume"),
    ({"reinit": "never"}, "no such reinit"),
    ({"anonymous": "yes"}, "no such anonymous"),
    ({"entity": "a/b"}, "'/'"),
    ({"fork_from": "a"}, "id?_step=n"),
    ({"resume": "must", "fork_from": "a?_step=1"}, "each says where a run begins"),
    ({"config": {"a": 1}, "config_include_keys": ["a"], "config_exclude_keys": ["b"]}, "neither of them names"),
    ({"magic": 5}, "magic=5"),
    ({"force": "yes"}, "force='yes'"),
    ({"settings": {"projct": "p"}}, "Did you mean project"),
    ({"settings": 5}, "settings="),
    ({"settings": {"rank": 3}}, "world_size=None"),
    ({"settings": {"rank": 3, "world_size": 3}}, "world_size is 3"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=lambda value: str(value)[:30])
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    arguments: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"cannot be used|Unknown setting") as error:
        disttrack.init(**arguments)
    assert says in str(error.value)
    assert not (tmp_path / "disttrack-runs").exists()
    assert not (tmp_path / "journals").exists()
    assert type(pickle.loads(pickle.dumps(error.value))) is type(error.value)


def test_an_unknown_setting_is_answered_with_the_near_ones() -> None:
    with pytest.raises(UnknownSetting) as error:
        disttrack.init(settings={"jobtype": "x"})
    assert error.value.near == ("job_type",)


CALLS_BEFORE_INIT = """
import disttrack
from disttrack.errors import NotInitialized
calls = {
    "log()": lambda: disttrack.log({"a": 1}), "config": lambda: disttrack.config, "summary": lambda: disttrack.summary,
    "alert()": lambda: disttrack.alert("t"), "mark_preempting()": lambda: disttrack.mark_preempting(),
}
for name, call in calls.items():
    try:
        call()
    except NotInitialized as error:
        print(name in str(error), "disttrack.init(" in str(error))
print(disttrack.run, disttrack.finish())
"""


def test_module_level_calls_before_init_say_which_line_to_add() -> None:
    done = subprocess.run([sys.executable, "-c", CALLS_BEFORE_INIT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True True"] * 5 + ["None None"]


def test_a_run_knows_itself(tmp_path: Path) -> None:
    with disttrack.init(project="p", job_type="eval", tags=("a", "b", "a"), notes="n", config={"lr": 0.1}) as run:
        assert (run.project, run.job_type, run.tags, run.notes) == ("p", "eval", ("a", "b"), "n")
        assert (run.rank, run.world_size, run.local_rank, run.attempt, run.group) == (0, 1, 0, 0, None)
        assert run.name.count("-") == 2
        assert run.step == 0
        run.log({"a": 1})
        run.log({"a": 1}, step=7)
        assert run.step == 7  # that row is open: what comes next joins it
        run.log({"b": 1})
        assert run.step == 8
        assert disttrack.run is run
        assert repr(run) == f"<disttrack.Run p/{run.id} rank 0 of 1>"
        assert (tmp_path / "disttrack-runs" / "p" / run.id / "log").is_dir()
        with pytest.raises(ConfigError, match="allow_val_change"):
            run.config["lr"] = 0.2
    assert run.finished
    assert run.finish() is run.finish()
    assert os.environ.get("DISTTRACK_PARENT") is None


def test_a_second_init_returns_the_open_run(caplog: pytest.LogCaptureFixture) -> None:
    with disttrack.init(project="p") as run:
        assert disttrack.init(project="other") is run
        assert disttrack.init() is run
    with disttrack.init(project="other") as other:
        assert other is not run
        assert other.project == "other"
    assert caplog.text.count("open in this process already; init() returns it and ignores project.") == 1


def test_a_disabled_run_takes_everything_and_gives_it_back(tmp_path: Path) -> None:
    with disttrack.init(mode="disabled", config={"a": 1}) as run:
        run.log({"x": object()})
        run.summary["best"] = 3
        assert (run.config.a, run.summary["best"], run.disabled) == (1, 3, True)
        assert isinstance(run.id, str)
    assert run.finish().logged == 0
    assert not (tmp_path / "disttrack-runs").exists()


@pytest.mark.parametrize(
    ("config", "project"),
    [
        ('[remote "origin"]\n\turl = https://user:token@example.org/team/my-model.git\n', "my-model"),
        ('[remote "origin"]\n\turl = git@example.org:team/ünï code.git\n', "ünï code"),
        ('[remote "origin"]\n\turl = https://example.org/a%20b?c#d\n', "a-20b-c-d"),
        ("", "checkout"),
    ],
)
def test_the_default_project_is_the_git_repositorys_name(
    config: str, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = tmp_path / "checkout" / ".git"
    git.mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text(f"[core]\n\tfsmonitor = touch {tmp_path / 'ran'}\n{config}")
    (tmp_path / "checkout" / "below").mkdir()
    monkeypatch.chdir(tmp_path / "checkout" / "below")
    with disttrack.init() as run:
        assert run.project == project
    monkeypatch.chdir(tmp_path)
    with disttrack.init() as run:
        assert run.project == "uncategorized"
    with disttrack.init(project="given") as run:
        assert run.project == "given"
    assert not (tmp_path / "ran").exists()


def test_an_entity_tags_notes_and_a_name_are_the_runs(tmp_path: Path) -> None:
    with disttrack.init(project="p", entity="team", tags="one tag", notes="a\nb", name="n") as run:
        assert run.path == f"team/p/{run.id}"
    assert Site(tmp_path).show(run.path)["id"] == run.id
    stored = Site(tmp_path).show(run.id)
    assert (stored["entity"], stored["tags"], stored["notes"], stored["name"]) == ("team", ["one tag"], "a\nb", "n")


def test_what_needs_a_server_is_recorded_here_and_said_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for mode in ("online", "offline"):
        if mode == "offline":
            disttrack.init(project="p", mode=mode, force=True, anonymous="must").finish()
            continue
        with pytest.raises(NotLoggedIn, match="mode='offline'") as error:
            disttrack.init(project="p", mode=mode, force=True)
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    assert "server" not in caplog.text
    ways: tuple[Literal["never", "allow", "must"], ...] = ("never", "allow", "must")
    for anonymous in ways:
        disttrack.init(project="p", anonymous=anonymous).finish()
    disttrack.init(project="p", mode="online").finish()
    said = [record.message for record in caplog.records if "no server is configured" in record.message]
    assert ["allow" in line or "must" in line for line in said] == [True, True, False]
    assert all(str(tmp_path / "disttrack-runs") in line for line in said)


def test_two_names_of_one_argument_may_not_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="two names of one argument"):
        disttrack.init(tensorboard=True, sync_tensorboard=False)


def test_strict_settings_raise_what_log_cannot_keep() -> None:
    with disttrack.init(project="p", settings={"strict": True}) as run:
        with pytest.raises(ValueError, match="takes a dict"):
            run.log(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - what is tested
        with pytest.raises(ValueError, match="bad"):
            run.log({"good": 1, "bad": object()})
        receipt = run.finish()
    assert (receipt.logged, receipt.stored, receipt.dropped) == (2, 1, 1)


def test_a_config_is_copied_without_its_run() -> None:
    with disttrack.init(project="p", config={"a": [1]}) as run:
        assert copy.deepcopy(run.config) == {"a": [1]}
