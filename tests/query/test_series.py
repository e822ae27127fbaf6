"""Histories as they are asked for: along x, over ranks, thinned out, over many runs, as frames."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.errors import UsageError
from disttrack.index.indexer import Index
from disttrack.query.api import Api
from disttrack.query.downsample import kept
from disttrack.query.request import HistoryRequest
from disttrack.query.series import series_of_runs
from disttrack.settings import ROOT_NAME
from tests.index.logs import RunLog, finished_run, process_of


@pytest.fixture
def root() -> Path:
    return Path(os.environ["DISTTRACK_DIR"]) / ROOT_NAME


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as api:
        yield api


# Thinning out


FLOATS = st.lists(st.floats(allow_nan=False) | st.sampled_from([0.0, 1.0]), max_size=80)


@given(FLOATS, st.integers(2, 40))
def test_thinning_keeps_first_last_and_the_extremes_of_every_part(numbers: list[float], points: int) -> None:
    values = np.array(numbers, np.float64)
    rows = kept(values, points)
    assert len(rows) <= points or len(rows) == len(values) <= 2
    assert (np.diff(rows) > 0).all()
    if len(values) <= points:
        assert rows.tolist() == list(range(len(values)))
        return
    assert (rows[0], rows[-1]) == (0, len(values) - 1)
    parts = (points - 2) // 2
    if parts:
        size = math.ceil(len(values) / parts)
        for start in range(0, len(values), size):
            part = values[start : start + size]
            there = values[[row for row in rows if start <= row < start + size]]
            assert (there.min(), there.max()) == (part.min(), part.max())


def test_points_thins_each_series_out_and_keeps_whole_rows(root: Path, api: Api) -> None:
    log, processes = RunLog(root), [process_of(rank, 2) for rank in range(2)]
    for process in processes:
        for step in range(1_000):
            process.row({"loss": 100.0 if step == 617 else step % 7, "text": "t"}, step)
    log.commit_all(*processes)
    log.close()
    thin = api.run("run1").history(["loss", "text"], points=20)
    for rank in range(2):
        mine = thin["rank"] == rank
        assert mine.sum() <= 20
        assert thin["step"][mine][[0, -1]].tolist() == [0, 999]
        assert 617 in thin["step"][mine]
        assert set(thin["text"][mine].tolist()) == {"t"}
    assert len(api.run("run1").history(["loss"], points=5_000)["step"]) == 2_000


def test_points_are_counted_among_the_numbers_only(root: Path, api: Api) -> None:
    finished_run(root, [(step, {"loss": math.nan if step % 3 else -abs(step - 300.0)}) for step in range(900)])
    thin = api.run("run1").history(points=12)
    assert {0, 300, 899} <= set(thin["step"].tolist())
    assert np.count_nonzero(~np.isnan(thin["loss"].astype(float))) <= 12


# Blocks that follow each other, overlap, or are of one step


def _grid(ranks: int, steps: int) -> list[list[tuple[int, str]]]:
    return [[(step, "a") for step in range(steps)]] * ranks


#: By rank, the steps that it logged in the order of its calls, each with the keys of the call.
CALLS = st.one_of(
    st.builds(_grid, st.integers(1, 3), st.integers(1, 20)),
    st.lists(st.lists(st.tuples(st.integers(0, 30), st.just("a")), max_size=12).map(sorted), min_size=1, max_size=3),
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "ab"])), max_size=12), max_size=3),
)


@settings(deadline=None, max_examples=60)
@given(runs=st.lists(CALLS, min_size=1, max_size=2), cold_values=st.integers(1, 30), live=st.booleans(), data=st.data())
def test_any_history_is_what_a_plain_dict_gives(
    runs: list[list[list[tuple[int, str]]]], cold_values: int, live: bool, data: st.DataObject
) -> None:
    keys = data.draw(st.sampled_from([["a"], ["b"], ["a", "b"]]))
    points = data.draw(st.sampled_from([None, 2, 6, 1_000]))
    model: dict[tuple[int, int, int], dict[str, float]] = {}  # by run, rank, step: values and the last call's time
    with tempfile.TemporaryDirectory() as directory:
        for number, ranks in enumerate(runs):
            log, processes = (
                RunLog(Path(directory), run_id=f"run{number}"),
                [process_of(r, 3) for r in range(len(ranks))],
            )
            for rank, calls in enumerate(ranks):
                for step, held in calls:
                    values = {key: float(len(processes[rank].journal) % 97) for key in held}
                    processes[rank].row(values, step)
                    log.commit((processes[rank], len(processes[rank].bounds) - 2, None))
                    if asked := {key: value for key, value in values.items() if key in keys}:
                        row = model.setdefault((number, rank, step), {})
                        row |= {**asked, "time": processes[rank].time_us / 1e6}
            log.open()
            if not live:
                log.end()
            log.close()
        index = Index(Path(directory), {}, cold_values=cold_values, live_values=cold_values)
        index.catch_up()
        records = sorted(index.runs(), key=lambda record: record.run_id)
        plain, thin, over = (
            index.asked_of_all(records, partial(series_of_runs, request=request))
            for request in (
                HistoryRequest(keys),
                HistoryRequest(keys, points=points),
                HistoryRequest(keys, rank_agg="minmax"),
            )
        )
        index.close()
    rows = sorted(model)
    assert list(zip(*(plain[name].tolist() for name in ("run", "rank", "step")), strict=True)) == [
        (f"run{number}", rank, step) for number, rank, step in rows
    ]
    for name in (*keys, "time"):
        np.testing.assert_array_equal(plain[name], [model[row].get(name, math.nan) for row in rows])
    assert told(thin) <= told(plain)
    if points == 1_000:
        assert_same(thin, plain)
    places = sorted({(number, step) for number, _, step in rows})
    assert [(run, step) for run, step in zip(over["run"].tolist(), over["step"].tolist(), strict=True)] == [
        (f"run{number}", step) for number, step in places
    ]
    for key in keys:
        at = [[model[row][key] for row in rows if (row[0], row[2]) == place and key in model[row]] for place in places]
        np.testing.assert_array_equal(over[f"{key}_max"], [max(values, default=math.nan) for values in at])


def told(table: dict[str, Any]) -> set[str]:
    """Returns the rows as text, in which NaN is like NaN."""
    return {str(row) for row in zip(*(column.tolist() for column in table.values()), strict=True)}


def assert_same(table: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(table) == list(other)
    for name, column in table.items():
        np.testing.assert_array_equal(column, other[name])


# Along x


def test_x_orders_rows_by_time_or_by_a_metric(root: Path, api: Api) -> None:
    process = process_of()
    for step, epoch, after_us in ((0, 2.0, 10), (1, 1.0, -5), (2, None, 100)):
        process.row({"loss": float(step), **({} if epoch is None else {"epoch": epoch})}, step, after_us)
    log = RunLog(root)
    log.commit_all(process)
    log.close()
    run = api.run("run1")
    assert run.history(["loss"])["step"].tolist() == [0, 1, 2]
    assert run.history(["loss"], x="time")["step"].tolist() == [1, 0, 2]
    by_epoch = run.history(["loss"], x="epoch")
    assert (by_epoch["epoch"].tolist(), by_epoch["loss"].tolist()) == ([1.0, 2.0], [1.0, 0.0])
    assert list(by_epoch) == ["rank", "attempt", "step", "time", "loss", "epoch"]
    assert len(run.history(["loss"], x="unheard-of")["loss"]) == 0
    assert table_of(run.history(x="unheard-of", rank_agg="mean"))["unheard-of"] == []
    assert table_of(run.history(["loss"], x="epoch", rank_agg="mean")) == {
        "epoch": [1.0, 2.0],
        "ranks": [1, 1],
        "loss": [1.0, 0.0],
    }


# Over ranks


def table_of(columns: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: column.tolist() for name, column in columns.items()}


@pytest.fixture
def three_ranks(root: Path) -> None:
    """Rank r logs loss = step + 10 r for steps 0 to 2, but rank 2 only step 0, and NaN at that of rank 1's step 2."""
    log, processes = RunLog(root), [process_of(rank, 3) for rank in range(3)]
    for rank, process in enumerate(processes):
        for step in range(3 if rank < 2 else 1):
            process.row({"loss": math.nan if (rank, step) == (1, 2) else step + 10.0 * rank, "host": "a"}, step)
    log.commit_all(*processes)
    log.close()


