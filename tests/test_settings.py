"""Settings: which source wins, and what is refused with what, why and how to mend it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from disttrack.errors import UnknownSetting, UsageError
from disttrack.settings import ROOT_NAME, WANDB_VARIABLES, Settings, load, root_of

#: What people call things: any script, blanks inside, joiners, emoji.
NAMES = [
    "fold 1",
    'v1.0-rc_2+x (new) [a] {b} ~ @ & = ! $ * | < > " ^ `',
    "Größe",
    "名前 テスト 实验",
    "пробный запуск",
    "تجربة",
    "می\u200cخواهم",  # a zero-width non-joiner, part of how Persian is written
    "प्रयोग क्ष\u200d",
    "👩‍🔬🇩🇪👍🏽",
    "café",
    ".hidden",
    "..",
    "-",
    "~root",
    "CON",
]


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the current directory one without a disttrack.toml."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def user_file(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Returns what writes the user's settings.toml and gives the environment in which it is theirs."""

    def write(text: str) -> dict[str, str]:
        (tmp_path / "config" / "disttrack").mkdir(parents=True, exist_ok=True)
        (tmp_path / "config" / "disttrack" / "settings.toml").write_text(text, encoding="utf-8")
        return {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    return write


def given_to_init(**arguments: Any) -> Settings:
    return load(None, arguments, {})


def refused(**arguments: Any) -> UsageError:
    """Returns the error that an argument of init is refused with; the same comes from settings= as well."""
    with pytest.raises(UsageError) as by_settings:
        load(arguments, None, {})
    with pytest.raises(UsageError) as by_init:
        given_to_init(**arguments)
    assert by_init.value.mend == by_settings.value.mend
    return by_init.value


# Where a value comes from


def test_each_source_wins_over_those_before_it(
    user_file: Callable[[str], dict[str, str]], working_directory: Path
) -> None:
    environ = user_file('project = "user"\ngroup = "user"\nname = "user"\nnotes = "user"\njob_type = "user"\n')
    (working_directory / "disttrack.toml").write_text(
        'project = "here"\ngroup = "here"\nname = "here"\nnotes = "here"\n'
    )
    environ |= {"DISTTRACK_PROJECT": "environ", "DISTTRACK_GROUP": "environ", "DISTTRACK_NAME": "environ"}
    settings = load({"project": "settings", "group": "settings"}, {"project": "init"}, environ)
    assert (settings.project, settings.group, settings.name) == ("init", "settings", "environ")
    assert (settings.notes, settings.job_type) == ("here", "user")


def test_without_any_source_the_defaults_hold() -> None:
    assert load(None, None, {}) == Settings()
    assert load({}, {}, {}) == Settings()
    assert load(Settings(), {"project": None}, {}) == Settings()


def test_the_process_environment_is_the_environment_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTTRACK_PROJECT", "mnist")
    assert load().project == "mnist"
    assert load(environ={}).project is None


def test_settings_may_be_an_object_or_a_dict_and_defaults_in_it_hide_nothing() -> None:
    environ = {"DISTTRACK_PROJECT": "environ", "DISTTRACK_GROUP": "environ"}
    for settings in (Settings(group="mine", rank=0), {"group": "mine", "rank": 0}):
        found = load(settings, None, environ)
        assert (found.project, found.group, found.rank) == ("environ", "mine", 0)


def test_the_users_file_lies_in_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config" / "disttrack").mkdir(parents=True)
    (tmp_path / ".config" / "disttrack" / "settings.toml").write_text('project = "prüfung"', encoding="utf-8")
    assert load(environ={}).project == "prüfung"


def test_a_file_may_hold_every_kind_of_value(user_file: Callable[[str], dict[str, str]]) -> None:
    environ = user_file('tags = ["a", "b"]\nrank = 3\nstrict = true\nfinish_timeout_s = 5\nmode = "dryrun"\n')
    settings = load(None, None, environ)
    assert settings == Settings(tags=("a", "b"), rank=3, strict=True, finish_timeout_s=5.0, mode="offline")
    assert type(settings.finish_timeout_s) is float


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PROJECT", "fold 1", "fold 1"),
        ("TAGS", "a, b,,c ", ("a", "b", "c")),
        ("RANK", "3", 3),
        ("WORLD_SIZE", " 8 ", 8),
        ("FINISH_TIMEOUT_S", "2.5", 2.5),
        ("FINISH_TIMEOUT_S", "inf", float("inf")),
        ("STRICT", "1", True),
        ("STRICT", "Yes", True),
        ("STRICT", "off", False),
        ("MODE", "dryrun", "offline"),
        ("MODE", "disabled", "disabled"),
        ("DIR", "/data", "/data"),
        ("PROJECT", "", None),
        ("RANK", "", None),
    ],
)
def test_the_environment_says_it_in_text(name: str, text: str, value: object) -> None:
    assert getattr(load(None, None, {f"DISTTRACK_{name}": text}), name.lower()) == value


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {"DISTTRACK_PARENT": "/x", "DISTTRACK_PROJCT": "typo", "PROJECT": "other", "disttrack_project": "low"}
    assert load(None, None, environ) == Settings()


