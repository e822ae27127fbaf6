"""The attempts of a run: how each went, who failed first, how it ended, and how many steps were lost with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from disttrack.query.attempts import AttemptRow
from disttrack.query.config_changes import ConfigChange
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, detail_of
from tests.index.logs import START_US, Process, RunLog, process_of
from tests.query.observers import observer


def detail(root: Path, looking: Observer | None = None) -> RunDetail:
    """Returns the one run of a root, the same from the live tail, from a sealed index and from a rebuilt one."""
    found: list[RunDetail] = []
    for _ in range(2):
        with Reader(root, {}) as reader:
            (record,) = reader.runs()
            found.append(detail_of(record, looking or observer()))
        for path in root.glob("index*"):
            path.unlink()
    assert found[0] == found[1]
    return found[0]


def attempt(log: RunLog, number: int, *steps: range, **joins: object) -> list[Process]:
    """Has a rank for each of the ranges log them in an attempt."""
    processes = [process_of(rank, len(steps), **joins) for rank in range(len(steps))]
    for process, mine in zip(processes, steps, strict=True):
        process.attempt = number
        for step in mine:
            process.row({"loss": 1.0}, step)
    log.commit_all(*processes)
    return processes


def test_each_attempt_tells_its_steps_and_those_that_were_gone_over_again(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for process in attempt(log, 0, range(10), range(8)):
        log.see(process, "crashed", START_US + 5_000_000)
    for process in attempt(log, 1, range(6, 20), range(6, 20), time_us=START_US + 6_000_000):
        log.see(process, "crashed", START_US + 9_000_000)
    for process in attempt(log, 2, range(12, 30), time_us=START_US + 9_500_000):
        process.end()
        log.commit_all(process)
    log.end(START_US + 11_000_000)
    log.close()
    run = detail(tmp_path)
    begun_s = START_US / 1e6
    assert [
        (row.attempt, row.state, row.world_size, row.ranks_joined, row.first_step, row.last_step, row.lost_steps)
        for row in run.attempts
    ] == [
        (0, "crashed", 2, 2, 0, 9, 4),
        (1, "crashed", 2, 2, 6, 19, 8),
        (2, "finished", 1, 1, 12, 29, 0),
    ]
    assert [(row.started_at, row.ended_at) for row in run.attempts] == [
        (begun_s, begun_s + 5),
        (begun_s + 6, begun_s + 9),
        (begun_s + 9.5, begun_s + 11),
    ]
    assert (run.state, run.first_failure) == ("finished", None)
    assert run.attempts[0].first_failure is not None


def test_an_attempt_that_was_begun_anew_lost_all_its_steps_and_one_that_was_gone_on_with_none(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    attempt(log, 0, range(5, 10))
    attempt(log, 1, range(10, 20))
    attempt(log, 2, range(4))
    attempt(log, 3, range(0))
    log.close()
    rows = detail(tmp_path).attempts
    assert [row.lost_steps for row in rows] == [5, 10, 0, 0]
    assert [(row.first_step, row.last_step) for row in rows[2:]] == [(0, 3), (None, None)]


def test_a_run_of_which_nobody_joined_has_no_attempt(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.open()
    log.close()
    assert (detail(tmp_path).attempts, detail(tmp_path).first_failure) == ([], None)


def test_an_attempt_whose_ranks_may_go_on_has_not_ended(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    attempt(log, 0, range(3))
    attempt(log, 1, range(3))
    log.close()
    assert [(row.state, row.ended_at) for row in detail(tmp_path).attempts] == [("unknown", None)] * 2


def test_the_first_failure_is_the_first_in_the_log_whatever_the_clocks_say(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    processes = [process_of(rank, 4, host=f"node{rank}") for rank in range(4)]
    log.commit_all(*processes)
    log.see(processes[1], "silent")
    log.see(processes[2], "crashed", START_US + 9_000_000, signal=9)
    log.see(processes[0], "crashed", START_US + 1_000_000, signal=15)
    log.see(processes[3], "ended", START_US + 1_000_000, exit_code=0)
    log.close()
    log.see(processes[1], "lost", START_US)
    log.see(processes[2], "crashed", START_US + 9_000_000)  # another writer, which could not tell how
    log.close()
    run = detail(tmp_path)
    assert run.first_failure is not None
    assert (run.first_failure.rank, run.first_failure.node, run.first_failure.state) == (2, "node2", "crashed")
    assert (run.first_failure.signal, run.first_failure.exit_code, run.first_failure.others) == ("SIGKILL", None, 1)
    assert run.first_failure.at == START_US / 1e6 + 9
    assert [(row.state, row.exit_code, row.signal) for row in run.ranks] == [
        ("terminated", None, "SIGTERM"),
        ("lost", None, None),
        ("crashed", None, "SIGKILL"),
        ("finished", 0, None),
    ]


def test_what_only_the_observer_sees_is_no_failure_before_what_the_log_tells(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    gone, failed = process_of(0, 2), process_of(1, 2)
    failed.end(exit_code=1)
    log.commit_all(gone, failed)
    log.see(failed, "ended", exit_code=1)
    log.close()
    run = detail(tmp_path, observer(hostname="node0", boot_id="boot0"))
    assert [row.state for row in run.ranks] == ["crashed", "failed"]
    assert run.first_failure is not None
    assert (run.first_failure.rank, run.first_failure.exit_code, run.first_failure.others) == (1, 1, 1)


@pytest.mark.parametrize(
    ("said", "later", "expected"),
    [
        (0, {}, ("finished", 0, None)),
        (0, {"signal": 11}, ("finished", 0, "SIGSEGV")),
        (0, {"exit_code": 3}, ("finished", 3, None)),
        (2, {"signal": 6}, ("failed", 2, "SIGABRT")),
    ],
)
def test_a_rank_that_ended_stays_so_and_the_end_of_its_process_is_told_too(
    tmp_path: Path, said: int, later: dict[str, Any], expected: tuple[str, int | None, str | None]
) -> None:
    log, process = RunLog(tmp_path), process_of()
    process.end(said)
    log.commit_all(process)
    log.see(process, "ended", exit_code=said)
    log.end()
    if later:
        log.see(process, "ended", **later)
    log.close()
    run = detail(tmp_path)
    assert [(row.state, row.exit_code, row.signal) for row in run.ranks] == [expected]
    assert (run.first_failure is None) == (said == 0)
    assert isinstance(run.attempts[0], AttemptRow)


def test_a_rank_that_was_stopped_and_went_on_is_one_attempt_told_by_who_went_on_last(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    # The clock of the node on which it went on is behind.
    lives = [(range(4), 0.1, START_US + 9_000_000), (range(4, 8), 0.1, START_US), (range(8, 10), 0.5, START_US - 5)]
    for number, (steps, lr, time_us) in enumerate(lives):
        process = process_of(time_us=time_us, boot_id=f"boot{number}")
        process.config(lr=lr)
        for step in steps:
            process.row({"loss": step / 2}, step)
        process.end(stopped=True)
        log.commit_all(process)
        log.see(process, "ended", time_us, exit_code=0)
    log.end()
    log.close()
    run = detail(tmp_path)
    assert (run.state, run.attempt, run.config, run.summary["loss"]) == ("stopped", 0, {"lr": 0.5}, 4.5)
    assert [(rank.rank, rank.state, rank.rows, rank.last_step) for rank in run.ranks] == [(0, "stopped", 10, 9)]
    assert [(row.attempt, row.state, row.first_step, row.last_step, row.lost_steps) for row in run.attempts] == [
        (0, "stopped", 0, 9, 0)
    ]
    assert run.config_changes == [ConfigChange(rank=0, attempt=0, step=8, key="lr", before=0.1, after=0.5)]


def test_of_a_rank_that_went_on_before_it_was_stored_the_clock_of_its_node_tells_the_order(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    lives = [process_of(time_us=START_US + number) for number in range(4)]
    for number, process in enumerate(lives):
        process.config(lr=number / 10)
        process.row({"loss": 1.0}, number)
        process.end(stopped=number < 3)
    for process in (lives[1], lives[2], lives[0], lives[3]):
        log.commit_all(process)
        log.see(process, "ended", exit_code=0)
    log.end()
    log.close()
    run = detail(tmp_path)
    assert (run.state, run.config) == ("finished", {"lr": 0.3})
    assert [(change.step, change.before, change.after) for change in run.config_changes] == [
        (1, 0.0, 0.1),
        (2, 0.1, 0.2),
        (3, 0.2, 0.3),
    ]


def test_a_rank_that_was_stopped_and_went_on_is_in_the_state_of_who_went_on(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    paused, last = process_of(time_us=START_US + 1), process_of(time_us=START_US, boot_id="another")
    for process, stopped in ((paused, True), (last, False)):
        process.row({"loss": 1.0}, 0)
        process.end(stopped=stopped)
        log.commit_all(process)
        log.see(process, "ended", exit_code=0)
    log.end()
    log.close()
    assert detail(tmp_path).state == "finished"
