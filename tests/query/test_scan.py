"""Histories of many runs in one schema: planned once, and read from the index or from the logs themselves."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from disttrack.errors import UsageError
from disttrack.index.blocks import MAX_MIXED_SCHEMAS
from disttrack.query.reader import Reader
from disttrack.query.scan import Scan, plan_scan, read_scan
from tests.index.logs import RunLog, finished_run, process_of
from tests.query.tables import wide_form


def rows_of(scan: Scan) -> list[dict[str, Any]]:
    return [row for table in read_scan(scan) for row in table.to_pylist()]


def without_index(scan: Scan) -> Scan:
    """Returns the scan as another host has it: the index is not there."""
    return dataclasses.replace(scan, boot="another boot")


def with_index(scan: Scan) -> Scan:
    return scan


FROM = pytest.mark.parametrize("carried", [with_index, without_index], ids=["the index", "the logs"])
Carried = Callable[[Scan], Scan]


def column(scan: Scan, name: str) -> list[Any]:
    return [row[name] for row in rows_of(scan)]


@FROM
def test_runs_that_logged_different_things_are_rows_of_one_schema(tmp_path: Path, carried: Carried) -> None:
    values: Mapping[str, Sequence[Any]] = {
        "number": (0.5, 3, None, True),
        "count": (1, 2, None, 2**60),
        "flag": (True, False, None, True),
        "text": ("é", 1.5, None, [1, None]),
    }
    for number in range(4):
        row = {key: mine[number] for key, mine in values.items() if mine[number] is not None}
        finished_run(tmp_path, [(7, {**row, "loss": math.nan})], f"run{number}")
    scan = plan_scan(tmp_path, "demo")
    assert dict(scan.keys) == {
        "number": "double",
        "count": "int64",
        "flag": "bool",
        "text": "string",
        "loss": "double",
    }
    rows = sorted(rows_of(carried(scan)), key=lambda row: row["run"])
    assert [row["number"] for row in rows] == [0.5, 3.0, None, 1.0]
    assert [row["count"] for row in rows] == [1, 2, None, 2**60]
    assert [row["flag"] for row in rows] == [True, False, None, True]
    assert [row["text"] for row in rows] == ["é", "1.5", None, "[1, null]"]
    assert all(math.isnan(row["loss"]) for row in rows)  # logged, so it is no null
    assert {(row["project"], row["rank"], row["attempt"], row["step"]) for row in rows} == {("demo", 0, 0, 7)}


@FROM
def test_ranks_attempts_keys_and_what_was_superseded_are_as_in_a_history(tmp_path: Path, carried: Carried) -> None:
    log = RunLog(tmp_path)
    first, other, again = process_of(0, 2), process_of(1, 2), process_of(0, 2)
    again.attempt = 1
    for process, steps in ((first, range(6)), (other, range(6)), (again, range(4, 8))):
        for step in steps:
            process.row({"loss": step / 2, "lr": 0.1}, step)
    log.commit_all(first, other, again)
    log.close()
    with Reader(tmp_path, {}) as reader:
        expected = wide_form(reader.snapshot("run1"), ["loss"])
    scan = carried(plan_scan(tmp_path, keys=["loss"]))
    assert scan.schema().names == ["project", "run", "rank", "attempt", "step", "time", "loss"]
    for name in ("rank", "attempt", "step", "time", "loss"):
        assert column(scan, name) == expected[name].tolist()
    everything = carried(plan_scan(tmp_path, keys=["loss"], ranks=[0], superseded=True))
    assert [row["step"] for row in rows_of(everything) if row["attempt"] == 0] == list(range(6))
    assert set(column(everything, "rank")) == {0}


@FROM
def test_values_of_the_config_stand_beside_the_rows_of_their_runs(tmp_path: Path, carried: Carried) -> None:
    for number, config in enumerate(({"lr": 0.1, "model": "a"}, {"lr": 1, "model": {"depth": 2}}, {})):
        log, process = RunLog(tmp_path, run_id=f"run{number}"), process_of()
        process.config(**config)
        process.row({"loss": 1.0}, 0)
        process.end()
        log.commit_all(process)
        log.end()
        log.close()
    scan = plan_scan(tmp_path, config=["lr", "model", "none"])
    rows = sorted(rows_of(carried(scan)), key=lambda row: row["run"])
    assert [row["config.lr"] for row in rows] == [0.1, 1.0, None]
    assert [row["config.model"] for row in rows] == ["a", '{"depth": 2}', None]
    assert [row["config.none"] for row in rows] == [None] * 3


@FROM
def test_filters_choose_runs_and_removed_ones_are_left_out(tmp_path: Path, carried: Carried) -> None:
    for number in range(4):
        finished_run(tmp_path, [(0, {"loss": float(number)})], f"run{number}", project="demo" if number else "other")
    assert len(plan_scan(tmp_path).runs) == 4
    scan = plan_scan(tmp_path, "demo", "loss>1")
    assert len(scan.runs) == 2
    shutil.rmtree(tmp_path / "demo" / "run3" / "log")
    found = column(without_index(scan), "run")
    assert found == ["run2"]
    assert rows_of(carried(plan_scan(tmp_path, "none of that name"))) == []


def test_many_runs_come_in_their_order_whatever_share_of_them_is_read(tmp_path: Path) -> None:
    for number in range(9):
        finished_run(tmp_path, [(step, {"loss": 1.0}) for step in range(number)], f"run{number}")
    scan = plan_scan(tmp_path, keys=["loss"])
    whole = rows_of(scan)
    assert len(whole) == sum(range(9))
    parts = [rows_of(scan.of(scan.runs[start : start + 2])) for start in range(0, 9, 2)]
    assert [row for part in parts for row in part] == whole
    assert rows_of(without_index(scan)) == whole
    assert 50 * len(whole) < scan.size_bytes < 200 * len(whole)


def test_an_index_that_was_made_anew_is_not_trusted(tmp_path: Path) -> None:
    finished_run(tmp_path, [(0, {"loss": 1.0})])
    scan = plan_scan(tmp_path)
    assert scan.index is not None
    path = scan.index.path
    path.rename(path.with_suffix(".old"))
    shutil.copy(path.with_suffix(".old"), path)  # tables that may be of another day
    assert column(scan, "loss") == [1.0]


def test_a_host_that_does_not_see_the_directory_says_so(tmp_path: Path) -> None:
    scan = plan_scan(tmp_path / "nowhere")
    assert len(scan.runs) == 0
    with pytest.raises(UsageError, match="every node sees"):
        rows_of(scan)


@FROM
def test_a_live_run_of_many_kinds_of_rows_is_read_whole(tmp_path: Path, carried: Carried) -> None:
    """Rows beyond so many schemas lie in one block of mappings, and most of these lie in no chunk yet."""
    log, process = RunLog(tmp_path), process_of()
    count = MAX_MIXED_SCHEMAS + 5
    for step in range(count):
        process.row({f"key{step}": f"text {step}"}, step)
    log.commit_all(process)
    log.close()
    with Reader(tmp_path, {}) as reader:
        table = wide_form(reader.snapshot("run1"))
    assert set(table) == {"rank", "attempt", "step", "time", *(f"key{step}" for step in range(count))}
    scan = carried(plan_scan(tmp_path))
    assert len(scan.keys) == count
    for row, step in zip(rows_of(scan), range(count), strict=True):
        assert row[f"key{step}"] == f"text {step}"
