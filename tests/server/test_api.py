"""What `disttrack ui` answers, asked over HTTP as the page asks it (docs/api.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrack
from benchmarks.rows import write_run
from disttrack.settings import ROOT_NAME
from tests.index.logs import START_US, Process, RunLog, finished_run, process_of
from tests.server.ui import Ui, serving

pytestmark = pytest.mark.real(timeout_s=60)  # the first test starts the server

HOSTILE = "</script><img src=x onerror=alert(1)>\x00\u202e"
START_S = START_US / 1e6


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, isolated_session: None) -> Iterator[Ui]:
    directory = tmp_path_factory.mktemp("api")
    root = directory / ROOT_NAME
    for number in range(30):
        run = RunLog(root, run_id=f"r{number:02}", name=f"fold-{number}", group=f"g{number % 3}")
        process = process_of()
        process.config(lr=10.0 ** -(number % 4), optimizer={"name": "adam"}, big=2**60)
        for step in range(4):
            process.row({"loss": number + step / 10, "odd": math.nan if number else math.inf}, step)
        process.end(exit_code=int(number % 5 == 4))
        run.commit_all(process)
        run.end()
        run.close()
    team(root)
    epochs(root)
    finished_run(root, [(0, {HOSTILE: 1.0})], run_id="hostile", project="other", name=HOSTILE)
    write_run(root, "long", 1, 1, 100_000, 1_000)
    with serving(directory) as ui:
        yield ui


def team(root: Path) -> None:
    """Leaves a run of 12 ranks: rank 5 works longer than the others, rank 7 was killed at step 60."""
    log, ranks = RunLog(root, run_id="team", project="teams"), list[Process]()
    for rank in range(12):
        process = process_of(rank, 12, host=f"n{rank // 4}", project="teams")
        ranks.append(process)
        process.config(seed=rank)
        for step in range(60 if rank == 7 else 100):
            process.row(
                {"loss": 1.0 / (step + 1), "work_time": 0.13 if rank == 5 else 0.1, "step_time": 0.2}, step, 200_000
            )
        if rank != 7:
            process.end()
    log.commit_all(*ranks)
    log.see(ranks[7], "crashed", ranks[7].time_us, signal=9)
    log.end(START_US + 30_000_000)
    log.close()


def epochs(root: Path) -> None:
    """Leaves a run of 10 ranks, 40 steps an epoch in which the loss halves; one key is called as the steps are."""
    log, ranks = RunLog(root, run_id="epochs", project="epochs"), list[Process]()
    for rank in range(10):
        process = process_of(rank, 10, project="epochs")
        ranks.append(process)
        for step in range(120):
            process.row({"loss": 2.0 ** (-step / 40), "epoch": step // 40, "step": step}, step, 200_000)
        process.end()
    log.commit_all(*ranks)
    log.end(START_US + 30_000_000)
    log.close()


# The table


def test_a_page_of_the_table_is_sorted_filtered_and_cut_by_the_server(ui: Ui) -> None:
    page = ui.json(
        "/api/runs", project="demo", sort="-loss", offset=2, limit=3, filter="loss<28", column=["config.lr", "loss"]
    )
    assert (page["total"], page["of"], page["offset"]) == (28, 30, 2)
    assert [row["run"] for row in page["rows"]] == ["demo/r25", "demo/r24", "demo/r23"]
    assert page["rows"][0]["values"] == {"config.lr": 0.1, "loss": 25.3}
    row = page["rows"][1]
    assert (row["state"], row["name"], row["group"], row["last_step"]) == ("failed", "fold-24", "g0", 3)
    assert (row["world_size"], row["ranks_joined"], row["ranks_alive"]) == (1, 1, 0)
    assert row["created_at"] == START_S
    assert "summary" not in row  # only what was asked for travels


def test_columns_may_be_reduced_over_all_that_was_logged_and_sorted_by_that(ui: Ui) -> None:
    columns = ["min(loss)", "max(loss)", "mean(loss)", "last(loss)", "min(nothing)"]
    page = ui.json("/api/runs", project="demo", sort="-min(loss)", limit=1, column=columns)
    assert page["rows"][0]["values"] == pytest.approx(
        {"min(loss)": 29.0, "max(loss)": 29.3, "mean(loss)": 29.15, "last(loss)": 29.3, "min(nothing)": None}
    )
    assert ui.json("/api/runs", project="demo", sort="min(loss)", limit=1)["rows"][0]["id"] == "r00"


def test_what_json_has_no_number_for_is_text(ui: Ui) -> None:
    values = ui.json("/api/runs", filter="id:r00", column=["odd", "config.big", "config.optimizer"])["rows"][0][
        "values"
    ]
    assert values == {"odd": "Infinity", "config.big": str(2**60), "config.optimizer": {"name": "adam"}}
    assert ui.json("/api/runs", filter="id:hostile")["rows"][0]["name"] == HOSTILE


def test_a_filter_that_cannot_be_read_is_answered_with_the_place(ui: Ui) -> None:
    error = ui.error("/api/runs", 400, filter="loss<1 lr!")
    assert (error["kind"], error["at"]) == ("FilterError", 9)
    assert ui.error("/api/runs", 400, sort="a b")["kind"] == "FilterError"
    assert ui.error("/api/runs", 400, limit="x")["kind"] == "UsageError"


def test_runs_in_groups_have_a_filter_that_finds_them(ui: Ui) -> None:
    found = ui.json("/api/groups", project="demo", by=["config.lr", "group"], column="loss", filter="loss<29")
    assert (found["total"], sum(group["count"] for group in found["groups"])) == (29, 29)
    for group in found["groups"]:
        members = ui.json("/api/runs", project="demo", filter=f"loss<29 {group['filter']}", column="loss")
        assert [row["run"] for row in members["rows"]] == group["runs"]
        losses = [row["values"]["loss"] for row in members["rows"]]
        spread = group["columns"]["loss"]
        assert (spread["n"], spread["min"], spread["max"]) == (len(losses), min(losses), max(losses))
        assert sum(group["states"].values()) == group["count"]
    assert found["count"] == len(found["groups"]) > 1
    largest = ui.json(
        "/api/groups", project="demo", by=["config.lr", "group"], column="loss", filter="loss<29", limit=1
    )
    assert (largest["count"], largest["total"], largest["groups"]) == (found["count"], 29, found["groups"][:1])
    nobody = ui.json("/api/groups", project="demo", by="config.nothing")["groups"]
    assert [(group["values"], group["count"], group["filter"]) for group in nobody] == [
        ([None], 30, "-config.nothing:*")
    ]


def test_projects_keys_and_the_best_run_are_known(ui: Ui) -> None:
    projects = ui.json("/api/projects")["projects"]
    assert {one["project"]: (one["runs"], one["live"]) for one in projects} == {
        "demo": (30, 0), "teams": (1, 0), "epochs": (1, 0), "other": (1, 0), "bench": (1, 0),
    }  # fmt: skip
    keys = ui.json("/api/keys", project="demo")
    assert set(keys["config"]) == {"lr", "optimizer.name", "big"}
    assert (set(keys["summary"]), set(keys["metrics"])) == ({"loss", "odd"}, {"loss", "odd"})
    best = ui.json("/api/best", project="demo")
    assert (best["run"], best["key"], best["value"], best["goal"]) == ("demo/r00", "loss", 0.3, "minimize")
    assert ui.json("/api/best", project="other") is None


# One run


def test_a_run_tells_who_died_first_and_what_it_logged(ui: Ui) -> None:
    run = ui.json("/api/run", run="teams/team")
    assert (run["state"], run["world_size"], run["rows"]) == ("crashed", 12, 11 * 100 + 60)
    assert (run["verdict"]["kind"], run["verdict"]["rank"], run["verdict"]["node"]) == ("dead", 7, "n1")
    assert "Rank 7 (n1) crashed by SIGKILL" in run["verdict"]["text"]
    assert [(key["key"], key["kind"], key["ranks"]) for key in run["keys"]] == [
        ("loss", "number", 12), ("work_time", "number", 12), ("step_time", "number", 12),
    ]  # fmt: skip
    assert [rank["state"] for rank in run["ranks"]].count("finished") == 11
    assert run["config_by_rank"]["3"] == {"seed": 3}
    assert run["created_at"] == START_S
    assert ui.json("/api/rank", run="team", rank=3)["config"] == {"seed": 3}
    assert ui.error("/api/rank", 400, run="team", rank=99)["kind"] == "UsageError"
    assert ui.error("/api/run", 404, run="nothing")["kind"] == "RunNotFound"
    assert ui.error("/api/run", 400)["kind"] == "UsageError"


def test_ranks_are_compared_and_a_culprit_is_named_by_work_never_by_equal_steps(ui: Ui) -> None:
    ranks = ui.json("/api/ranks", run="team", key="work_time")
    assert [(one["rank"], one["node"], one["local_rank"]) for one in ranks["ranks"][:5]][4] == (4, "n1", 4)
    assert max(ranks["ranks"], key=lambda one: one["skew"])["rank"] == 5
    assert ranks["nodes"][1] == {"node": "n1", "ranks": [4, 5, 6, 7]}
    assert ranks["metrics"] == ["loss", "work_time", "step_time"]
    between = ui.json("/api/ranks", run="team")
    assert (between["metric"], between["unit"]) == (None, "s")
    assert ui.error("/api/ranks", 400, run="team", key="nothing")["kind"] == "UsageError"


def test_the_heat_map_shows_the_slow_rank_and_the_dead_ones_hole(ui: Ui) -> None:
    frame = ui.frame("/api/heatmap", run="team", key="work_time", width=20)
    header = frame.header
    assert (header["rows"], header["columns"], header["empty"]) == (12, 20, None)
    cells = frame.array(header["cells"]).reshape(12, 20)
    assert np.isnan(cells[7, 12:]).all()
    assert np.allclose(cells[5], 0.13)
    assert frame.array(header["argmax"]).tolist() == [5] * 20
    assert np.allclose(frame.array(header["median"]), 0.1)
    assert header["domain"]["skew_max"] == pytest.approx(0.3, rel=1e-3)
    assert [rank["last_x"] for rank in header["ranks"]][6:9] == [99, 59, 99]
    assert [rank["state"] for rank in header["ranks"]][7] == "crashed"
    assert ui.frame("/api/heatmap", run="team", key="nothing").header["empty"] == "no key"
    window = ui.frame("/api/heatmap", run="team", key="work_time", **{"from": 90, "to": 95}).header
    assert (window["domain"]["from"], window["domain"]["to"], window["columns"]) == (90, 95, 6)
    shared = ui.frame("/api/heatmap", run="team", height=5).header  # the time between rows
    assert [(rank["rank"], rank["to_rank"]) for rank in shared["ranks"]] == [(0, 2), (3, 5), (6, 8), (9, 11)]


def test_runs_beside_each_other_show_what_differs_first(ui: Ui) -> None:
    found = ui.json("/api/compare", run=["demo/r01", "demo/r02", "demo/r05"], baseline="demo/r02")
    assert found["config"] == {"lr": [0.1, 0.01, 0.1]}
    assert found["same_values"] == {"big": str(2**60), "optimizer.name": "adam"}
    assert (found["baseline"], found["deltas"]["loss"]) == (1, [pytest.approx(-1.0), None, pytest.approx(3.0)])
    assert [run["name"] for run in found["runs"]] == ["fold-1", "fold-2", "fold-5"]
    assert ui.error("/api/compare", 400, run="demo/r01")["kind"] == "UsageError"


# Series


def test_a_short_series_is_exact_and_a_long_one_is_bucketed_with_its_extremes(ui: Ui) -> None:
    short = ui.frame("/api/series", run="r03", key="loss")
    (line,) = short.header["lines"]
    assert (short.header["exact"], line["min"], line["points"]) == (True, None, 4)
    assert short.array(short.header["grid"]).tolist() == [0, 1, 2, 3]
    assert short.array(line["last"]) == pytest.approx([3.0, 3.1, 3.2, 3.3], rel=1e-6)
    long = ui.frame("/api/series", run="long", key="metric_0", width=500)
    (line,) = long.header["lines"]
    assert (long.header["exact"], long.header["grid"]["n"], line["points"]) == (False, 500, 100_000)
    with disttrack.Api(ui.directory) as api:
        logged = api.run("long").history(["metric_0"])["metric_0"].reshape(500, 200)
    for name, expected in (
        ("min", logged.min(1)), ("max", logged.max(1)), ("last", logged[:, -1]), ("mean", logged.mean(1)),
    ):  # fmt: skip
        assert long.array(line[name]) == pytest.approx(expected, rel=1e-6, abs=1e-6), name
    assert line["stats"]["max"] == logged.max()
    assert long.size <= 65_536


def test_a_window_is_bucketed_anew_and_smoothing_does_not_change_with_it(ui: Ui) -> None:
    window = {"from": 1_000, "to": 1_100}
    near = ui.frame("/api/series", run="long", key="metric_0", smooth=0.6, **window)
    assert near.header["exact"]
    assert near.array(near.header["grid"]).tolist() == list(range(1_000, 1_101))
    wider = ui.frame("/api/series", run="long", key="metric_0", smooth=0.6, **{"from": 900, "to": 1_100})
    smooth = near.array(near.header["lines"][0]["smooth"])
    assert wider.array(wider.header["lines"][0]["smooth"])[-101:] == pytest.approx(smooth)
    assert smooth != pytest.approx(near.array(near.header["lines"][0]["last"]), abs=1e-3)
    assert ui.frame("/api/series", run="long", key="metric_0", **{"from": 1e9}).header["empty"] == "window"


@pytest.mark.parametrize("x", ["relative", "wall"])
def test_time_is_exact_in_float32(ui: Ui, x: str) -> None:
    frame = ui.frame("/api/series", run="r03", key="loss", x=x)
    start_s = START_S if x == "wall" else 0.0
    assert frame.array(frame.header["grid"]) == pytest.approx([start_s + 0.001 * n for n in (1, 2, 3, 4)], abs=1e-6)


def test_many_ranks_are_a_band_with_the_ranks_that_stray_named(ui: Ui) -> None:
    frame = ui.frame("/api/series", run="team", key="work_time")
    (band,), (line,) = frame.header["bands"], frame.header["lines"]
    assert (frame.header["mode"], band["ranks"], frame.header["of_ranks"]) == ("band", 12, 12)
    assert frame.array(band["p50"]) == pytest.approx([0.1] * 100)
    assert frame.array(band["max"]) == pytest.approx([0.13] * 100)
    assert (line["rank"], line["role"], line["node"]) == (5, "outlier", "n1")
    assert line["skew"] == pytest.approx(0.3)
    lines = ui.frame("/api/series", run="team", key="work_time", mode="lines", ranks="primary,".rstrip(",")).header[
        "lines"
    ]
    assert [one["rank"] for one in lines] == [0]
    some = ui.frame("/api/series", run="team", key="loss", ranks="0,5-7").header["lines"]
    assert [(one["rank"], one["points"], one["state"]) for one in some] == [
        (0, 100, "finished"), (5, 100, "finished"), (6, 100, "finished"), (7, 60, "crashed"),
    ]  # fmt: skip
    assert ui.error("/api/series", 400, run="team", key="loss", ranks="5-2")["kind"] == "UsageError"


def test_runs_beside_each_other_are_one_line_each_and_a_metric_may_be_x(ui: Ui) -> None:
    frame = ui.frame("/api/series", run=["team", "r03"], key="loss")
    assert [(line["run"], line["rank"], line["points"]) for line in frame.header["lines"]] == [
        ("teams/team", None, 100), ("demo/r03", 0, 4),
    ]  # fmt: skip
    along = ui.frame("/api/series", run="r03", key="loss", x="loss")
    assert along.array(along.header["grid"]) == pytest.approx([3.0, 3.1, 3.2, 3.3], rel=1e-6)
    assert ui.frame("/api/series", run="r03", key="loss", x="tokens").header["empty"] == "no x"
    assert ui.frame("/api/series", run="r03", key="nothing").header["empty"] == "no key"


def test_along_epochs_all_steps_of_each_count_for_runs_and_bands_of_many_ranks(ui: Ui) -> None:
    frame = ui.frame("/api/series", run="epochs", key="loss", x="epoch", mode="mean")
    (line,) = frame.header["lines"]
    assert line["points"] == 120
    least, most = (frame.array(line[name]) for name in ("min", "max"))
    assert most == pytest.approx([1, 0.5, 0.25])
    assert least == pytest.approx([2.0 ** (-last / 40) for last in (39, 79, 119)])
    band = ui.frame("/api/series", run="epochs", key="loss", x="epoch").header
    assert (band["mode"], band["lines"]) == ("band", [])  # equal ranks: none strays from the median of its own step
    steps = ui.frame("/api/series", run="epochs", key="step", mode="mean")
    assert steps.array(steps.header["lines"][0]["last"]) == pytest.approx(np.arange(120))


# Logs, media, and what is not there


def test_a_run_that_printed_saved_and_sampled_nothing_says_so(ui: Ui) -> None:
    logs = ui.json("/api/logs", run="r03")
    assert (logs["lines"], logs["more_before"], logs["ranks"]) == ([], False, [])
    assert ui.json("/api/media", run="r03")["media"] == []
    assert ui.json("/api/files", run="r03")["files"] == []
    system = ui.json("/api/system", run="r03")
    assert (system["quantities"], system["from"]) == ([], None)
    assert ui.frame("/api/system/heatmap", run="r03", quantity="cpu.percent").header["empty"] == "no key"
    for pattern in ("(", "(a+)+b", "(a|a)*b", "((?:a?))+b", "((a|b)c)*d", "([)]|x)*y", ".*.*.*.*x", "x" * 600):
        assert ui.error("/api/logs", 400, run="r03", grep=pattern)["kind"] == "UsageError"
    assert ui.error("/api/nothing", 404)["kind"] == "HTTPError"


# Changes


def test_edits_tags_and_deletions_are_kept_and_undone(ui: Ui) -> None:
    def post(path: str, **body: Any) -> Any:
        answer = ui.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    edited = post("/api/edit", runs=["demo/r10", "demo/none"], name=HOSTILE, notes="# hi", add_tags=["x", "y"])
    assert [(row["name"], row["notes"], row["tags"]) for row in edited["rows"]] == [(HOSTILE, "# hi", ["x", "y"])]
    assert [failure["run"] for failure in edited["failed"]] == ["demo/none"]
    assert [row["id"] for row in ui.json("/api/runs", filter="tag:x")["rows"]] == ["r10"]
    matching = post("/api/edit", project="demo", filter="group:g1", archived=True)
    assert len(matching["rows"]) == 10
    assert ui.json("/api/runs", project="demo")["total"] == 20
    assert ui.json("/api/runs", project="demo", archived="1")["total"] == 30
    post("/api/edit", project="demo", filter="group:g1", archived_too=True, archived=False)
    assert post("/api/delete", runs=["demo/r10"])["done"] == ["demo/r10"]
    assert ui.json("/api/runs", project="demo")["total"] == 29
    assert post("/api/restore", runs=["demo/r10"])["done"] == ["demo/r10"]
    assert ui.json("/api/run", run="r10")["name"] == HOSTILE