@pytest.mark.parametrize(
    ("mode", "meant"),
    [
        *(("online", "online"), ("offline", "offline"), ("disabled", "disabled")),
        *(("dryrun", "offline"), ("run", "online"), ("shared", "online")),
    ],
)
def test_modes_have_the_names_people_know(mode: str, meant: str) -> None:
    assert given_to_init(mode=mode).mode == meant


def test_the_root_lies_in_the_directory_named_or_the_current_one(working_directory: Path, tmp_path: Path) -> None:
    os.environ.pop("DISTTRACK_DIR", None)
    assert root_of() == working_directory / ROOT_NAME
    assert root_of("below") == working_directory / "below" / ROOT_NAME
    assert root_of(tmp_path / "a" / ".." / "b") == tmp_path / "b" / ROOT_NAME
    os.environ["DISTTRACK_DIR"] = str(tmp_path)
    assert root_of() == tmp_path / ROOT_NAME


# What is accepted


@pytest.mark.parametrize("name", NAMES)
def test_any_script_is_accepted_in_every_name(name: str) -> None:
    project = name.replace("/", "")
    settings = given_to_init(project=project, group=name, job_type=name, name=name, tags=[name], notes=name)
    assert (settings.project, settings.group, settings.job_type, settings.name) == (project, name, name, name)
    assert (settings.tags, settings.notes) == ((name,), name)


@given(st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\#?%:,;'"), min_size=1, max_size=128))
@example("x" * 128)
@example("👩‍🔬" * 42)
def test_any_visible_text_of_up_to_128_characters_is_a_project_and_an_id(name: str) -> None:
    settings = given_to_init(project=name, id=name)
    assert (settings.project, settings.id) == (name, name)


def test_ids_may_hold_what_projects_may_not_and_the_other_way_round() -> None:
    assert given_to_init(id="a\\b%c").id == "a\\b%c"
    assert given_to_init(project="a,b;c'd").project == "a,b;c'd"
    assert given_to_init(id="x" * 500).id == "x" * 500


def test_notes_may_have_lines() -> None:
    assert given_to_init(notes="first\n\tsecond\n").notes == "first\n\tsecond\n"


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ("one", ("one",)),
        (["b", "a", "b"], ("b", "a")),
        (("a",), ("a",)),
        ({"a"}, ("a",)),
        (frozenset({"a"}), ("a",)),
        ([], ()),
    ],
)
def test_tags_are_kept_once_each_in_their_order(tags: object, kept: tuple[str, ...]) -> None:
    assert given_to_init(tags=tags).tags == kept


