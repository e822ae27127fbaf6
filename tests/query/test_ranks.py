"""Ranks side by side: pace, steps behind, skew."""

from __future__ import annotations

from pathlib import Path

import pytest

from disttrack.errors import RunNotFound, UsageError
from disttrack.query.ranks import compare_ranks
from tests.index.logs import Process, RunLog, process_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run of four ranks: rank 1 takes 130 ms a step instead of 100, rank 2 stopped early, rank 3 never joined."""
    log = RunLog(tmp_path)
    processes: list[Process] = []
    for rank, (pace_us, steps) in enumerate([(100_000, 50), (130_000, 50), (100_000, 20)]):
        process = process_of(rank, 4)
        for step in range(steps):
            process.row({"loss": float(rank), "lr": 0.1}, step, after_us=pace_us)
            process.row({"acc": rank, "note": "t"}, step, after_us=1_000)  # the same row of the table
        processes.append(process)
    processes[0].row({"only": 1.0}, 49)
    log.commit_all(*processes)
    log.close()
    return tmp_path


def test_ranks_are_compared_by_the_time_between_their_rows(root: Path) -> None:
    found = compare_ranks(root, "run1")
    assert (found.id, found.project, found.name, found.metric) == ("run1", "demo", "calm-river-1", None)
    assert [(pace.rank, pace.last_step, pace.steps_behind) for pace in found.ranks] == [
        (0, 49, 0),
        (1, 49, 0),
        (2, 19, 30),
        (3, None, None),
    ]
    assert [pace.median for pace in found.ranks] == [
        pytest.approx(0.101),
        pytest.approx(0.131),
        pytest.approx(0.101),
        None,
    ]
    assert [pace.skew for pace in found.ranks] == [1.0, pytest.approx(0.131 / 0.101), 1.0, None]
    assert found.ranks[3].state == "absent"


def test_ranks_are_compared_by_a_metric(root: Path) -> None:
    found = compare_ranks(root, "demo/run1", "loss")
    assert [(pace.median, pace.p95, pace.skew) for pace in found.ranks] == [
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (2.0, 2.0, 2.0),
        (None, None, None),
    ]
    assert [pace.median for pace in compare_ranks(root, "run1", "only").ranks] == [1.0, None, None, None]


@pytest.mark.parametrize(
    ("metric", "hint"), [("los", "loss"), ("note", "no rank logged numbers"), ("zzz", "There are acc")]
)
def test_a_metric_nobody_logged_is_answered_with_the_near_ones(metric: str, hint: str, root: Path) -> None:
    with pytest.raises(UsageError, match=hint):
        compare_ranks(root, "run1", metric)


def test_a_clock_set_back_is_no_negative_pace(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of()
    for step, after_us in enumerate([1_000_000, 1_000_000, -3_600_000_000, 1_000_000]):
        process.row({"loss": 1.0}, step, after_us)
    log.commit_all(process)
    log.close()
    (pace,) = compare_ranks(tmp_path, "run1").ranks
    assert (pace.median, pace.p95) == (1.0, 1.0)


def test_a_run_without_rows_has_ranks_without_pace(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.commit_all(process_of(0, 2))
    log.close()
    assert [(pace.rank, pace.median, pace.steps_behind) for pace in compare_ranks(tmp_path, "run1").ranks] == [
        (0, None, None),
        (1, None, None),
    ]
    with pytest.raises(RunNotFound):
        compare_ranks(tmp_path, "run2")
