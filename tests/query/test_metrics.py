"""Aggregates of metrics: of whole runs, whatever order words and rows came in, in lists as in a run itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrack
from disttrack.query.comparing import compare_runs
from disttrack.query.listing import list_runs, show_run
from disttrack.query.reader import Reader
from disttrack.records.codec import encode
from disttrack.records.payloads import MetricDefinition, RecordKind
from tests.index.logs import Process, RunLog, process_of

ALL = ("min", "max", "mean", "first", "last", "best")


def define(process: Process, name: str, **fields: Any) -> None:
    process.append(encode(RecordKind.METRIC, MetricDefinition(name=name, **fields)))


def root_of(directory: Path) -> Path:
    root = directory / "disttrack-runs"
    root.mkdir(exist_ok=True)
    return root


def written(root: Path, *processes: Process, run_id: str = "run1", over: bool = True) -> RunLog:
    log = RunLog(root, run_id=run_id)
    log.commit_all(*processes)
    if over:
        log.end()
    return log


def logged(values: Sequence[float | int], key: str = "loss", process: Process | None = None) -> Process:
    process = process or process_of()
    for step, value in enumerate(values):
        process.row({key: value}, step)
    return process


def test_every_reducer_is_a_scalar_beside_the_last_value(tmp_path: Path) -> None:
    process = process_of()
    define(process, "loss", summary=ALL, goal="minimize")
    logged([3.0, 1.0, math.nan, 2.0], process=process).end()
    written(root_of(tmp_path), process)
    summary = show_run(root_of(tmp_path), "run1").summary
    assert summary == {
        "loss": 2.0,
        "loss.min": 1.0,
        "loss.max": 3.0,
        "loss.mean": 2.0,
        "loss.first": 3.0,
        "loss.last": 2.0,
        "loss.best": 1.0,
    }


def test_ints_stay_ints_and_nothing_but_nan_is_nan(tmp_path: Path) -> None:
    process = process_of()
    define(process, "*", summary=("min", "max", "mean"))
    process.row({"n": 2**53 + 1, "nan": math.nan, "word": "x", "flag": True, "inf": math.inf}, 0)
    process.row({"n": 2**53 + 3, "nan": math.nan, "word": "y", "flag": False, "inf": -math.inf}, 1)
    process.end()
    written(root_of(tmp_path), process)
    summary = show_run(root_of(tmp_path), "run1").summary
    assert (summary["n.min"], summary["n.max"]) == (2**53 + 1, 2**53 + 3)
    assert all(math.isnan(float(str(summary[key]))) for key in ("nan.min", "nan.mean", "inf.mean"))
    assert (summary["inf.min"], summary["flag.max"]) == (-math.inf, 1.0)
    assert "word.min" not in summary


def test_a_word_that_comes_after_the_rows_or_from_another_rank_counts_as_well(tmp_path: Path) -> None:
    ranks = [logged([5.0 + rank, 4.0 + rank], process=process_of(rank, 2)) for rank in range(2)]
    define(ranks[1], "l*s", summary=("max",))
    log = written(root_of(tmp_path), *ranks, over=False)
    with Reader(root_of(tmp_path), {}) as reader:
        assert reader.snapshot("run1").record.facts.aggregates == {"loss.max": 5.0}  # of the rank in the summary
        ranks[0].row({"loss": 9.0}, 2)
        log.commit_all(*ranks)
        assert reader.snapshot("run1").record.facts.aggregates == {"loss.max": 9.0}
    define(ranks[0], "loss", summary=("min",))
    log.commit_all(*ranks)
    assert show_run(root_of(tmp_path), "run1").summary == {"loss": 9.0, "loss.min": 4.0}


def test_superseded_rows_do_not_count(tmp_path: Path) -> None:
    first, second = process_of(), process_of()
    define(first, "loss", summary=("min", "max"))
    logged([9.0, 5.0, 0.5], process=first)
    second.attempt = 1
    second.row({"loss": 3.0}, 2)
    second.end()
    written(root_of(tmp_path), first, second)
    summary = show_run(root_of(tmp_path), "run1").summary
    assert (summary["loss.min"], summary["loss.max"]) == (3.0, 9.0)


def test_what_is_set_by_hand_stands_and_none_hides_the_rest(tmp_path: Path) -> None:
    process = process_of()
    define(process, "loss", summary=("max",))
    define(process, "debug/*", summary=("none",))
    logged([1.0, 3.0], process=process)
    process.row({"debug/x": 1.0, "debug/y": 2.0}, 2)
    process.summary({"loss": 99.0, "debug/y": 7.0})
    process.row({"loss": 2.0}, 3)
    written(root_of(tmp_path), process)
    assert show_run(root_of(tmp_path), "run1").summary == {"debug/y": 7.0, "loss": 2.0, "loss.max": 3.0}
    pinned = process_of()
    define(pinned, "loss", summary=("max",))
    logged([1.0, 3.0], process=pinned)
    pinned.summary({"loss.max": 10.0})
    written(root_of(tmp_path), pinned, run_id="run2")
    assert show_run(root_of(tmp_path), "run2").summary["loss.max"] == 10.0


@pytest.mark.parametrize("over", [True, False], ids=["over", "live"])
def test_lists_filter_order_and_compare_by_aggregates(over: bool, tmp_path: Path) -> None:
    root = root_of(tmp_path)
    for number, low in enumerate((0.3, 0.1, 0.2)):
        process = process_of()
        define(process, "loss", summary=("min", "mean"))
        logged([1.0, low, 0.9], process=process)
        written(root, process, run_id=f"run{number}", over=over)
    assert [run.id for run in list_runs(root, order="loss.min")] == ["run1", "run2", "run0"]
    assert [run.id for run in list_runs(root, filters="loss.min<0.25", order="-loss.min")] == ["run2", "run1"]
    assert [run.summary["loss.min"] for run in list_runs(root, order="loss.min")] == [0.1, 0.2, 0.3]
    assert compare_runs(root, ["run0", "run1"]).summary["loss.min"] == [0.3, 0.1]
    with disttrack.Api(tmp_path) as api:
        assert api.runs(order="loss.min").table()["summary.loss.min"].tolist() == [0.1, 0.2, 0.3]


def test_incrementally_or_at_once_the_aggregates_are_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    process = process_of()
    define(process, "*", summary=ALL, goal="maximize")
    log = RunLog(root_of(tmp_path))
    with Reader(root_of(tmp_path), {}) as reader:
        for start in range(0, 400, 40):
            first = len(process.bounds) - 1
            for step in range(start, start + 40):
                process.row({"a": float(generator.normal()), "b": step % 7}, step - (step % 5))
            log.commit((process, 0 if not start else first, None))
            reader.catch_up()
        live = reader.snapshot("run1").record.facts.aggregates
    log.end()
    with Reader(root_of(tmp_path), {"DISTTRACK_CACHE_DIR": str(tmp_path / "other")}) as reader:
        assert reader.snapshot("run1").record.facts.aggregates == live
    for index in root_of(tmp_path).glob("index-*"):
        index.unlink()
    with Reader(root_of(tmp_path), {}) as reader:
        assert reader.snapshot("run1").record.facts.aggregates == live
    assert set(live) == {f"{key}.{name}" for key in "ab" for name in ALL}


def test_a_history_is_drawn_over_the_step_metric_that_its_keys_agree_on(tmp_path: Path) -> None:
    process = process_of()
    define(process, "val/*", step_metric="epoch", step_sync=True)
    define(process, "other", step_metric="tokens")
    process.row({"epoch": 1}, 0)
    process.row({"val/loss": 5.0}, 1)
    process.row({"epoch": 2, "val/loss": 4.0}, 2)
    process.row({"val/loss": 3.0, "other": 1.0}, 3)
    process.end()
    written(root_of(tmp_path), process)
    with disttrack.Api(tmp_path) as api:
        run = api.run("run1")
        history = run.history(["val/loss"])
        assert history["epoch"].tolist() == [1, 1, 2, 2]
        assert [value for value in history["val/loss"].tolist() if value == value] == [5.0, 4.0, 3.0]
        assert run.history(["val/loss"], x="step")["step"].tolist() == [1, 2, 3]
        assert "epoch" not in run.history(["val/loss", "other"])  # they do not agree
        assert run.history()["step"].tolist() == [0, 1, 2, 3]
        assert [(row.name, row.step_metric, row.step_sync) for row in run.metrics] == [
            ("other", "tokens", False),
            ("val/*", "epoch", True),
        ]


def test_the_best_of_a_metric_is_known_where_its_goal_is(tmp_path: Path) -> None:
    process = process_of()
    define(process, "acc", goal="maximize")
    for step, value in enumerate((0.1, 0.9, 0.5)):
        process.row({"acc": value, "loss": value}, step)
    process.end()
    written(root_of(tmp_path), process)
    with disttrack.Api(tmp_path) as api:
        acc, loss = api.run("run1").summary_of("acc"), api.run("run1").summary_of("loss")
    assert acc is not None
    assert (acc.best, acc.best_step) == (0.9, 1)
    assert loss is not None
    assert (loss.best, loss.best_step, loss.max) == (None, None, 0.9)
