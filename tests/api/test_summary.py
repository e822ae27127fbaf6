"""run.summary: the last value of everything logged, and what is set by hand."""

from __future__ import annotations

import copy
import math
import pickle
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.api.recorder import Recorder
from disttrack.api.summary import Summary
from disttrack.journal.outbox import Outbox
from disttrack.records.codec import decode, records
from disttrack.records.payloads import RecordKind, SummaryUpdate
from tests.journal.joins import make_join


class Rank:
    """What a run does for its summary, without a run: the journal, and who writes it."""

    def __init__(self, directory: Path | None, *, strict: bool = False) -> None:
        """directory is None where nothing is written: mode="disabled", or no disk that takes a journal."""
        self.outbox = Outbox(directory / "first", make_join()) if directory is not None else None
        self.recorder = Recorder(self.outbox, None, strict=strict)
        self.summary = Summary(lambda: self.outbox, self.store)

    def store(
        self, values: dict[str, Any], removed: tuple[str, ...] = (), problems: list[tuple[str, str]] | None = None
    ) -> None:
        self.recorder.say(SummaryUpdate(values=values, removed=removed))
        if problems:
            self.recorder.leave_out(problems)

    def log(self, values: Mapping[str, object], step: int | None = None) -> None:
        self.recorder.row(values, step, None)

    def fork(self, directory: Path) -> None:
        """Goes on with a journal of its own, as a forked child does."""
        self.close()
        self.outbox = Outbox(directory / "second", make_join())
        self.recorder = Recorder(self.outbox, None, strict=False)

    def close(self) -> None:
        if self.outbox is not None:
            self.outbox.close()

    def stored(self) -> list[SummaryUpdate]:
        """Returns the updates in the journal, as its readers get them."""
        assert self.outbox is not None
        data = self.outbox.read(0, 1 << 30)
        found = [record for record in records(data) if record.kind == RecordKind.SUMMARY]
        return [decode(data[record.start : record.end], SummaryUpdate) for record in found]


@pytest.fixture
def rank(tmp_path: Path) -> Iterator[Rank]:
    rank = Rank(tmp_path)
    yield rank
    rank.close()


@pytest.fixture
def nowhere() -> Rank:
    """Returns a rank that writes nothing."""
    return Rank(None)


# What was logged


def test_the_last_value_of_each_key_counts(rank: Rank) -> None:
    assert dict(rank.summary) == {}
    for step in range(100):
        rank.log({"loss": 1 / (step + 1), "text": f"step {step}"})
    rank.log({"acc": 0.5})
    assert dict(rank.summary) == {"loss": 0.01, "text": "step 99", "acc": 0.5}
    rank.log({"loss": 7})
    assert rank.summary["loss"] == 7


def test_the_last_call_counts_whatever_its_step(rank: Rank) -> None:
    rank.log({"loss": 1.0}, 100)
    rank.log({"loss": 2.0}, 5)
    assert rank.summary["loss"] == 2.0


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, True),
        (False, False),
        (1, 1),
        (0.5, 0.5),
        (2**63, 2**63),
        (10**400, 10**400),
        ("text", "text"),
        (None, None),
        ([1, [2**64]], [1, [2**64]]),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (b"x", "x"),
    ],
    ids=lambda value: f"{type(value).__name__} {value!s:.9}",
)
def test_a_value_keeps_its_type_logged_or_set_by_hand(rank: Rank, nowhere: Rank, value: object, found: object) -> None:
    rank.log({"logged": value})
    rank.log({"logged": value, "beside": "text"})  # the other kind of row
    rank.summary["set"] = value
    nowhere.summary["set"] = value
    for kept in (rank.summary["logged"], rank.summary["set"], nowhere.summary["set"]):
        assert kept == found
        assert type(kept) is type(found)


@pytest.mark.parametrize("raw", [0xFFF8_0000_DEAD_BEEF, 0x8000_0000_0000_0000, 0x7FF0_0000_0000_0000])
def test_a_float_keeps_every_bit(rank: Rank, raw: int) -> None:
    [value] = struct.unpack("<d", struct.pack("<Q", raw))
    rank.log({"logged": value})
    rank.summary["set"] = value
    for kept in rank.summary.values():
        assert struct.unpack("<Q", struct.pack("<d", kept)) == (raw,)


def test_nested_values_have_dotted_keys(rank: Rank) -> None:
    rank.log({"train": {"loss": 0.5, "best": {"acc": True}}})
    rank.summary["eval"] = {"loss": 0.25}
    assert dict(rank.summary) == {"train.loss": 0.5, "train.best.acc": True, "eval.loss": 0.25}


def test_reading_again_and_again_sees_what_came_since(rank: Rank) -> None:
    for step in range(200):
        rank.log({"loss": float(step), f"key {step}": step})  # a new schema each time
        assert rank.summary["loss"] == step
    assert len(rank.summary) == 201
    assert len(list(rank.summary)) == 201


def test_more_than_one_reading_of_the_journal_comes_to_the_same(rank: Rank) -> None:
    for step in range(60):
        rank.log({"step": step, "text": "x" * 50_000})
    assert rank.outbox is not None
    assert rank.outbox.end > 2 << 20
    assert rank.summary["step"] == 59
    assert rank.summary["text"] == "x" * 50_000


# Set by hand