def test_a_directory_may_be_a_path() -> None:
    assert given_to_init(dir=PurePosixPath("/data/x")).dir == "/data/x"


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("resume", True, "auto"),
        ("resume", False, None),
        ("resume", "must", "must"),
        ("reinit", True, "finish_previous"),
        ("reinit", False, "return_previous"),
        ("reinit", "default", None),
        ("reinit", "create_new", "create_new"),
        ("anonymous", "must", "must"),
        ("magic", True, True),
        ("magic", {"lr": False}, {"lr": False}),
        ("magic", '{"lr": true}', {"lr": True}),
        ("entity", "my team", "my team"),
        ("save_code", True, True),
    ],
)
def test_what_wandb_takes_is_taken_with_its_meaning(name: str, given: object, kept: object) -> None:
    assert getattr(given_to_init(**{name: given}), name) == kept
    assert getattr(load({name: given}, None, {}), name) == kept


def test_what_magic_records_may_stand_in_a_yaml_file(working_directory: Path) -> None:
    (working_directory / "magic.yaml").write_text("lr: true\nstep_time: false\n")
    assert given_to_init(magic="magic.yaml").magic == {"lr": True, "step_time": False}
    assert load(None, None, {"DISTTRACK_MAGIC": "magic.yaml"}).magic == {"lr": True, "step_time": False}
    assert load(None, None, {"DISTTRACK_MAGIC": "1"}).magic is True
    for wrong in ("nowhere.yaml", "{", "[1", 5, ["lr"]):
        assert "magic=" in refused(magic=wrong).what


@pytest.mark.parametrize("variable", sorted(WANDB_VARIABLES.values()))
def test_a_variable_of_wandb_counts_where_ours_is_not_set(variable: str, working_directory: Path) -> None:
    (name,) = (name for name in WANDB_VARIABLES if WANDB_VARIABLES[name] == variable)
    texts = {"mode": "dryrun", "resume": "auto", "reinit": "true", "anonymous": "allow", "save_code": "true"}
    texts |= {"quiet": "1", "magic": "1", "resume_from": "a?_step=3", "fork_from": "a?_step=3", "dir": "/data"}
    theirs = texts.get(name, "theirs")
    found = load(None, None, {variable: theirs})
    assert found == load(None, None, {f"DISTTRACK_{name.upper()}": theirs}) != Settings()
    if name not in texts:
        assert getattr(load(None, None, {variable: "theirs", f"DISTTRACK_{name.upper()}": "ours"}), name) in (
            "ours",
            ("ours",),
        )


def test_no_key_and_no_host_of_wandb_is_a_setting() -> None:
    environ = {"WANDB_API_KEY": "k" * 40, "WANDB_BASE_URL": "https://x", "WANDB_HOST": "x", "WANDB_USERNAME": "x"}
    assert load(None, None, environ) == Settings()


def test_a_variable_of_wandb_that_cannot_be_used_is_named() -> None:
    with pytest.raises(UsageError, match="there is no such mode"):
        load(None, None, {"WANDB_MODE": "sometimes"})
    with pytest.raises(UsageError, match="WANDB_SAVE_CODE cannot be used"):
        load(None, None, {"WANDB_SAVE_CODE": "perhaps"})


def test_a_run_to_go_on_from_is_named_with_a_step() -> None:
    assert given_to_init(resume_from="abc?_step=7").id == "abc"
    assert given_to_init(fork_from="abc?_step=0", id="def").fork_from == "abc?_step=0"
    for name in ("resume_from", "fork_from"):
        for wrong in ("abc", "abc?_step=", "abc?_step=-1", "abc?_step=1.5", "?_step=1", "a:b?_step=1", "abc?step=1"):
            assert refused(**{name: wrong}).mend


