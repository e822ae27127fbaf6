"""Runs as rows: labels, times, config, summary; and the ids they answer to."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest

from disttrack.errors import RunNotFound, UnsupportedFormat, UsageError
from disttrack.journal.segment import FORMAT_VERSION, FrameKind, Segment
from disttrack.query.listing import list_runs, show_run
from disttrack.query.rank_view import show_rank
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, RunRow, Spread, detail_of, row_of
from disttrack.records.codec import encode
from disttrack.records.payloads import Alert, AlertLevel, End, LabelUpdate, MetricDefinition, RecordKind
from disttrack.records.types import RunHeader, RunId
from disttrack.records.values import plain
from tests.index.logs import START_US, Process, RunLog, finished_run, process_of
from tests.query.observers import NOW_S, observer


def detail(root: Path, run_id: str = "run1") -> RunDetail:
    with Reader(root, {}) as reader:
        return detail_of(reader.snapshot(run_id).record, observer())


def written(root: Path, *processes: Process) -> RunDetail:
    """Returns the run that these processes make."""
    log = RunLog(root, group="folds")
    log.commit_all(*processes)
    log.end()
    log.close()
    return detail(root)


def test_a_finished_run_as_a_row(tmp_path: Path) -> None:
    process = process_of(0, 2, job_type="train", tags=("a", "b"), notes="first try")
    process.row({"loss": 0.5, "epoch": 1, "best": True, "phase": "warmup"}, 0)
    process.end()
    log = RunLog(tmp_path, project="vision", run_id="ab12", group="folds")
    log.commit_all(process)
    log.end(START_US + 30_000_000)
    log.close()
    with Reader(tmp_path, {}) as reader:
        (record,) = reader.runs()
    assert row_of(record, observer()) == RunRow(
        id="ab12",
        entity=None,
        project="vision",
        name="calm-river-1",
        group="folds",
        job_type="train",
        state="finished",
        world_size=2,
        ranks_joined=1,
        attempt=0,
        created_at=START_US / 1e6,
        ended_at=START_US / 1e6 + 30,
        duration_s=30.0,
        tags=["a", "b"],
        notes="first try",
        summary={"best": True, "epoch": 1, "loss": 0.5, "phase": "warmup"},
        archived=False,
    )


def test_labels_are_those_of_the_lowest_rank_that_gave_some(tmp_path: Path) -> None:
    found = written(
        tmp_path,
        process_of(3, 4, name="third", job_type="eval", tags=("c",), notes="other"),
        process_of(1, 4, name="first", tags=(), notes=None),
        process_of(2, 4, name="second", job_type="train", tags=("b",), notes="mine"),
    )
    assert (found.name, found.job_type, found.tags, found.notes) == ("first", None, ["b"], "mine")
    assert [row.job_type for row in found.ranks] == [None, "rank-1", "rank-2", "rank-3"]


def test_what_the_program_calls_its_run_later_beats_init_and_the_newest_attempt_the_one_before(tmp_path: Path) -> None:
    first = [process_of(rank, 2, name="given", tags=("a",), notes="mine") for rank in range(2)]
    first[1].append(encode(RecordKind.LABELS, LabelUpdate(name="of rank 1", notes="")))
    log = RunLog(tmp_path)
    log.commit_all(*first)
    assert (detail(tmp_path).name, detail(tmp_path).tags, detail(tmp_path).notes) == ("of rank 1", ["a"], None)
    first[0].append(encode(RecordKind.LABELS, LabelUpdate(name="of rank 0", tags=())))
    log.commit_all(*first)
    assert (detail(tmp_path).name, detail(tmp_path).tags) == ("of rank 0", [])
    second = process_of(tags=("b",))
    second.attempt = 1
    log.commit_all(second)
    assert (detail(tmp_path).name, detail(tmp_path).tags, detail(tmp_path).notes) == ("of rank 0", ["b"], None)


def test_alerts_are_told_newest_first_with_their_ranks(tmp_path: Path) -> None:
    processes = [process_of(rank, 2) for rank in range(2)]
    for number, rank in enumerate((0, 1, 0)):
        alert = Alert(title=f"t{number}", text="x", level=AlertLevel.WARN, time_us=START_US + number)
        processes[rank].append(encode(RecordKind.ALERT, alert))
    found = written(tmp_path, *processes)
    assert [(row.title, row.rank, row.level) for row in found.alerts] == [
        ("t2", 0, "WARN"),
        ("t1", 1, "WARN"),
        ("t0", 0, "WARN"),
    ]


def test_a_run_brought_home_without_a_writer_is_tagged_orphan(tmp_path: Path) -> None:
    process = process_of(tags=("mine",))
    process.orphan = True
    assert written(tmp_path, process).tags == ["mine", "orphan"]


def test_the_lowest_rank_that_set_a_config_key_counts_and_its_last_word(tmp_path: Path) -> None:
    low, high = process_of(0, 2), process_of(1, 2)
    low.config(lr=0.1, layers={"first": [1, 2]})
    low.config(lr=0.2)
    high.config(lr=9.0, seed=plain(2**100))
    assert written(tmp_path, high, low).config == {"layers": {"first": [1, 2]}, "lr": 0.2, "seed": 2**100}


def test_the_summary_is_the_last_value_of_the_lowest_rank_that_logged_a_key(tmp_path: Path) -> None:
    low, high = process_of(0, 2), process_of(1, 2)
    low.row({"loss": 1.0}, 9)
    low.row({"loss": 0.5, "big": 2**70}, 3)  # by call order, not by step
    high.row({"loss": 7.0, "acc": 0.25}, 99)
    found = written(tmp_path, low, high)
    assert found.summary == {"acc": 0.25, "big": 2**70, "loss": 0.5}
    assert list(found.summary) == ["acc", "big", "loss"]
    assert found.summary_ranks == {
        "acc": Spread(0.25, 0.25, 0.25, 1),
        "big": Spread(2**70, float(2**70), 2**70, 0),
        "loss": Spread(0.5, 3.75, 7.0, 1),
    }


def test_a_summary_set_by_hand_stands_until_the_key_is_logged_again(tmp_path: Path) -> None:
    process = process_of()
    process.row({"loss": 1.0, "acc": 0.1, "gone": 1, "back": 1}, 0)
    process.summary({"acc": 0.9, "best": None}, removed=("gone", "back"))
    process.row({"loss": 0.5}, 1)
    process.row({"back": 2}, 1)
    assert written(tmp_path, process).summary == {"acc": 0.9, "back": 2, "best": None, "loss": 0.5}


def test_records_that_arrive_out_of_order_give_the_same_summary(tmp_path: Path) -> None:
    process = process_of()
    process.row({"loss": 1.0}, 0)
    process.config(lr=1)
    process.summary({"best": 1})
    process.row({"loss": 2.0}, 1)
    process.config(lr=2)
    process.summary({"best": 2})
    log = RunLog(tmp_path)
    log.commit((process, 3, 6))
    log.commit((process, 0, 3))
    log.close()
    found = detail(tmp_path)
    assert (found.summary, found.config) == ({"best": 2, "loss": 2.0}, {"lr": 2})


def test_keys_the_newest_attempt_did_not_log_fall_back_to_earlier_ones(tmp_path: Path) -> None:
    first, second = process_of(), process_of()
    second.attempt = 1
    first.row({"loss": 1.0, "eval": 0.7}, 10)
    first.config(lr=1, seed=3)
    second.row({"loss": 2.0}, 4)
    second.config(lr=2)
    found = written(tmp_path, first, second)
    assert found.summary == {"eval": 0.7, "loss": 2.0}
    assert found.config == {"lr": 2, "seed": 3}
    assert list(found.summary_ranks) == ["loss"]


def test_spreads_leave_out_nan_unless_there_is_nothing_else(tmp_path: Path) -> None:
    processes = [process_of(rank, 3) for rank in range(3)]
    for process, loss in zip(processes, (math.nan, 2.0, 4.0), strict=True):
        process.row({"loss": loss, "none": math.nan, "flag": True, "text": "t", "inf": math.inf * (loss - 3)}, 0)
    found = written(tmp_path, *processes).summary_ranks
    assert found["loss"] == Spread(2.0, 3.0, 4.0, 2)
    assert (found["none"].argmax, math.isnan(found["none"].mean)) == (0, True)
    assert (found["inf"].min, found["inf"].max, math.isnan(found["inf"].mean)) == (-math.inf, math.inf, True)
    assert found.keys() == {"loss", "none", "inf"}


def test_ints_beyond_any_float_have_a_spread(tmp_path: Path) -> None:
    processes = [process_of(rank, 2) for rank in range(2)]
    for rank, process in enumerate(processes):
        process.row({"big": 10**400 + rank}, 0)
    assert written(tmp_path, *processes).summary_ranks["big"] == Spread(10**400, math.inf, 10**400 + 1, 1)


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for number, project in enumerate(["a", "b", "a"]):
        log = RunLog(tmp_path, project=project, run_id=f"run{number}")
        log.open(START_US + number * 1_000_000)
        log.close()
    assert [run.id for run in list_runs(tmp_path)] == ["run2", "run1", "run0"]
    assert [run.id for run in list_runs(tmp_path, project="a")] == ["run2", "run0"]
    assert [run.id for run in list_runs(tmp_path, limit=1)] == ["run2"]
    assert list_runs(tmp_path, project="none") == list_runs(tmp_path / "nowhere") == []


def test_a_run_answers_to_its_id_and_to_those_its_ranks_gave(tmp_path: Path) -> None:
    process = process_of(0, 2)
    other = process_of(1, 2)
    written(tmp_path, process, other)
    for name in ("run1", "demo/run1", process.join.own_id, f"demo/{other.join.own_id}"):
        assert show_run(tmp_path, name).id == "run1"
    for name in ("run2", "other/run1", "demo/", "/run1", ""):
        with pytest.raises(RunNotFound) as raised:
            show_run(tmp_path, name)
        assert raised.value.matches == ()
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_an_id_of_two_projects_needs_the_project(tmp_path: Path) -> None:
    for project in ("a", "b"):
        finished_run(tmp_path, [(0, {"loss": 0.0})], project=project)
    with pytest.raises(RunNotFound) as raised:
        show_run(tmp_path, "run1")
    assert sorted(raised.value.matches) == ["a/run1", "b/run1"]
    assert show_run(tmp_path, "b/run1").project == "b"


def test_a_runs_own_id_beats_the_alias_of_another(tmp_path: Path) -> None:
    process = process_of(own_id=RunId("run2"))
    written(tmp_path, process)
    finished_run(tmp_path, [(0, {"loss": 0.0})], "run2")
    assert show_run(tmp_path, "run2").id == "run2"


def test_an_alias_is_hidden_and_leads_to_the_run_it_is_part_of(tmp_path: Path) -> None:
    finished_run(tmp_path, [(0, {"loss": 0.0})])
    for run_id, of in (("second", "run1"), ("third", "second"), ("lost", "nowhere")):
        log = RunLog(tmp_path, run_id=run_id)
        process = process_of()
        log.commit_all(process)
        log.see(process, "moved")
        log.alias(of)
        log.close()
    assert [run.id for run in list_runs(tmp_path)] == ["run1"]
    assert show_run(tmp_path, "second").id == show_run(tmp_path, "demo/third").id == "run1"
    assert show_run(tmp_path, "lost").id == "lost"


def test_aliases_that_go_round_are_no_endless_loop(tmp_path: Path) -> None:
    for run_id, of in (("a", "b"), ("b", "a")):
        log = RunLog(tmp_path, run_id=run_id)
        log.alias(of)
        log.close()
    assert show_run(tmp_path, "a").id in "ab"


def test_a_newer_disttracks_run_is_listed_and_refused_in_detail(tmp_path: Path) -> None:
    log = tmp_path / "demo" / "future" / "log"
    log.mkdir(parents=True)
    segment = Segment(log)
    segment.append(
        FrameKind.HEADER,
        RunHeader(
            format_version=FORMAT_VERSION + 1,
            run_id=RunId("future"),
            project="demo",
            name="n",
            group=None,
            launch_key="",
            ordinal=0,
            nonce="",
            time_us=START_US,
        ),
    )
    segment.close()
    finished_run(tmp_path, [(0, {"loss": 0.0})])
    assert [(run.id, run.state) for run in list_runs(tmp_path)] == [
        ("future", "unknown"),
        ("run1", "finished"),
    ]
    with pytest.raises(UnsupportedFormat):
        show_run(tmp_path, "future")


def test_nothing_but_the_time_changes_what_is_told_of_an_ended_run(tmp_path: Path) -> None:
    process = process_of()
    process.row({"loss": 1.0}, 0)
    process.end()
    before = written(tmp_path, process)
    for path in tmp_path.glob("index-*"):
        path.unlink()
    assert detail(tmp_path) == before
    with Reader(tmp_path, {}) as reader:
        later = detail_of(reader.snapshot("run1").record, observer(now_s=NOW_S + 1_000))
    assert (later.duration_s, later.state) == (before.duration_s, before.state)


def test_what_ranks_were_configured_with_otherwise_is_told_by_rank(tmp_path: Path) -> None:
    ranks = [process_of(rank, 3) for rank in range(3)]
    ranks[0].config(lr=0.1, shard=0, flag=True)
    ranks[1].config(lr=0.1, shard=1, flag=1)
    ranks[2].config(lr=0.1, only_here="x")
    found = written(tmp_path, *ranks)
    assert found.config == {"flag": True, "lr": 0.1, "only_here": "x", "shard": 0}
    assert found.config_by_rank == {1: {"flag": 1, "shard": 1}}


def test_one_rank_by_itself(tmp_path: Path) -> None:
    ranks = [process_of(rank, 3) for rank in range(2)]
    for number, process in enumerate(ranks):
        process.append(encode(RecordKind.METRIC, MetricDefinition(name="loss", summary=("max",))))
        process.config(shard=number)
        for step in range(3):
            process.row({"loss": number + step / 2}, step)
    ranks[1].append(encode(RecordKind.END, End(exit_code=3, logged=1, dropped=0, time_us=START_US, exception="why")))
    written(tmp_path, *ranks)
    one = show_rank(tmp_path, "run1", 1)
    assert (one.config, one.summary) == ({"shard": 1}, {"loss": 2.0, "loss.max": 2.0})
    assert (one.state, one.exit_code, one.exception, one.rows, one.last_step) == ("failed", 3, "why", 3, 2)
    assert show_rank(tmp_path, "run1", 2).state == "absent"
    with pytest.raises(UsageError, match="its ranks are 0 to 2"):
        show_rank(tmp_path, "run1", 3)
