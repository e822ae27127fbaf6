"""Who failed, and who was only ended for it: torchrun's SIGTERM after a peer's failure is nobody's crash."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from disttrack.query.runs import RunDetail
from disttrack.records.types import Rank, changed
from tests.index.logs import START_US, Process, RunLog, process_of
from tests.query.observers import observer
from tests.query.test_attempts import detail

SECOND_US = 1_000_000


def attempt(
    log: RunLog, number: int, *, world_size: int = 3, restarts: int = 0, source: str = "torchrun"
) -> list[Process]:
    """Has all ranks of an attempt log something; the first node has two of them."""
    processes = [
        process_of(
            rank,
            world_size,
            host=f"node{rank // 2}",
            hints=(("TORCHELASTIC_RESTART_COUNT", str(restarts)),),
        )
        for rank in range(world_size)
    ]
    for process in processes:
        place = Rank(rank=process.join.rank.rank, world_size=world_size, source=source)
        process.join = changed(process.join, rank=place)
        process.attempt = number
        process.row({"loss": 1.0}, 0)
    log.commit_all(*processes)
    return processes


def told(log: RunLog, *processes: Process, after_s: int = 1) -> None:
    for process in processes:
        log.see(process, "crashed", START_US + after_s * SECOND_US, signal=signal.SIGTERM)


def states(run: RunDetail) -> list[str]:
    return [row.state for row in run.ranks]


def test_ranks_that_were_ended_for_a_peers_failure_did_not_crash(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    log.see(ranks[1], "crashed", START_US, exit_code=1, exception="ValueError: a batch of nan")
    told(log, ranks[0], ranks[2])
    log.end()
    log.close()
    run = detail(tmp_path)
    assert states(run) == ["terminated", "crashed", "terminated"]
    first = run.first_failure
    assert first is not None
    assert (first.rank, first.exit_code, first.exception) == (1, 1, "ValueError: a batch of nan")
    assert (first.others, first.terminated) == (0, 2)


def test_the_run_fails_as_its_first_cause_did(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    ranks[1].end(exit_code=1)
    log.commit_all(ranks[1])
    log.see(ranks[1], "ended", START_US, exit_code=1)
    told(log, ranks[0], ranks[2])
    log.end()
    log.close()
    run = detail(tmp_path)
    assert (run.state, states(run)) == ("failed", ["terminated", "failed", "terminated"])


def test_a_rank_that_ignored_sigterm_and_was_killed_for_it_did_not_crash_either(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    log.see(ranks[0], "crashed", START_US, signal=signal.SIGSEGV)
    log.see(ranks[1], "crashed", START_US + 2 * SECOND_US, signal=signal.SIGKILL)  # of its own, or of no memory
    log.see(ranks[2], "crashed", START_US + 31 * SECOND_US, signal=signal.SIGKILL)
    log.close()
    assert states(detail(tmp_path)) == ["crashed", "crashed", "terminated"]


def test_a_rank_whose_handler_ends_it_by_the_customary_exit_code_was_told_to(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    log.see(ranks[0], "crashed", START_US, exit_code=3)
    ranks[1].end(exit_code=143)
    ranks[2].end(exit_code=1)
    log.commit_all(ranks[1], ranks[2])
    for rank, code in ((ranks[1], 143), (ranks[2], 1)):
        log.see(rank, "ended", START_US + SECOND_US, exit_code=code)
    log.close()
    assert states(detail(tmp_path)) == ["crashed", "terminated", "failed"]


def test_who_was_ended_first_of_all_is_the_cause_where_others_failed_after_it(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    told(log, ranks[2])
    log.see(ranks[0], "crashed", START_US + SECOND_US, exit_code=1)
    told(log, ranks[1], after_s=2)
    log.close()
    run = detail(tmp_path)
    assert states(run) == ["crashed", "terminated", "crashed"]
    assert run.first_failure is not None
    assert (run.first_failure.rank, run.first_failure.signal, run.first_failure.others) == (2, "SIGTERM", 1)


def test_a_launch_that_was_told_to_end_is_preempted(tmp_path: Path) -> None:
    """A scheduler's SIGTERM reaches torchrun, and torchrun ends all its ranks."""
    log = RunLog(tmp_path)
    told(log, *attempt(log, 0))
    log.end()
    log.close()
    run = detail(tmp_path)
    assert (run.state, states(run), run.first_failure) == ("preempted", ["preempted"] * 3, None)


@pytest.mark.parametrize("known", [0, 1, 2])
@pytest.mark.parametrize("stored", [True, False], ids=["unknown", "not stored yet"])
def test_a_launch_that_was_told_to_end_is_preempted_whatever_is_known_of_its_other_ranks(
    tmp_path: Path, known: int, stored: bool
) -> None:
    """Of some ranks nobody saw how they ended, before or after the others; or that is not in the log yet."""
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    for rank in range(3):
        if rank == known:
            told(log, ranks[rank])
        elif stored:
            log.see(ranks[rank], "crashed", START_US)
    log.close()
    run = detail(tmp_path, observer(hostname="node0", boot_id=ranks[0].join.boot_id))
    assert (run.state, states(run), run.first_failure) == ("preempted", ["preempted"] * 3, None)


def test_how_a_rank_ended_counts_though_it_was_told_late(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    log.see(ranks[2], "crashed", START_US)
    told(log, *ranks)
    log.close()
    assert states(detail(tmp_path)) == ["preempted"] * 3


@pytest.mark.parametrize("contradiction", ["another cause", "a failure that was counted"])
def test_a_launch_of_which_something_else_is_known_was_not_told_to_end(tmp_path: Path, contradiction: str) -> None:
    log = RunLog(tmp_path)
    ranks = attempt(log, 0)
    log.see(ranks[0], "crashed", START_US, exit_code=1 if contradiction == "another cause" else None)
    told(log, ranks[1], ranks[2])
    if contradiction != "another cause":
        attempt(log, 1, restarts=1)
    log.close()
    first = detail(tmp_path).attempts[0]
    assert first.state == "crashed"
    assert first.first_failure is not None
    assert (first.first_failure.rank, first.first_failure.terminated) == (0, 2)


def test_ranks_of_torchrun_that_went_without_a_word_after_a_peer_were_ended_by_it(tmp_path: Path) -> None:
    """An older kernel does not tell how a process ended that was reaped before anybody looked."""
    log = RunLog(tmp_path)
    for process in attempt(log, 0):
        log.see(process, "crashed", START_US)
    log.close()
    assert states(detail(tmp_path)) == ["crashed", "terminated", "terminated"]


def test_without_a_launcher_that_ends_all_together_who_is_ended_first_crashed(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    told(log, *attempt(log, 0, source="settings"))
    log.close()
    assert states(detail(tmp_path)) == ["crashed", "terminated", "terminated"]


@pytest.mark.parametrize(
    ("restarts", "world_size", "expected"),
    [(0, 5, "stopped"), (1, 3, "crashed")],
    ids=["other ranks came", "a rank was ended by somebody"],
)
def test_an_attempt_that_was_ended_for_more_ranks_to_come_is_no_failure(
    tmp_path: Path, restarts: int, world_size: int, expected: str
) -> None:
    log = RunLog(tmp_path)
    told(log, *attempt(log, 0))
    attempt(log, 1, world_size=world_size, restarts=restarts)
    log.close()
    first = detail(tmp_path).attempts[0]
    assert (first.state, first.first_failure is None) == (expected, expected == "stopped")