@pytest.mark.parametrize(
    "given",
    [
        {"resume": "allow", "fork_from": "a?_step=1"},
        {"resume": "must", "resume_from": "a?_step=1"},
        {"resume_from": "a?_step=1", "fork_from": "b?_step=1"},
        {"resume_from": "a?_step=1", "id": "b"},
        {"fork_from": "a?_step=1", "id": "a"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any]) -> None:
    assert "cannot be used" in refused(**given).what


# What is refused


@pytest.mark.parametrize("character", [*"/\\#?%:", "\n", "\t", "\0", "\x7f", "\x9b", "\ud800"])
def test_a_project_with_a_forbidden_character_is_refused(character: str) -> None:
    error = refused(project=f"a{character}b")
    assert "project=" in error.what
    assert repr(character) in error.why
    assert error.mend


@pytest.mark.parametrize("character", [*":;,#?/'", "\n", "\t", "\0", "\x7f", "\x9b", "\ud800"])
def test_an_id_with_a_forbidden_character_is_refused(character: str) -> None:
    error = refused(id=f"a{character}b")
    assert "id=" in error.what
    assert repr(character) in error.why
    assert error.mend


@pytest.mark.parametrize("name", ["project", "id", "group", "job_type"])
@pytest.mark.parametrize("value", [" a", "a ", "a\u3000", "\u2028a", "a\n", " "])
def test_blank_ends_are_refused_and_the_text_without_them_named(name: str, value: str) -> None:
    error = refused(**{name: value})
    assert error.why == "it begins or ends with a blank"
    assert repr(value.strip()) in error.mend


@pytest.mark.parametrize("name", ["project", "id", "group", "job_type"])
def test_an_empty_name_is_refused(name: str) -> None:
    assert refused(**{name: ""}).why == "it is empty"


def test_a_project_over_128_characters_is_refused_and_not_shown_in_full() -> None:
    error = refused(project="x" * 129)
    assert "129 characters, more than 128" in error.why
    assert len(str(error)) < 250


@pytest.mark.parametrize("name", ["name", "notes", "dir", "group", "job_type", "journal_dir", "runtime_dir"])
@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"])
def test_text_that_no_file_can_hold_is_refused(name: str, value: str) -> None:
    error = refused(**{name: value})
    assert f"{name}=" in error.what
    assert error.mend == "Leave it out."


@pytest.mark.parametrize("tag", ["", 1, None, b"x", "a\0", "\ud800", ["nested"]])
def test_a_tag_that_is_no_text_is_refused(tag: object) -> None:
    assert "The tag" in refused(tags=["good", tag]).what
    if isinstance(tag, str):
        assert "The tag" in refused(tags=tag).what


@pytest.mark.parametrize(
    ("name", "value", "found", "wanted"),
    [
        ("project", 1, "int", "str"),
        ("project", b"x", "bytes", "str"),
        ("project", Path("x"), "PosixPath", "str"),
        ("id", 1.5, "float", "str"),
        ("id", ["x"], "list", "str"),
        ("group", True, "bool", "str"),
        ("name", {}, "dict", "str"),
        ("dir", 3, "int", "str"),
        ("mode", False, "bool", "str"),
        ("rank", "0", "str", "int"),
        ("resume", 1, "int", "bool or str"),
        ("reinit", 2, "int", "bool or str"),
        ("force", "yes", "str", "bool"),
        ("save_code", 1, "int", "bool"),
        ("entity", 1, "int", "str"),
        ("rank", 1.0, "float", "int"),
        ("rank", True, "bool", "int"),
        ("strict", 1, "int", "bool"),
        ("finish_timeout_s", "60", "str", "float"),
        ("finish_timeout_s", True, "bool", "float"),
        ("tags", 5, "int", "list of str"),
        ("tags", b"ab", "bytes", "str"),
        ("tags", {"a": 1}, "dict", "list of str"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object, found: str, wanted: str) -> None:
    error = refused(**{name: value})
    assert name.removesuffix("s") in error.what
    assert found in error.why or "each tag must be" in error.why
    assert wanted in error.mend


@pytest.mark.parametrize("value", [-1, -(2**70)])
@pytest.mark.parametrize("name", ["rank", "local_rank", "world_size", "finish_timeout_s"])
def test_a_negative_number_is_refused(name: str, value: int) -> None:
    assert refused(**{name: value}).mend == "Pass zero or more."


def test_a_timeout_that_is_no_number_is_refused() -> None:
    assert "no number" in refused(finish_timeout_s=float("nan")).why


def test_a_mode_nobody_defined_is_refused_with_those_there_are() -> None:
    assert refused(mode="onlien").mend == "Use one of online, offline, disabled, dryrun, run, shared."


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("RANK", "one", "'one' is not a number"),
        ("RANK", "1.5", "'1.5' is not a number"),
        ("RANK", "-1", "negative"),
        ("RANK", "9" * 5_000, "is not a number"),
        ("FINISH_TIMEOUT_S", "soon", "'soon' is not a number"),
        ("FINISH_TIMEOUT_S", "nan", "no number"),
        ("STRICT", "maybe", "neither true nor false"),
        ("MODE", "never", "there is no such mode"),
        ("PROJECT", "a/b", "it contains '/'"),
        ("ID", " x", "begins or ends with a blank"),
    ],
)
def test_a_variable_that_cannot_be_used_is_refused(name: str, text: str, why: str) -> None:
    with pytest.raises(UsageError) as error:
        load(None, None, {f"DISTTRACK_{name}": text})
    assert why in error.value.why
    assert error.value.mend


@pytest.mark.parametrize("given", [5, "project", ["project"], b"x"])
def test_settings_that_are_neither_settings_nor_a_dict_are_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="Pass a Settings or a dict"):
        load(given, None, {})


