"""Series in long and in wide form: order, merging, types, choices."""

from __future__ import annotations

import math
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from disttrack.errors import RunNotFound
from disttrack.index.queries import Vanished
from disttrack.index.snapshots import Snapshot
from disttrack.query.history import Value, long_form, values_of
from disttrack.query.reader import Reader
from tests.index.logs import START_US, RunLog, finished_run, process_of
from tests.query.tables import wide_form


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Reader(tmp_path, {}) as reader:
        yield reader


def snapshot(reader: Reader) -> Snapshot:
    return reader.snapshot("run1")


def told(values: Iterator[Value]) -> list[tuple[int, int, int, str, object]]:
    return [(value.rank, value.attempt, value.step, value.key, value.value) for value in values]


def test_long_form_has_every_value_with_its_type_and_time(tmp_path: Path) -> None:
    data = {"f": 0.5, "i": 3, "b": True, "s": "é", "n": None, "l": [1, None], "big": 2**90, "d": {"x": 1}}
    finished_run(tmp_path, [(7, data)], "run1")
    values = list(long_form(tmp_path, "run1"))
    time = (START_US + 1_000) / 1e6
    assert values == [
        Value("run1", 0, 0, 7, time, key, value, kind)  # type: ignore[arg-type] # a list of literals is one of str
        for key, value, kind in [
            ("f", 0.5, "float"),
            ("i", 3, "int"),
            ("b", True, "bool"),
            ("s", "é", "str"),
            ("n", None, "null"),
            ("l", [1, None], "json"),
            ("big", 2**90, "int"),
            ("d.x", 1, "int"),
        ]
    ]
    assert [type(value.value) for value in values] == [float, int, bool, str, type(None), list, int, int]


def test_values_come_by_rank_attempt_source_and_step(tmp_path: Path, reader: Reader) -> None:
    log = RunLog(tmp_path)
    low, high, again = process_of(0, 2), process_of(1, 2), process_of(0, 2)
    again.attempt = 1
    helper = process_of(0, 1, parent=low.join.incarnation)
    helper.role = "helper"
    for process, steps in ((high, (2, 0)), (again, (1,)), (helper, (0, 1)), (low, (3, 1))):
        for step in steps:
            process.row({"loss": process.time_us % 7 + step / 8}, step)
    log.commit_all(high, again, helper, low)
    log.close()
    assert [place[:3] for place in told(values_of(snapshot(reader), None, None, superseded=True))] == [
        *[(0, 0, 1), (0, 0, 3)],
        *[(0, 0, 0), (0, 0, 1)],  # the helper's: under its parent's rank, not mixed with its rows
        (0, 1, 1),
        *[(1, 0, 0), (1, 0, 2)],
    ]


def test_a_key_logged_again_at_its_step_has_the_later_value_in_the_first_ones_place(
    tmp_path: Path, reader: Reader
) -> None:
    process = process_of()
    process.row({"a": 1.0, "b": 1.0}, 5)
    process.row({"c": 1}, 5)
    process.row({"b": 2.0, "a": "text"}, 5)
    process.row({"a": 0.0}, 4)
    log = RunLog(tmp_path)
    log.commit((process, 2, 4))
    log.commit((process, 0, 2))  # and arrival is no order
    log.close()
    values = list(values_of(snapshot(reader), None, None))
    assert [(value.step, value.key, value.value) for value in values] == [
        (4, "a", 0.0),
        (5, "a", "text"),
        (5, "b", 2.0),
        (5, "c", 1),
    ]
    assert [round(value.time * 1e6) - START_US for value in values] == [4_000, 3_000, 3_000, 2_000]
    wide = wide_form(snapshot(reader))
    assert list(wide) == ["rank", "attempt", "step", "time", "a", "b", "c"]
    assert wide["a"].tolist() == [0.0, "text"]
    assert wide["time"].tolist() == [(START_US + 4_000) / 1e6, (START_US + 3_000) / 1e6]


def test_keys_and_ranks_can_be_chosen(tmp_path: Path, reader: Reader) -> None:
    log, processes = RunLog(tmp_path), [process_of(rank, 3) for rank in (1, 2)]
    for process in processes:
        process.row({"a": 1.0, "b": 2.0, "c": 3.0}, 0)
    log.commit_all(*processes)
    log.close()
    run = snapshot(reader)
    assert told(values_of(run, ["c", "a"], [2, 9])) == [(2, 0, 0, "a", 1.0), (2, 0, 0, "c", 3.0)]
    assert (
        list(values_of(run, ["nobody"], None)) == list(values_of(run, [], None)) == list(values_of(run, None, [])) == []
    )
    assert wide_form(run, ["c", "a"], "primary")["rank"].tolist() == [1]
    assert list(wide_form(run, ["c", "a"])) == ["rank", "attempt", "step", "time", "c", "a"]
    assert wide_form(run, None, "all")["rank"].tolist() == [1, 2]
    empty = wide_form(run, ["nobody"])
    assert {key: len(column) for key, column in empty.items()} == dict.fromkeys(
        ["rank", "attempt", "step", "time", "nobody"], 0
    )


