"""run.config: a value once set stays, what is stored is what was set, and nothing in it can stop a training."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import enum
import math
import pickle
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.api.config import Config
from disttrack.api.config_forms import config_dict
from disttrack.api.recorder import Recorder
from disttrack.errors import ConfigError, UsageError
from disttrack.journal.outbox import Outbox
from disttrack.records.classes import RecordClass
from disttrack.records.codec import MAX_RECORD_BYTES, decode, records
from disttrack.records.payloads import ConfigUpdate, RecordKind
from disttrack.records.values import plain
from tests.journal.joins import make_join


@dataclasses.dataclass
class Optimizer:
    name: str = "sgd"
    lr: float = 0.1


@dataclasses.dataclass
class Training:
    epochs: int = 3
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)


class Colour(enum.Enum):
    RED = "red"


class Unshowable:
    __slots__ = ()

    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "journal", make_join())
    yield outbox
    outbox.close()


@pytest.fixture
def recorder(outbox: Outbox) -> Recorder:
    return Recorder(outbox, None, strict=False)


@pytest.fixture
def config(recorder: Recorder) -> Config:
    return Config(
        lambda values: recorder.say(ConfigUpdate(values=values)),
        lambda why: recorder.refuse(why, RecordClass.CONFIG),
    )


def stored(outbox: Outbox) -> list[dict[str, object]]:
    """Returns the updates in the journal, as its readers get them."""
    data = outbox.read(0, 1 << 30)
    found = [record for record in records(data) if record.kind == RecordKind.CONFIG]
    return [decode(data[record.start : record.end], ConfigUpdate).values for record in found]


# What may be given


@pytest.mark.parametrize(
    ("given_config", "found"),
    [
        (None, {}),
        ({}, {}),
        ({"lr": 0.1, "name": "x"}, {"lr": 0.1, "name": "x"}),
        (OrderedDict([("b", 1), ("a", 2)]), {"b": 1, "a": 2}),
        (argparse.Namespace(lr=0.1, epochs=3), {"lr": 0.1, "epochs": 3}),
        (SimpleNamespace(lr=0.1), {"lr": 0.1}),
        (Training(), {"epochs": 3, "optimizer": {"name": "sgd", "lr": 0.1}}),
        ({1: "a", None: "b", "\ud800": "c"}, {"1": "a", "None": "b", "\\ud800": "c"}),
    ],
    ids=["none", "empty", "dict", "ordered", "argparse", "namespace", "dataclass", "odd keys"],
)
def test_a_config_may_be_a_dict_a_namespace_or_a_dataclass(given_config: object, found: dict[str, object]) -> None:
    assert {key: plain(value) for key, value in config_dict(given_config).items()} == found


@pytest.mark.parametrize("wrong", [5, 0.1, "lr=0.1", b"x", ["lr"], ("lr", 0.1), {"lr"}, Training, dict, len, True])
def test_another_type_is_refused_with_what_why_and_how(wrong: object) -> None:
    with pytest.raises(UsageError) as error:
        config_dict(wrong)
    assert error.value.what.startswith("config=")
    assert type(wrong).__name__ in error.value.why
    assert error.value.mend.startswith("Pass a dict, an argparse.Namespace, a dataclass, absl flags")


def test_a_config_of_another_run_may_be_given(config: Config) -> None:
    config.update({"lr": 0.1, "n": 10**30})
    other = Config(lambda values: None)
    other.update(config)
    assert dict(other) == {"lr": 0.1, "n": 10**30}


# Setting and reading


def test_values_are_read_back_by_every_way_there_is(config: Config, outbox: Outbox) -> None:
    config.update({"lr": 0.1})
    config["epochs"] = 3
    config.name = "x"
    assert (config["lr"], config.lr, config.get("lr"), config.get("none")) == (0.1, 0.1, 0.1, None)
    assert (dict(config), config.as_dict()) == ({"lr": 0.1, "epochs": 3, "name": "x"},) * 2
    assert (list(config), len(config), "lr" in config) == (["lr", "epochs", "name"], 3, True)
    assert repr(config) == "{'lr': 0.1, 'epochs': 3, 'name': 'x'}"
    assert stored(outbox) == [{"lr": 0.1}, {"epochs": 3}, {"name": "x"}]


def test_a_key_that_is_not_there_is_named_with_those_that_are(config: Config) -> None:
    with pytest.raises(AttributeError, match="config has no key 'lr'; it has none yet"):
        _ = config.lr
    config.update({"learning_rate": 0.1})
    with pytest.raises(AttributeError, match="it has learning_rate"):
        _ = config.lr
    with pytest.raises(KeyError):
        _ = config["lr"]
    assert not hasattr(config, "lr")


def test_a_copy_is_not_the_config(config: Config) -> None:
    config.update({"lr": 0.1})
    config.as_dict()["lr"] = 5
    assert config.lr == 0.1


def test_defaults_set_only_what_is_missing(config: Config, outbox: Outbox) -> None:
    config.update({"lr": 0.1})
    config.setdefaults({"lr": 0.5, "epochs": 3})
    config.setdefaults(argparse.Namespace(lr=1))
    assert dict(config) == {"lr": 0.1, "epochs": 3}
    assert stored(outbox) == [{"lr": 0.1}, {"epochs": 3}]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (10**30, 10**30),
        ([1, -(2**64)], [1, -(2**64)]),
        ({"n": {"m": 2**64}}, {"n": {"m": 2**64}}),
        ((1, 2), [1, 2]),
        (Path("/data"), "/data"),
        (Colour.RED, "red"),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        ("\ud800", "\\ud800"),
        (None, None),
        (True, True),
        (object, "<class 'object'>"),
        ([1, object], "[1, <class 'object'>]"),
        (Unshowable(), "<Unshowable>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_read_back_is_what_was_stored(config: Config, outbox: Outbox, value: object, found: object) -> None:
    config["key"] = value
    assert config["key"] == found
    assert type(config["key"]) is type(found)
    assert stored(outbox) == [{"key": found}]


def test_values_without_end_are_kept_as_what_can_be_shown_of_them(config: Config, outbox: Outbox) -> None:
    loop: dict[str, object] = {}
    loop["self"] = loop
    deep: dict[str, object] = {}
    for _ in range(2_000):
        deep = {"down": deep}
    config.update({"loop": loop, "deep": deep, "lr": 0.1})
    assert config.loop == "{'self': {...}}"
    assert config.lr == 0.1
    assert isinstance(config.deep, str)
    assert stored(outbox) == [dict(config)]


def test_a_value_too_large_for_a_record_is_counted_and_stops_nothing(
    config: Config, recorder: Recorder, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    config["blob"] = "x" * MAX_RECORD_BYTES
    config["lr"] = 0.1
    assert stored(outbox) == [{"lr": 0.1}]
    assert recorder.counts[:2] == (2, 1)
    assert "config['blob'] is not stored" in caplog.text


# A value once set stays


def test_another_value_is_refused_and_changes_nothing(config: Config, outbox: Outbox) -> None:
    config.update({"lr": 0.1, "n": 10**30})
    for change in ({"epochs": 3, "lr": 0.2}, Optimizer(lr=0.2), argparse.Namespace(lr=0.2)):
        with pytest.raises(ConfigError, match=r"allow_val_change=True") as error:
            config.update(change)
        assert (error.value.key, error.value.old, error.value.new) == ("lr", 0.1, 0.2)
    with pytest.raises(ConfigError):
        config["lr"] = 0.2
    with pytest.raises(ConfigError):
        config.lr = 0.2
    with pytest.raises(ConfigError) as error:
        config.update({"n": 2**64})
    assert (error.value.old, error.value.new) == (10**30, 2**64)
    assert dict(config) == {"lr": 0.1, "n": 10**30}
    assert stored(outbox) == [{"lr": 0.1, "n": 10**30}]


def test_a_change_that_is_meant_is_stored(config: Config, outbox: Outbox) -> None:
    config.update({"lr": 0.1, "epochs": 3})
    config.update({"lr": 0.2, "epochs": 3}, allow_val_change=True)
    assert dict(config) == {"lr": 0.2, "epochs": 3}
    assert stored(outbox) == [{"lr": 0.1, "epochs": 3}, {"lr": 0.2}]


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0, False), ([1], [True]), ({"a": 1}, {"a": 1.0})])
def test_equal_values_of_another_type_are_a_change(config: Config, old: object, new: object) -> None:
    config["key"] = old
    with pytest.raises(ConfigError):
        config["key"] = new


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.dictionaries(st.text(), NESTED, max_size=4))
def test_setting_the_same_again_is_no_change(values: dict[str, Any]) -> None:
    stores: list[dict[str, Any]] = []
    config = Config(stores.append)
    config.update(values)
    config.update(pickle.loads(pickle.dumps(values)))  # equal, and not the same objects
    config.update(dict(reversed(values.items())))
    assert len(stores) == bool(values)


def test_nan_is_itself_wherever_it_stands(config: Config, outbox: Outbox) -> None:
    for _ in range(2):
        config.update({"nan": float("nan"), "list": [1, float("nan")], "dict": {"a": {"b": float("nan")}}})
    assert math.isnan(config.nan)
    assert len(stored(outbox)) == 1
    with pytest.raises(ConfigError):
        config.nan = 1.0


# Copies


def test_a_copied_or_pickled_config_is_a_plain_dict(config: Config) -> None:
    config.update({"lr": 0.1, "layers": [1, 2]})
    for again in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert type(again) is dict
        assert again == {"lr": 0.1, "layers": [1, 2]}


def test_a_config_that_holds_a_process_of_its_own_can_be_pickled() -> None:
    lock = threading.Lock()

    def store(values: dict[str, Any]) -> None:
        with lock:  # what cannot be pickled
            pass

    config = Config(store)
    config.lr = 0.1
    assert pickle.loads(pickle.dumps(config)) == {"lr": 0.1}


def test_a_dataclass_that_holds_what_cannot_be_copied_is_kept_as_far_as_it_can_be(config: Config) -> None:
    @dataclasses.dataclass
    class Locked:
        lock: Any
        inner: Training

    config.update(Locked(threading.Lock(), Training()))
    assert config["inner"] == {"epochs": 3, "optimizer": {"name": "sgd", "lr": 0.1}}
    assert "lock" in config["lock"]