def test_a_settings_object_is_checked_like_everything_else() -> None:
    with pytest.raises(UsageError, match="it contains '/'"):
        load(Settings(project="a/b"), None, {})


# Unknown names


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("projct", "project"),
        ("worldsize", "world_size"),
        ("jobtype", "job_type"),
        ("tag", "tags"),
        ("finish_timeout", "finish_timeout_s"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_near_ones(name: str, near: str) -> None:
    with pytest.raises(UnknownSetting, match=f"Unknown setting '{name}' in settings=.*Did you mean .*{near}") as error:
        load({name: "x"}, None, {})
    assert near in error.value.near


def test_an_unknown_setting_that_is_near_none_is_answered_as_well() -> None:
    with pytest.raises(UnknownSetting, match="See Settings for the names there are") as error:
        load({"zzz": 1}, None, {})
    assert error.value.near == ()


def test_an_unknown_setting_in_a_file_names_the_file(
    user_file: Callable[[str], dict[str, str]], working_directory: Path
) -> None:
    with pytest.raises(UnknownSetting, match=r"in .*config/disttrack/settings\.toml"):
        load(None, None, user_file("projct = 'x'"))
    (working_directory / "disttrack.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(UsageError, match=r"from disttrack\.toml"):
        load(None, None, {})


@pytest.mark.parametrize("text", [b"project = ", b"project = 'caf\xe9'", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_refused_by_its_path(working_directory: Path, text: bytes) -> None:
    (working_directory / "disttrack.toml").write_bytes(text)
    with pytest.raises(UsageError, match=r"disttrack\.toml cannot be read") as error:
        load(None, None, {})
    assert error.value.mend == "Mend the file, or remove it."


def test_a_file_that_cannot_be_opened_is_no_file(working_directory: Path) -> None:
    (working_directory / "disttrack.toml").mkdir()
    assert load(None, None, {}) == Settings()


def test_errors_say_what_why_and_how_and_survive_pickling() -> None:
    with pytest.raises(UnknownSetting) as unknown:
        load({"projct": "x"}, None, {})
    for error in (refused(project="a/b"), unknown.value):
        assert str(error) == f"{error.what}: {error.why}. {error.mend}"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
