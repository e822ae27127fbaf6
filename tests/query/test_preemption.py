"""An attempt that its scheduler took down is preempted; one that failed by itself is not, whatever followed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL, SIGSEGV, SIGTERM
from typing import NamedTuple

import pytest

from disttrack.query.members import Observer
from disttrack.records.codec import encode
from disttrack.records.payloads import End, RecordKind
from tests.index.logs import START_US, RunLog, process_of
from tests.query.observers import NOW_S, observer
from tests.query.test_states import detail

HERE = observer(hostname="node0", boot_id="boot0")
WATCHED = observer(touched_s=NOW_S - 10)
SECOND_US = 1_000_000


class Death(NamedTuple):
    """How a rank was seen to end, in the order of the log; at: microseconds after the first."""

    signal: int | None = None
    exit_code: int | None = None
    at_us: int = 0
    exception: str | None = None


def states(tmp_path: Path, deaths: Sequence[Death | None], looking: Observer, job: str = "slurm:c:1.0:") -> list[str]:
    """Return the run's state and those of its ranks; None: nobody saw a rank end."""
    log = RunLog(tmp_path)
    ranks = [process_of(rank, len(deaths), job=job) for rank in range(len(deaths))]
    for process, death in zip(ranks, deaths, strict=True):
        process.row({"loss": 1.0}, 0)
        if death is not None and death.exception is not None:
            end = End(exit_code=1, logged=1, dropped=0, time_us=process.time_us, exception=death.exception)
            process.append(encode(RecordKind.END, end), 0)
    log.commit_all(*ranks)
    for process, death in zip(ranks, deaths, strict=True):
        if death is not None:
            seen = "crashed" if death.exception is None else "ended"
            log.see(process, seen, START_US + SECOND_US + death.at_us, exit_code=death.exit_code, signal=death.signal)
    log.close()
    found = detail(tmp_path, looking)
    assert (found.first_failure is None) == (found.state not in ("crashed", "failed"))
    return [found.state, *(rank.state for rank in found.ranks)]


TERM = Death(SIGTERM)
CODE = Death(exit_code=143)
KILL = Death(SIGKILL)
UNKNOWN = Death()


@pytest.mark.parametrize(
    ("deaths", "looking"),
    [
        ([TERM, TERM], observer()),
        ([TERM, CODE], observer()),
        ([TERM, UNKNOWN, None], observer()),  # the writer was killed before it saw them all
        ([TERM, Death(SIGKILL, at_us=30 * SECOND_US)], observer()),  # it would not go
        ([TERM, Death(exit_code=1, exception="RuntimeError: Connection reset by peer", at_us=9)], observer()),
        ([UNKNOWN, UNKNOWN], observer()),  # on a kernel that does not tell
        ([None, None], HERE),  # nobody saw it, and no process is left
        ([None, None], observer()),  # ... and no writer
    ],
)
def test_whoever_went_with_a_step_that_was_taken_down_is_preempted(
    deaths: Sequence[Death | None], looking: Observer, tmp_path: Path
) -> None:
    assert set(states(tmp_path, deaths, looking)) == {"preempted"}


@pytest.mark.parametrize(
    "deaths",
    [
        [KILL, TERM],  # out of memory; srun ends the others
        [TERM, Death(SIGKILL, at_us=SECOND_US)],  # the same, from another node, whose word came later
        [TERM, Death(SIGSEGV, at_us=SECOND_US)],
        [Death(exit_code=1, exception="ValueError"), TERM],
        [UNKNOWN, Death(exit_code=1, exception="RuntimeError: Connection reset by peer")],
        [Death(exit_code=3), TERM],
    ],
)
def test_a_rank_that_failed_by_itself_is_why_its_attempt_did(deaths: Sequence[Death], tmp_path: Path) -> None:
    assert states(tmp_path, deaths, observer())[0] in ("crashed", "failed")


@pytest.mark.parametrize(
    "death",
    [
        Death(SIGKILL, at_us=-SECOND_US),
        Death(SIGKILL, at_us=SECOND_US),  # its node's clock is fast, or nobody noted when it was
        Death(SIGSEGV, at_us=-1),
        Death(exit_code=3, at_us=-1),
    ],
)
@pytest.mark.parametrize("ended", [TERM, UNKNOWN])
def test_a_rank_of_another_node_that_failed_first_is_the_cause_though_the_log_has_it_last(
    death: Death, ended: Death, tmp_path: Path
) -> None:
    """srun --kill-on-bad-exit: whoever had to tell was killed with the step; what they noted is brought home later."""
    found = states(tmp_path, [ended, ended, death, UNKNOWN], observer())
    assert found == ["crashed", "terminated", "terminated", "crashed", "terminated"]
    first = detail(tmp_path, observer()).first_failure
    assert first is not None
    assert (first.rank, first.others, first.terminated) == (2, 0, 3)


@pytest.mark.parametrize("after", ["others end well", "others go on"])
def test_a_rank_that_somebody_ended_alone_is_why_its_attempt_crashed(after: str, tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    ranks = [process_of(rank, 3, job="slurm:c:1.0:") for rank in range(3)]
    for process in ranks:
        process.row({"loss": 1.0}, 0)
    log.commit_all(*ranks)
    log.see(ranks[1], "crashed", START_US + SECOND_US, signal=SIGTERM)
    assert detail(tmp_path, WATCHED).state == "preempted"  # as far as can be known at that moment
    for process in (ranks[0], ranks[2]):
        process.time_us = START_US + 8 * SECOND_US
        process.row({"loss": 1.0}, 1)
        if after == "others end well":
            process.end()
        log.commit(*[(process, 1, None)])
        if after == "others end well":
            log.see(process, "ended", process.time_us, exit_code=0)
    log.close()
    run = detail(tmp_path, WATCHED)
    assert run.state == "crashed"
    assert run.first_failure is not None
    assert (run.first_failure.rank, run.first_failure.signal) == (1, "SIGTERM")


def test_ranks_whose_writer_lives_are_waited_for(tmp_path: Path) -> None:
    assert states(tmp_path, [None, None], WATCHED) == ["running", "running", "running"]


def test_without_a_scheduler_nobody_was_preempted(tmp_path: Path) -> None:
    assert states(tmp_path, [TERM, TERM], observer(), job="") == ["crashed", "crashed", "terminated"]
