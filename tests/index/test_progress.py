"""Who waits for a long catch-up is told how far it is; a short one says nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from disttrack.index.indexer import Index
from disttrack.index.progress import LOG_EVERY_S, PATIENCE_S, Meter, Progress, listening
from tests.index.logs import finished_run


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def metered(runs: int, size_bytes: Callable[[], int | None], times: list[float]) -> list[Progress]:
    """Returns what is told where a run of 10 MB is done at each of these times."""
    told: list[Progress] = []
    clock = Clock()
    with listening(told.append):
        meter = Meter(runs, size_bytes, clock)
    for done, now in enumerate(times, 1):
        clock.now = now
        meter.reached(done, done * 10_000_000)
    return told


def test_nothing_is_told_of_a_catch_up_that_is_soon_over() -> None:
    def size_bytes() -> int | None:
        raise AssertionError("nobody asked")

    assert metered(3, size_bytes, [0.1, 0.2, 0.9 * PATIENCE_S]) == []


def test_a_long_catch_up_tells_how_far_it_is_and_its_end() -> None:
    told = metered(4, lambda: 40_000_000, [0.5, 1.5, 2.0, 2.1])
    assert [progress.runs for progress in told] == [2, 3, 4]
    assert str(told[0]) == "2 of 4 runs, 20 MB of 40 MB"
    assert [progress.fraction for progress in told] == [0.5, 0.75, 1.0]
    assert [progress.done for progress in told] == [False, False, True]
    assert str(metered(12_000, lambda: None, [2.0])[0]) == "1 of 12,000 runs, 10 MB"


def test_without_a_listener_the_log_says_so_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    meter = Meter(100, lambda: None, clock)
    with caplog.at_level(logging.INFO, "disttrack"):
        for done in range(1, 101):
            clock.now = done * LOG_EVERY_S / 40
            meter.reached(done, 0)
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "Indexing: 4 of 100 runs",
        "Indexing: 44 of 100 runs",
        "Indexing: 84 of 100 runs",
        "Indexing: 100 of 100 runs",
    ]


def test_an_index_that_is_quick_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    finished_run(tmp_path, [(0, {"loss": 0.5})])
    index = Index(tmp_path, {})
    with caplog.at_level(logging.INFO, "disttrack"):
        assert index.catch_up()
    assert caplog.records == []
    index.close()