@pytest.mark.parametrize("pass_values", [1, 7, 64, 10**9])
def test_passes_of_any_size_give_the_same(pass_values: int, tmp_path: Path, reader: Reader) -> None:
    log, processes = RunLog(tmp_path), [process_of(rank, 3) for rank in range(3)]
    rng = np.random.default_rng(0)
    for process in processes:
        for _ in range(40):
            step = int(rng.integers(0, 12))
            process.row({"a": float(step)} if step % 3 else {"a": step, "b": "t"}, step)
    log.commit_all(*processes)
    log.close()
    run = snapshot(reader)
    assert list(values_of(run, None, None, pass_values)) == list(values_of(run, None, None))


def test_columns_of_the_wide_form_keep_what_they_can(tmp_path: Path, reader: Reader) -> None:
    process = process_of()
    process.row({"f": 0.5, "i": 1, "gap": 3, "huge": 2**60, "mix": 1, "b": True, "s": "t", "l": [1, 2]}, 0)
    process.row({"f": -0.0, "i": 2**62, "mix": 0.5, "b": False, "s": None, "l": [[1], 2]}, 1)
    log = RunLog(tmp_path)
    log.commit_all(process)
    log.close()
    wide = wide_form(snapshot(reader))
    assert {key: column.dtype for key, column in wide.items()} == {
        **dict.fromkeys(["rank", "attempt", "step", "i"], np.dtype(np.int64)),
        **dict.fromkeys(["time", "f", "gap", "mix"], np.dtype(np.float64)),
        **dict.fromkeys(["huge", "b", "s", "l"], np.dtype(object)),
    }
    assert wide["i"].tolist() == [1, 2**62]
    assert math.copysign(1, wide["f"][1]) == -1
    assert (wide["gap"][0], math.isnan(wide["gap"][1])) == (3.0, True)
    assert wide["huge"].tolist() == [2**60, None]  # as a float it would be exact by luck only
    assert wide["mix"].tolist() == [1.0, 0.5]
    assert wide["b"].tolist() == [True, False]
    assert wide["s"].tolist() == ["t", None]
    assert wide["l"].tolist() == [[1, 2], [[1], 2]]


def test_metrics_named_like_the_first_columns_are_not_lost(tmp_path: Path, reader: Reader) -> None:
    finished_run(tmp_path, [(3, {"step": 30, "rank": 5, "step_logged": 1})])
    wide = wide_form(snapshot(reader))
    assert wide["step"].tolist() == [3]
    assert wide["rank_logged"].tolist() == [5]
    assert sorted([wide["step_logged"].tolist(), wide["step_logged_logged"].tolist()]) == [[1], [30]]


def test_every_bit_comes_back_from_the_tail_and_from_chunks(tmp_path: Path, reader: Reader) -> None:
    patterns = [0x7FF8000000000001, 0x7FF0000000000001, 0xFFF8DEADBEEF0001, 0x8000000000000000, 0x0000000000000001]
    floats = [struct.unpack("<d", struct.pack("<Q", pattern))[0] for pattern in patterns] + [math.inf, -math.inf, 0.1]
    ints = [2**63 - 1, -(2**63), 0, -1, 2**53 + 1, 1, 2, 3]
    process = process_of()
    for step, (f, i) in enumerate(zip(floats, ints, strict=True)):
        process.row({"f": f, "i": i}, step)
        process.row({"f2": f, "i2": i, "text": "t"}, step)
    log = RunLog(tmp_path)
    log.commit_all(process)
    for _ in ("live", "ended"):
        values = list(values_of(snapshot(reader), None, None))
        for key in ("f", "f2"):
            found = [value.value for value in values if value.key == key]
            assert [struct.pack("<d", value) for value in found] == [struct.pack("<d", value) for value in floats]
        for key in ("i", "i2"):
            assert [value.value for value in values if value.key == key] == ints
        log.end()
    log.close()


def test_late_steps_find_their_place_among_sealed_ones(tmp_path: Path) -> None:
    finished = RunLog(tmp_path)
    process = process_of()
    for step in (5, 6, 7):
        process.row({"loss": float(step)}, step)
    finished.commit_all(process)
    finished.end()
    assert [value.step for value in long_form(tmp_path, "run1")] == [5, 6, 7]
    process.row({"loss": 1.0}, 1)
    process.row({"loss": 0.6}, 6)
    finished.commit_all(process)
    finished.end()
    finished.close()
    assert [(value.step, value.value) for value in long_form(tmp_path, "run1")] == [
        (1, 1.0),
        (5, 5.0),
        (6, 0.6),
        (7, 7.0),
    ]


def test_a_run_that_is_not_there_raises_at_the_first_value(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound):
        next(long_form(tmp_path, "run1"))


def test_a_run_removed_while_it_is_read_is_said_to_be_gone(tmp_path: Path) -> None:
    finished_run(tmp_path, [(step, {"loss": 0.5}) for step in range(10)])
    with Reader(tmp_path, {}) as one, Reader(tmp_path, {}) as other:
        run = one.snapshot("run1")
        shutil.rmtree(tmp_path / "demo" / "run1")
        assert other.runs() == []
        values = values_of(run, None, None)
        with pytest.raises(Vanished):
            next(values)
