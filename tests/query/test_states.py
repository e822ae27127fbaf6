"""The state of a rank and of its run, from what the log says and what the observer sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from disttrack.query.members import Observer, RankState, run_state
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, RunRow, detail_of
from disttrack.records.codec import encode
from disttrack.records.payloads import End, Preempting, RecordKind
from disttrack.records.types import Rank
from tests.index.logs import START_US, Process, RunLog, process_of
from tests.query.observers import NOW_S, observer

HERE = observer(hostname="node0", boot_id="boot0", alive={1_000})
REBOOTED = observer(hostname="node0")
NEAR = observer(touched_s=NOW_S - 119)
FAR = observer(touched_s=NOW_S - 121)
UNSETTLED = Rank(rank=0, world_size=1, source="test", settled=False)


def detail(root: Path, looking: Observer | None = None) -> RunDetail:
    """Returns the one run of a root as the observer sees it."""
    with Reader(root, {}) as reader:
        (record,) = reader.runs()
        return detail_of(record, looking or observer())


def nothing(log: RunLog, process: Process) -> None:
    log.commit_all(process)


def saw(*seen: str, exit_code: int | None = None) -> Callable[[RunLog, Process], None]:
    def act(log: RunLog, process: Process) -> None:
        for one in seen:
            log.see(process, one, exit_code=exit_code)

    return act


def ended(exit_code: int, exception: str | None = None) -> Callable[[RunLog, Process], None]:
    def act(log: RunLog, process: Process) -> None:
        end = End(exit_code=exit_code, logged=1, dropped=0, time_us=process.time_us, exception=exception)
        process.append(encode(RecordKind.END, end), 0)
        log.see(process, "silent")
        log.commit_all(process)

    return act


@pytest.mark.parametrize(
    ("act", "looking", "rank", "run"),
    [
        (ended(0), observer(), "finished", "finished"),
        (ended(1), observer(), "failed", "failed"),
        (ended(0, "ValueError"), observer(), "failed", "failed"),
        (saw("crashed"), HERE, "crashed", "crashed"),
        (saw("lost"), NEAR, "lost", "lost"),
        (saw("silent"), HERE, "silent", "unknown"),
        (saw("silent", "running"), HERE, "running", "running"),
        (saw("ended", exit_code=0), observer(), "finished", "finished"),
        (saw("ended", exit_code=3), observer(), "failed", "failed"),
        (nothing, HERE, "running", "running"),
        (nothing, observer(boot_id="boot0"), "crashed", "crashed"),
        (nothing, REBOOTED, "lost", "lost"),
        (nothing, NEAR, "running", "running"),
        (nothing, FAR, "silent", "unknown"),
        (nothing, observer(), "silent", "unknown"),
    ],
)
def test_state_of_a_single_rank(
    act: Callable[[RunLog, Process], None], looking: Observer, rank: str, run: str, tmp_path: Path
) -> None:
    log, process = RunLog(tmp_path), process_of()
    process.row({"loss": 1.0}, 0)
    act(log, process)
    log.close()
    found = detail(tmp_path, looking)
    assert (found.ranks[0].state, found.state) == (rank, run)


@pytest.mark.parametrize("looking", [HERE, NEAR])
def test_a_rank_that_may_still_be_told_more_is_pending(looking: Observer, tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of(rank=UNSETTLED, rank_job_type=None)
    log.commit_all(process)
    assert (detail(tmp_path, looking).ranks[0].state, detail(tmp_path, looking).state) == ("pending", "running")
    log.close()


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["finished", "crashed", "failed"], "crashed"),
        (["running", "failed"], "failed"),
        (["finished", "lost", "silent"], "lost"),
        (["stopped", "preempted", "running"], "preempted"),
        (["stopped", "running"], "stopped"),
        (["finished", "silent", "running"], "running"),
        (["finished", "pending", "silent"], "running"),
        (["finished", "silent"], "unknown"),
        (["finished", "finished"], "finished"),
    ],
)
def test_a_run_takes_the_worst_of_its_joined_ranks(states: list[RankState], expected: str, tmp_path: Path) -> None:
    RunLog(tmp_path).open()
    with Reader(tmp_path, {}) as reader:
        (record,) = reader.runs()
    assert run_state(states, record, observer()) == expected


def test_a_run_that_nobody_joined_yet_runs_as_long_as_its_writer_does(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.open()
    assert (detail(tmp_path, NEAR).state, detail(tmp_path, FAR).state) == ("running", "unknown")
    assert (detail(tmp_path).world_size, detail(tmp_path).ranks) == (0, [])
    log.end()
    assert detail(tmp_path).state == "finished"
    log.close()


def test_ranks_that_never_joined_are_absent_and_do_not_count(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of(3, 4)
    process.end()
    log.commit_all(process)
    log.end()
    log.close()
    found = detail(tmp_path)
    assert (found.state, found.world_size, found.ranks_joined) == ("finished", 4, 1)
    assert [(row.rank, row.state, row.rows, row.node) for row in found.ranks] == [
        (0, "absent", 0, None),
        (1, "absent", 0, None),
        (2, "absent", 0, None),
        (3, "finished", 0, "node0"),
    ]


def test_a_world_of_a_billion_ranks_is_not_listed(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.commit_all(process_of(0, 10**9))
    log.close()
    assert len(detail(tmp_path).ranks) == 65_536


def test_only_the_newest_attempt_and_its_newest_source_speak_for_a_rank(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    first, second = process_of(0, 2), process_of(0, 1)
    second.attempt = 1
    first.row({"loss": 1.0}, 5)
    log.commit_all(first)
    log.see(first, "crashed")
    second.row({"loss": 0.5}, 2)
    second.end()
    log.commit_all(second)
    log.end()
    log.close()
    found = detail(tmp_path)
    assert (found.state, found.attempt, found.world_size, found.ranks_joined) == ("finished", 1, 1, 1)
    assert [(row.attempt, row.rows, row.last_step) for row in found.ranks] == [(1, 1, 2)]
    assert found.receipt.stored == 2


def test_helpers_and_claimants_make_no_rows_of_their_own_but_count_with_their_rank(tmp_path: Path) -> None:
    log, parent = RunLog(tmp_path), process_of(1, 2)
    helper = process_of(0, 1, parent=parent.join.incarnation)
    helpers_helper = process_of(0, 1, parent=helper.join.incarnation)
    claimant = process_of(1, 2)
    helper.role = helpers_helper.role = "helper"
    claimant.role = "claimant"
    for number, process in enumerate((parent, helper, helpers_helper, claimant)):
        process.row({"loss": 1.0}, 10 * number)
    parent.end()
    log.commit_all(helpers_helper, claimant, helper, parent)
    log.see(helper, "crashed")
    log.end()
    log.close()
    found = detail(tmp_path)
    assert (found.state, found.ranks_joined) == ("finished", 1)
    assert [(row.rank, row.state, row.rows, row.last_step) for row in found.ranks] == [
        (0, "absent", 0, None),
        (1, "finished", 4, 30),
    ]


def test_settled_ranks_know_the_world_better_than_those_that_are_not(tmp_path: Path) -> None:
    log, settled = RunLog(tmp_path), process_of(0, 2)
    guess = process_of(rank=Rank(rank=1, world_size=9, source="guess", settled=False))
    log.commit_all(settled, guess)
    log.close()
    assert detail(tmp_path).world_size == 2


def test_a_local_rank_nobody_told_is_the_place_among_the_ranks_of_the_node(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    hosts = ["a", "b", "a", "b"]
    processes = [
        process_of(rank, 4, host=host, rank=Rank(rank=rank, world_size=4, source="test"))
        for rank, host in enumerate(hosts)
    ]
    log.commit_all(*reversed(processes))
    log.close()
    assert [(row.node, row.local_rank) for row in detail(tmp_path).ranks] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_what_moved_to_another_run_is_gone_from_this_one(tmp_path: Path) -> None:
    log, stays, moves = RunLog(tmp_path), process_of(0, 2), process_of(1, 2)
    moves.row({"loss": 1.0}, 0)
    log.commit_all(stays, moves)
    log.see(moves, "moved")
    log.close()
    found = detail(tmp_path)
    assert ([row.state for row in found.ranks], found.receipt.stored) == (["silent", "absent"], 0)


def test_an_end_counts_only_as_the_last_word(tmp_path: Path) -> None:
    def is_over() -> bool:
        return detail(tmp_path).ended_at == (START_US + 10_000_000) / 1e6

    log, process = RunLog(tmp_path), process_of()
    process.end()
    log.commit_all(process)
    assert not is_over()
    log.end()
    assert is_over()
    log.see(process, "ended", exit_code=0)
    assert is_over()
    log.see(process, "silent")
    assert not is_over()
    log.end()
    log.commit_all(process)
    assert not is_over()
    log.end()
    assert is_over()
    log.close()
    log.open()
    assert is_over()  # a header says nothing of ranks: a person's edit begins with one, too
    log.commit_all(process)
    assert not is_over()
    log.close()


def test_a_run_has_not_ended_while_a_rank_may_go_on(tmp_path: Path) -> None:
    log, first, second = RunLog(tmp_path), process_of(0, 2), process_of(1, 2)
    first.row({"loss": 1.0}, 0)
    first.end()
    log.commit_all(first, second)
    log.close()
    found = detail(tmp_path, NEAR)
    assert (found.state, found.ended_at, found.duration_s) == ("running", None, 60.0)
    assert [row.last_seen_s for row in found.ranks] == [pytest.approx(59.999), 60.0]
    log.see(second, "crashed", START_US + 5_000_000)
    log.close()
    found = detail(tmp_path, NEAR)
    assert (found.state, found.ended_at, found.duration_s) == ("crashed", START_US / 1e6 + 5, 5.0)


def test_a_silent_run_lasted_as_long_as_it_was_heard_of(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of()
    process.row({"loss": 1.0}, 0, after_us=7_000_000)
    log.commit_all(process)
    log.close()
    found = detail(tmp_path, FAR)
    assert (found.state, found.ended_at, found.duration_s) == ("unknown", None, 7.0)


def test_clocks_that_disagree_give_no_negative_times(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of()
    process.row({"loss": 1.0}, 0, after_us=3_600_000_000)
    log.commit_all(process)
    log.close()
    found = detail(tmp_path, NEAR)
    assert found.ranks[0].last_seen_s == 0.0
    assert found.duration_s == 60.0


def test_a_source_without_any_admission_is_filed_by_its_entries(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of(2, 4)
    process.row({"loss": 1.0}, 0)
    log.open().append_batch([process.entry()])
    log.close()
    found = detail(tmp_path)
    assert [(row.rank, row.state, row.rows) for row in found.ranks] == [(2, "silent", 1)]
    assert isinstance(found, RunRow)


def preempted(process: Process, time_us: int) -> None:
    process.append(encode(RecordKind.PREEMPTING, Preempting(time_us=time_us)))


def test_ranks_that_end_badly_after_a_mark_are_preempted_and_those_before_it_are_not(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    marked, after, before, well = (process_of(rank, 4) for rank in range(4))
    for process in (marked, after, before, well):
        process.row({"loss": 1.0}, 0)
    preempted(marked, START_US + 5_000_000)
    well.time_us = START_US + 9_000_000
    well.end()
    log.commit_all(marked, after, before, well)
    log.see(before, "crashed", START_US + 1_000_000)
    log.see(after, "crashed", START_US + 6_000_000)
    log.see(marked, "crashed", START_US + 4_000_000)  # a clock that was set back: its own journal has the order
    found = detail(tmp_path)
    assert [rank.state for rank in found.ranks] == ["preempted", "preempted", "crashed", "finished"]
    assert found.first_failure is not None
    assert (found.first_failure.rank, found.first_failure.others) == (2, 0)


@pytest.mark.parametrize(("exit_code", "state"), [(0, "finished"), (143, "preempted")])
def test_a_run_that_is_preempted_and_says_so_has_not_failed(exit_code: int, state: str, tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of()
    preempted(process, START_US)
    process.end(exit_code)
    log.commit_all(process)
    log.end()
    found = detail(tmp_path)
    assert (found.state, found.first_failure) == (state, None)
