"""New runs are read ahead of who decodes them: a slow file system costs little more than a fast one."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from pathlib import Path

import pytest

from disttrack.index.fetch import AHEAD, PROBES, SLOW_S, WHOLE_BYTES, Fetched, ahead, fetch_log
from disttrack.index.indexer import Index
from tests.index.logs import finished_run

SLOW = 4 * SLOW_S


def test_nothing_but_the_fetch_touches_a_new_run(tmp_path: Path) -> None:
    """One call a run that the indexing thread makes itself would cost 10,000 round trips (facts/runlog.md §2)."""
    for number in range(20):
        finished_run(tmp_path, [(0, {"loss": 0.5})], f"run{number}")

    def fetch_and_remove(log: str) -> Fetched | None:
        fetched = fetch_log(log)
        shutil.rmtree(Path(log).parent)
        return fetched

    index = Index(tmp_path, {}, fetch=fetch_and_remove)
    assert index.catch_up()
    assert [record.sources[0].rows for record in index.runs()] == [1] * 20
    assert index.catch_up()
    assert index.runs() == []
    index.close()


def test_runs_of_a_slow_file_system_are_fetched_many_at_a_time(tmp_path: Path) -> None:
    for number in range(60):
        finished_run(tmp_path, [(0, {"loss": 0.5})], f"run{number}")
    together = threading.Barrier(8)
    calls = itertools.count()

    def fetch_slowly(log: str) -> Fetched | None:
        time.sleep(SLOW)
        if threading.current_thread() is not threading.main_thread() and next(calls) < 8:
            together.wait(300)  # raises where fewer than 8 are under way at once
        return fetch_log(log)

    index = Index(tmp_path, {}, fetch=fetch_slowly)
    assert index.catch_up()
    assert [record.sources[0].rows for record in index.runs()] == [1] * 60
    assert next(calls) >= 8
    index.close()


def test_quick_calls_are_made_without_threads_and_slow_ones_never_too_far_ahead() -> None:
    threads: set[str] = set()

    def note(item: int) -> int:
        threads.add(threading.current_thread().name)
        return item

    def made_here() -> bool:  # the machine may hold this thread up in a quick call, too
        threads.clear()
        assert list(ahead(note, range(100))) == list(range(100))
        return threads == {threading.current_thread().name}

    assert any(made_here() for _ in range(20))

    done: list[int] = []

    def note_slowly(item: int) -> int:
        if item < PROBES:
            time.sleep(SLOW)
        done.append(item)
        return item

    results = ahead(note_slowly, range(1_000))
    assert [next(results) for _ in range(50)] == list(range(50))
    results.close()
    assert len(done) <= 50 + AHEAD + 1


def test_a_log_too_long_to_be_held_is_left_to_be_read_piece_by_piece(tmp_path: Path) -> None:
    log = finished_run(tmp_path, [(0, {"loss": 0.5})]).log
    fetched = fetch_log(str(log))
    assert fetched is not None
    assert fetched.content == {1: (log / "000001.dtl").read_bytes()}
    (log / "000002.dtl").write_bytes(b"x" * WHOLE_BYTES)
    fetched = fetch_log(str(log))
    assert fetched is not None
    assert fetched.content == {}
    assert {number: seen.size for number, seen in fetched.seen.items()} == {
        1: (log / "000001.dtl").stat().st_size,
        2: WHOLE_BYTES,
    }


@pytest.mark.parametrize("name", ["1.dtl", "000001.dtl.tmp", "00000a.dtl", "notes"])
def test_what_is_no_segment_is_not_fetched(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"mine")
    assert fetch_log(str(tmp_path)) is not None
    fetched = fetch_log(str(tmp_path))
    assert fetched is not None
    assert fetched.seen == {}
