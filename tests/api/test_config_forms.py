"""The forms a config may come in: each becomes the same keys and values, and what is none of them is refused."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from absl import flags

import disttrack
from disttrack.api.config import Config
from disttrack.api.config_forms import chosen_keys, config_dict, default_config
from disttrack.environments.processes import in_notebook
from disttrack.errors import ConfigError, UsageError
from tests.road.site import Site


class Layers(NamedTuple):
    width: int = 8
    depth: int = 2


def absl_flags() -> flags.FlagValues:
    values = flags.FlagValues()  # type: ignore[no-untyped-call]  # absl's own
    flags.DEFINE_float("lr", 0.1, "learning rate", flag_values=values)
    flags.DEFINE_list("layers", ["a", "b"], "layers", flag_values=values)
    values(["train.py", "--lr=0.5"])
    return values


def yaml_file(directory: Path, content: str, name: str = "config.yaml") -> Path:
    path = directory / name
    path.write_text(content, encoding="utf-8")
    return path


# Each form


def test_absl_flags_are_a_config_as_they_were_parsed() -> None:
    assert config_dict(absl_flags()) == {"lr": 0.5, "layers": ["a", "b"]}
    assert "lr" not in config_dict(flags)  # the module stands for its FLAGS, in which nobody defined lr
    assert config_dict(flags).keys() == config_dict(flags.FLAGS).keys()


def test_a_named_tuple_is_a_config() -> None:
    assert config_dict(Layers()) == {"width": 8, "depth": 2}


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_yaml_file_may_be_plain_or_in_wandbs_form_or_both(tmp_path: Path, as_path: type[Any]) -> None:
    path = yaml_file(
        tmp_path,
        """
        wandb_version: 1
        _wandb: {value: {cli_version: 0.1}}
        lr: {value: 1e-4, desc: learning rate}
        epochs: {value: 3}
        optimizer: {name: adam, value: 5}
        described: {desc: only}
        name: Größe
        layers: [1, 2]
        model.width: 8
        nothing:
        """,
    )
    assert config_dict(as_path(path)) == {
        "lr": 1e-4,
        "epochs": 3,
        "optimizer": {"name": "adam", "value": 5},
        "described": {"desc": "only"},
        "name": "Größe",
        "layers": [1, 2],
        "model.width": 8,
        "nothing": None,
    }


@pytest.mark.parametrize("number", ["1e-4", "+1E5", "-3e2", "1.5e3", "2.", "1_000e1", ".5"])
def test_numbers_in_yaml_are_numbers_as_python_writes_them(tmp_path: Path, number: str) -> None:
    found = config_dict(yaml_file(tmp_path, f"x: {number}\n"))["x"]
    assert (type(found), found) == (float, float(number))


def test_an_empty_yaml_file_is_an_empty_config(tmp_path: Path) -> None:
    assert config_dict(yaml_file(tmp_path, "# nothing yet\n")) == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("- a\n- b\n", "it holds a list"),
        ("just text", "it holds a str"),
        ("a: [1, 2", "it is no YAML"),
        ("a: !!python/object/apply:os.getcwd []", "it is no YAML"),
        ("[" * 5_000, "it is no YAML"),
    ],
)
def test_a_yaml_file_that_is_no_config_is_refused_and_runs_no_code(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(UsageError, match=r"config\.yaml") as error:
        config_dict(yaml_file(tmp_path, content))
    assert why in error.value.why
    assert error.value.mend


def test_a_file_that_is_not_there_or_no_text_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config='nowhere\.yaml'.*path of a YAML file"):
        config_dict("nowhere.yaml")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(UsageError, match=r"image\.png"):
        config_dict(tmp_path / "image.png")


# Defaults, and which keys


def test_what_a_config_lacks_comes_from_the_defaults_file_and_those_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_config(None) == {}
    yaml_file(tmp_path, "lr: 1\nepochs: 1\nseed: 1\nwidth: 1\n", "base.yaml")
    yaml_file(tmp_path, "lr: 2\nepochs: 2\nseed: 2\n", "more.yaml")
    yaml_file(tmp_path, "lr: {value: 3}\nepochs: {value: 3}\n", "config-defaults.yaml")
    monkeypatch.setenv("DISTTRACK_CONFIG_PATHS", "base.yaml, more.yaml")
    with disttrack.init(project="p", config={"lr": 4}) as run:
        assert dict(run.config) == {"lr": 4, "epochs": 3, "seed": 2, "width": 1}
    with disttrack.init(project="p", settings={"config_paths": "base.yaml"}) as run:
        assert run.config.seed == 1
    with pytest.raises(UsageError, match="config_paths="):
        disttrack.init(settings={"config_paths": [1]})


def test_keys_may_be_chosen_or_left_out() -> None:
    values = {"lr": 1, "epochs": 2, "model.width": 3}
    assert chosen_keys(values, ["lr", "model.width", "absent"], None) == {"lr": 1, "model.width": 3}
    assert chosen_keys(values, None, ("lr",)) == {"epochs": 2, "model.width": 3}
    assert chosen_keys(values, "lr", None) == {"lr": 1}
    assert chosen_keys(values, [], None) == {}
    assert chosen_keys(values, None, None) == values
    with pytest.raises(UsageError, match="together"):
        chosen_keys(values, ["lr"], ["epochs"])
    with pytest.raises(UsageError, match="config_exclude_keys=5"):
        chosen_keys(values, None, 5)


def test_the_chosen_keys_are_those_of_the_config_and_not_of_its_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    yaml_file(tmp_path, "seed: 1\n", "config-defaults.yaml")
    with disttrack.init(project="p", config={"lr": 1, "data": 2}, config_exclude_keys=["data"]) as run:
        assert dict(run.config) == {"seed": 1, "lr": 1}
    with disttrack.init(project="p", config={"lr": 1, "data": 2}, config_include_keys=["data"]) as run:
        assert dict(run.config) == {"seed": 1, "data": 2}


def test_yaml_is_loaded_only_for_a_yaml_file(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.script("lr: 0.1\n", "config.yaml")
    output = site.python(
        site.script(
            """
            import sys, disttrack
            disttrack.init(mode="disabled", config={"lr": 1}).finish()
            print("yaml" in sys.modules)
            disttrack.init(mode="disabled", config="config.yaml").finish()
            print("yaml" in sys.modules)
            """
        )
    )
    assert output.split() == ["False", "True"]


# What may change, and what is too large


def test_a_value_may_change_where_init_or_the_settings_say_so() -> None:
    ways: list[dict[str, Any]] = [{"allow_val_change": True}, {"settings": {"allow_val_change": True}}]
    for arguments in ways:
        with disttrack.init(project="p", config={"lr": 1}, **arguments) as run:
            run.config.lr = 2
            run.config.update({"lr": 3})
            assert run.config.lr == 3
            with pytest.raises(ConfigError):
                run.config.update({"lr": 4}, allow_val_change=False)
    with disttrack.init(project="p", config={"lr": 1}) as run, pytest.raises(ConfigError):
        run.config.lr = 2


def test_a_notebook_is_known_by_the_kernel_of_its_shell() -> None:
    class Terminal:
        pass

    class Notebook:
        kernel = object()

    class Module:
        def __init__(self, shell: object) -> None:
            self.shell = shell

        def get_ipython(self) -> object:
            return self.shell

    shells = (Notebook(), Terminal(), None)
    assert [in_notebook({"IPython": Module(shell)}) for shell in shells] == [True, False, False]
    assert not in_notebook({})
    assert not in_notebook(sys.modules)


def test_a_value_over_ten_megabytes_is_refused_by_name_counted_and_still_readable_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        disttrack.init(project="p", config={"lr": 1, "blob": "x" * 10_000_001, "fits": "x" * 9_000_000}) as run,
    ):
        assert len(run.config.blob) == 10_000_001
        receipt = run.finish()
    assert "config['blob'] is not stored: it takes 10,000,006 bytes" in caplog.text
    assert (receipt.logged, receipt.stored, receipt.dropped) == (2, 1, 1)
    assert [(drop.record_class, drop.reason, drop.count) for drop in receipt.drops] == [("config", "invalid", 1)]
    stored = Site(tmp_path).only_run()
    assert (stored["config"]["lr"], "blob" in stored["config"], len(stored["config"]["fits"])) == (1, False, 9_000_000)
    assert stored["receipt"]["dropped"] == 1


def test_a_config_larger_than_a_record_is_stored_in_several() -> None:
    stores: list[dict[str, Any]] = []
    config = Config(stores.append)
    config.update({f"part{number}": "x" * 9_999_000 for number in range(5)})
    assert [list(values) for values in stores] == [["part0", "part1", "part2"], ["part3", "part4"]]


def test_keys_with_dots_are_kept_as_they_are_and_can_be_filtered_by(tmp_path: Path) -> None:
    with disttrack.init(project="p", config={"optimizer.lr": 0.1, "a.b": {"c": 2}, ".": 3, "x.": 4}):
        pass
    assert Site(tmp_path).only_run()["config"] == {"optimizer.lr": 0.1, "a.b": {"c": 2}, ".": 3, "x.": 4}
    with disttrack.Api() as api:
        assert len(api.runs(filters="config.optimizer.lr:0.1")) == len(api.runs(filters="config.a.b.c:2")) == 1