def test_what_is_set_by_hand_counts_until_it_is_logged_again(rank: Rank) -> None:
    rank.log({"loss": 1.0})
    rank.summary["loss"] = 0.5
    assert rank.summary["loss"] == 0.5
    rank.log({"acc": 1})
    assert rank.summary["loss"] == 0.5
    rank.log({"loss": 2.0})
    assert rank.summary["loss"] == 2.0
    assert [update.values for update in rank.stored()] == [{"loss": 0.5}]


def test_several_keys_are_one_record(rank: Rank) -> None:
    rank.summary.update({"best": 0.1, "at": {"step": 5}}, done=True)
    rank.summary.update(done=False)
    rank.summary.update()
    assert dict(rank.summary) == {"best": 0.1, "at.step": 5, "done": False}
    assert [update.values for update in rank.stored()] == [
        {"best": 0.1, "at.step": 5, "done": True},
        {"done": False},
        {},
    ]


def test_a_removed_key_is_gone_until_it_comes_again(rank: Rank) -> None:
    rank.log({"loss": 1.0, "acc": 0.5})
    del rank.summary["loss"]
    assert dict(rank.summary) == {"acc": 0.5}
    assert "loss" not in rank.summary
    with pytest.raises(KeyError):
        del rank.summary["loss"]
    assert rank.summary.pop("acc") == 0.5
    assert len(rank.summary) == 0
    assert [update.removed for update in rank.stored()] == [("loss",), ("acc",)]
    rank.log({"loss": 2.0})
    assert dict(rank.summary) == {"loss": 2.0}


def test_what_cannot_be_kept_costs_only_its_own_key(rank: Rank, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        rank.summary.update({"good": 1, "bad": object()})
        rank.summary["worse"] = object()
    assert dict(rank.summary) == {"good": 1}
    assert rank.recorder.counts.values == 4
    assert caplog.text.count("left out 'bad'") == caplog.text.count("left out 'worse'") == 1


def test_strict_settings_raise_what_cannot_be_kept(tmp_path: Path) -> None:
    strict = Rank(tmp_path, strict=True)
    with pytest.raises(ValueError, match=r"bad: .*has no plain form"):
        strict.summary["bad"] = object()


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
UPDATES = st.lists(
    st.tuples(st.sampled_from(["log", "set", "remove"]), st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=3)),
    max_size=12,
)


@settings(max_examples=50)
@given(updates=UPDATES, looks=st.sets(st.integers(0, 11)))
def test_any_order_of_calls_ends_with_the_last_values(
    tmp_path_factory: pytest.TempPathFactory, updates: list[tuple[str, dict[str, object]]], looks: set[int]
) -> None:
    rank = Rank(tmp_path_factory.mktemp("rank"))
    expected: dict[str, object] = {}
    for number, (verb, values) in enumerate(updates):
        if verb == "log":
            rank.log(values)
            expected |= values
        elif verb == "set":
            rank.summary.update(values)
            expected |= values
        else:
            for key in values.keys() & expected.keys():
                del rank.summary[key]
                del expected[key]
        if number in looks:  # looking in between changes nothing
            assert repr(sorted(rank.summary.items())) == repr(sorted(expected.items()))
    assert repr(sorted(rank.summary.items())) == repr(sorted(expected.items()))
    rank.close()


# Where it is read from


def test_without_a_journal_what_is_set_by_hand_is_still_there(nowhere: Rank) -> None:
    nowhere.summary.update({"best": 10**30, "nested": {"a": 1}})
    nowhere.summary["best"] = min(nowhere.summary["best"], 5)
    assert dict(nowhere.summary) == {"best": 5, "nested.a": 1}
    del nowhere.summary["best"]
    assert dict(nowhere.summary) == {"nested.a": 1}


def test_a_forked_child_reads_its_own_journal_and_keeps_what_it_knew(rank: Rank, tmp_path: Path) -> None:
    for step in range(20):
        rank.log({"loss": float(step), "before": step})
    assert rank.summary["loss"] == 19
    rank.fork(tmp_path)
    assert dict(rank.summary) == {"loss": 19.0, "before": 19}
    for step in range(50):
        rank.log({"other": step, "text": "x" * 40, "flag": True})  # schema 0 of this journal is another one
        rank.log({"loss": 0.5})
    assert dict(rank.summary) == {"loss": 0.5, "before": 19, "other": 49, "text": "x" * 40, "flag": True}


def test_threads_may_read_while_another_logs(rank: Rank) -> None:
    failures: list[Exception] = []
    done = threading.Event()

    def look() -> None:
        try:
            while not done.is_set():
                for key, value in rank.summary.items():
                    assert isinstance(value, float), key
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for step in range(1_000):
        rank.log({"loss": float(step), f"k{step % 7}": 0.5})
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert rank.summary["loss"] == 999
    assert len(rank.summary) == 8


def test_a_copied_or_pickled_summary_is_a_plain_dict(rank: Rank) -> None:
    rank.log({"loss": 0.5, "best": math.inf})
    for again in (copy.copy(rank.summary), copy.deepcopy(rank.summary), pickle.loads(pickle.dumps(rank.summary))):
        assert type(again) is dict
        assert again == {"loss": 0.5, "best": math.inf}
    assert repr(rank.summary) == "{'loss': 0.5, 'best': inf}"


def test_an_update_takes_what_a_dict_takes(rank: Rank) -> None:
    rank.summary.update([("a", 1), ("b", 2)], c=3)
    assert dict(rank.summary) == {"a": 1, "b": 2, "c": 3}