def test_ranks_are_laid_over_each_other_by_step(three_ranks: None, api: Api) -> None:
    run = api.run("run1")
    axes = {"step": [0, 1, 2], "ranks": [3, 2, 2]}
    assert table_of(run.history(rank_agg="mean")) == {**axes, "loss": [10.0, 6.0, 2.0]}
    assert table_of(run.history(["loss", "host"], rank_agg="minmax")) == {
        **axes,
        "loss_min": [0.0, 1.0, 2.0],
        "loss_max": [20.0, 11.0, 2.0],
    }
    quantiles = run.history(rank_agg="quantiles")
    assert quantiles["loss_p50"].tolist() == [10.0, 6.0, 2.0]
    np.testing.assert_allclose(quantiles["loss_p95"], [19.0, 10.5, 2.0])
    np.testing.assert_allclose(quantiles["loss_p05"], [1.0, 1.5, 2.0])
    assert table_of(run.history(rank_agg="mean", ranks=[2])) == {"step": [0], "ranks": [1], "loss": [20.0]}
    assert table_of(run.history(["nobody"], rank_agg="mean")) == {"step": [], "ranks": [], "nobody": []}
    assert table_of(run.history(["host"], rank_agg="mean")) == axes


def test_a_rank_has_one_say_at_a_step_its_own_and_its_newest(root: Path, api: Api) -> None:
    log = RunLog(root)
    old, new, other = process_of(0, 2), process_of(0, 2), process_of(1, 2)
    new.attempt = 1
    helper = process_of(0, 1, parent=new.join.incarnation)
    helper.role, helper.attempt = "helper", 1
    for process, loss in ((old, 100.0), (new, 1.0), (other, 3.0), (helper, 50.0)):
        process.row({"loss": loss}, 4)
    log.commit_all(old, new, other, helper)
    log.close()
    run = api.run("run1")
    assert run.history(rank_agg="mean", superseded=True)["loss"].tolist() == [2.0]
    assert run.history(rank_agg="minmax")["loss_max"].tolist() == [1.0]  # the other rank of attempt 0 is superseded


