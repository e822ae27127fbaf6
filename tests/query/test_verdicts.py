"""Whom the page may call slow: by work that is told apart from waiting, and never by step times that are equal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from disttrack.query.members import Observer
from disttrack.query.ranks import comparison_of
from disttrack.query.reader import Reader
from disttrack.query.verdicts import Verdict, is_step_time, verdict_on, work_metric
from tests.index.logs import RunLog, process_of


def verdict(root: Path, metric: str | None) -> Verdict:
    with Reader(root) as reader:
        comparison = comparison_of(reader.snapshot("run1"), metric, Observer.here(root))
    return verdict_on(comparison.ranks, metric, None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Leaves a run of DDP: rank 2 works 30 % longer, the others wait for it, so all steps take 130 ms."""
    log, ranks = RunLog(tmp_path), [process_of(rank, 4, host=f"n{rank // 2}") for rank in range(4)]
    for rank, process in enumerate(ranks):
        for step in range(50):
            row = {"work_time": 0.13 if rank == 2 else 0.1, "step_time": 0.13, "loss": 2.0 if rank == 1 else 1.0}
            process.row(row, step, after_us=130_000)
        process.end()
    log.commit_all(*ranks)
    log.end()
    log.close()
    return tmp_path


@pytest.mark.parametrize("metric", [None, "step_time"])
def test_equal_step_times_name_no_culprit_and_say_why(root: Path, metric: str | None) -> None:
    found = verdict(root, metric)
    assert (found.kind, found.rank, found.node, found.skew) == ("synchronised", None, None, None)
    assert "synchronised" in found.text
    assert not any(f"ank {rank} " in found.text for rank in range(4))


def test_work_that_is_told_apart_names_the_slow_rank(root: Path) -> None:
    found = verdict(root, "work_time")
    assert (found.kind, found.rank, found.node) == ("slow", 2, "n1")
    assert found.text == "Rank 2 (n1) is slow: +30% above the median rank in work_time."


def test_a_dead_rank_does_not_hide_who_is_slow(root: Path) -> None:
    with Reader(root) as reader:
        paces = comparison_of(reader.snapshot("run1"), "work_time", Observer.here(root)).ranks
    paces = [replace(pace, state="crashed", signal="SIGKILL") if pace.rank == 1 else pace for pace in paces]
    found = verdict_on(paces, "work_time", None)
    assert (found.kind, found.rank) == ("dead", 1)
    assert found.text == (
        "Rank 1 (n0) crashed by SIGKILL at step 49. Rank 2 (n1) is slow: +30% above the median rank in work_time."
    )


def test_what_is_no_time_makes_nobody_slow(root: Path) -> None:
    found = verdict(root, "loss")
    assert (found.kind, found.rank) == ("high", 1)
    assert "slow" not in found.text


def test_names_tell_work_from_whole_steps() -> None:
    for name in ("step_time", "perf/step_time_ms", "iter_time", "train.batch_seconds", "step_s"):
        assert is_step_time(name), name
        assert work_metric([name]) is None, name
    for name in ("work_time", "perf/forward_ms", "data_time", "compute_s", "train/backward_time", "time/compute"):
        assert work_metric(["loss", name]) == name
        assert not is_step_time(name), name
    for name in ("loss", "timestep", "samples_per_s", "data", "forward"):
        assert not is_step_time(name)
        assert work_metric([name]) is None