@given(data=st.data())
def test_aggregates_are_what_a_plain_loop_gives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    losses = data.draw(
        st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 5)), st.floats(-1e6, 1e6), min_size=1, max_size=25)
        | st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=10).map(  # every rank at every step
            lambda values: {(rank, step): values[2 * rank + step] for rank in range(5) for step in range(2)}
        )
    )
    directory = tmp_path_factory.mktemp("runs")
    log, processes = RunLog(directory / ROOT_NAME), [process_of(rank, 5) for rank in range(5)]
    for (rank, step), loss in losses.items():
        processes[rank].row({"loss": loss}, step)
    log.commit_all(*processes)
    log.close()
    steps = sorted({step for _, step in losses})
    at = [[loss for (_, other), loss in losses.items() if other == step] for step in steps]
    with Api(directory) as api:
        run = api.run("run1")
        mean, minmax, quantiles = (run.history(rank_agg=how) for how in ("mean", "minmax", "quantiles"))
    assert mean["step"].tolist() == steps
    assert mean["ranks"].tolist() == list(map(len, at))
    np.testing.assert_allclose(cast(Any, mean["loss"]), [np.mean(values) for values in at], rtol=1e-9, atol=1e-6)
    assert minmax["loss_min"].tolist() == list(map(min, at))
    assert minmax["loss_max"].tolist() == list(map(max, at))
    np.testing.assert_allclose(cast(Any, quantiles["loss_p95"]), [np.quantile(values, 0.95) for values in at])


def test_aggregates_can_be_thinned_out_too(root: Path, api: Api) -> None:
    finished_run(root, [(step, {"loss": float(step == 500)}) for step in range(1_000)])
    thin = api.run("run1").history(rank_agg="minmax", points=10)
    assert 500 in thin["step"]
    assert len(thin["step"]) <= 20


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"ranks": "some"}, '"primary"'),
        ({"rank_agg": "median"}, "quantiles"),
        ({"rank_agg": "mean", "x": "time"}, "x='step'"),
        ({"points": 1}, "2 or more"),
        ({"x": ""}, "a metric"),
        ({"as_": "excel"}, "numpy, pandas, polars, arrow"),
    ],
)
def test_what_cannot_be_asked_for_is_said_with_what_can(
    root: Path, api: Api, arguments: dict[str, Any], expected: str
) -> None:
    finished_run(root, [(0, {"loss": 1.0})])
    with pytest.raises(UsageError, match=expected):
        api.run("run1").history(**arguments)
    with pytest.raises(UsageError, match=expected):
        api.runs().history(**arguments)


# Many runs


def test_histories_of_many_runs_are_one_table(root: Path, api: Api) -> None:
    finished_run(root, [(0, {"loss": 1.0}), (1, {"loss": 2.0})], "run1")
    finished_run(root, [(0, {"loss": 3, "other": "t"})], "run2")
    finished_run(root, [(0, {"other": 2**60})], "run3")
    table = api.runs(order="id").history(["loss", "other"])
    assert table_of({name: table[name] for name in ("run", "step", "loss")}) == {
        "run": ["run1", "run1", "run2", "run3"],
        "step": [0, 1, 0, 0],
        "loss": [1.0, 2.0, 3.0, pytest.approx(math.nan, nan_ok=True)],
    }
    assert table["other"].tolist() == [None, None, "t", 2**60]
    assert api.runs(filters="id:nobody").history() == {}


def test_a_run_that_is_gone_is_left_out_and_a_damaged_index_built_anew(root: Path, api: Api) -> None:
    for number in range(3):
        finished_run(root, [(step, {"loss": float(step)}) for step in range(4)], f"run{number}")
    runs = api.runs(order="id")
    assert len(runs) == 3
    shutil.rmtree(root / "demo" / "run1")
    assert runs.history()["run"].tolist() == ["run0"] * 4 + ["run2"] * 4
    (index,) = root.glob("index-*.sqlite")
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("DELETE FROM chunk")
    assert runs.history(["loss"])["loss"].tolist() == [0.0, 1.0, 2.0, 3.0] * 2


def test_runs_are_looked_for_once_and_when_they_are_asked_for(root: Path, api: Api) -> None:
    runs = api.runs(filters="loss<2")
    finished_run(root, [(0, {"loss": 1.0})], "run1")
    assert len(runs) == 1
    finished_run(root, [(0, {"loss": 1.0})], "run2")
    assert [run.id for run in runs] == ["run1"]
    assert len(api.runs(filters="loss<2")) == 2


def test_runs_are_a_table_with_their_config_and_summary(root: Path, api: Api) -> None:
    for number in range(2):
        log, process = RunLog(root, run_id=f"run{number}"), process_of()
        if number:
            process.config(lr=0.5)
        process.row({"loss": 1 + number, "text": "t"}, 0)
        log.commit_all(process)
        log.close()
    table = api.runs(order="id").table()
    assert table["id"].tolist() == ["run0", "run1"]
    assert table["summary.loss"].tolist() == [1, 2]
    assert table["summary.loss"].dtype == np.int64
    assert [math.isnan(table["config.lr"][0]), table["config.lr"][1]] == [True, 0.5]
    assert table["tags"].tolist() == [[], []]
    assert table["created_at"].dtype == np.float64


# In numbers


def test_a_summary_of_a_key_is_over_all_that_was_logged(root: Path, api: Api) -> None:
    log, processes = RunLog(root), [process_of(rank, 2) for rank in range(2)]
    for rank, process in enumerate(processes):
        for step, loss in enumerate((3.0, 0.5, math.nan, 2.0)):
            process.row({"loss": loss + rank, "text": "t"}, step)
    log.commit_all(*processes)
    log.close()
    run = api.run("run1")
    one = run.summary_of("loss")
    assert one is not None
    assert (one.count, one.first, one.last, one.last_step) == (4, 3.0, 2.0, 3)
    assert (one.min, one.min_step, one.max, one.max_step) == (0.5, 1, 3.0, 0)
    assert one.mean == pytest.approx(5.5 / 3)
    everybody = run.summary_of("loss", ranks="all")
    assert everybody is not None
    assert (everybody.count, everybody.max, everybody.last) == (8, 4.0, 2.0)
    assert run.summary_of("text") is run.summary_of("nobody") is None


# As frames


def test_a_history_is_a_frame_of_an_installed_library(root: Path, api: Api) -> None:
    finished_run(root, [(0, {"loss": 1.0, "mix": 1}), (1, {"mix": "t"})])
    run = api.run("run1")
    frame = run.history(as_="pandas")
    assert list(frame.columns) == ["rank", "attempt", "step", "time", "loss", "mix"]
    assert frame["mix"].tolist() == [1, "t"]
    arrow = run.history(as_="arrow")
    assert arrow.column("step").to_pylist() == [0, 1]
    assert arrow.column("mix").to_pylist() == ["1", "t"]
    assert api.runs().table(as_="pandas").loc[0, "id"] == "run1"


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(root: Path, api: Api) -> None:
    if "polars" in sys.modules:
        pytest.skip("it is there")
    finished_run(root, [(0, {"loss": 1.0})])
    try:
        __import__("polars")
    except ImportError:
        with pytest.raises(UsageError, match="pip install polars"):
            api.run("run1").history(as_="polars")
