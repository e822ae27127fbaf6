"""Points that a later attempt has gone over again: out of every answer, unless asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.index.indexer import Index
from disttrack.query.history import values_of
from disttrack.query.reader import Reader
from tests.index.logs import Process, RunLog, process_of
from tests.query.tables import wide_form

#: By attempt, the steps that each of its ranks logged, in the order of the calls.
ATTEMPTS = st.lists(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=2), min_size=1, max_size=4)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with Reader(tmp_path, {}) as reader:
        yield reader


def attempts_of(root: Path, *attempts: list[list[int]]) -> RunLog:
    """Returns a run whose attempts' ranks logged these steps; a value says whose it is."""
    log = RunLog(root)
    processes: list[Process] = []
    for attempt, ranks in enumerate(attempts):
        for rank, steps in enumerate(ranks):
            process = process_of(rank, len(ranks))
            process.attempt = attempt
            for step in steps:
                process.row({"loss": attempt + rank / 8}, step)
            processes.append(process)
    log.commit_all(*processes)
    return log


def steps_of(reader: Reader, superseded: bool = False) -> list[tuple[int, int]]:
    table = wide_form(reader.snapshot("run1"), superseded=superseded)
    return list(zip(table["attempt"].tolist(), table["step"].tolist(), strict=True))


def test_an_attempt_ends_where_the_next_one_began(tmp_path: Path, reader: Reader) -> None:
    attempts_of(tmp_path, [[0, 1, 2, 3, 4]], [[3, 4, 5]]).close()
    assert steps_of(reader) == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)]
    assert len(steps_of(reader, superseded=True)) == 8


def test_where_a_rank_began_counts_and_not_what_it_logged_late(tmp_path: Path, reader: Reader) -> None:
    attempts_of(tmp_path, [[0, 1, 2, 3]], [[3, 4, 0]]).close()
    assert steps_of(reader) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 3), (1, 4)]


def test_the_rank_that_went_back_furthest_cuts_for_all(tmp_path: Path, reader: Reader) -> None:
    attempts_of(tmp_path, [[0, 1, 2, 3], [0, 1, 2, 3]], [[3], [2]]).close()
    assert steps_of(reader) == [(0, 0), (0, 1), (1, 3), (0, 0), (0, 1), (1, 2)]


def test_a_choice_of_no_rank_has_no_rows(tmp_path: Path, reader: Reader) -> None:
    attempts_of(tmp_path, [[0, 1]], [[1]]).close()
    assert len(wide_form(reader.snapshot("run1"), ranks=[])["step"]) == 0
    assert wide_form(reader.snapshot("run1"), ranks=[0])["step"].tolist() == [0, 1]


def test_an_attempt_that_logged_nothing_supersedes_nothing(tmp_path: Path, reader: Reader) -> None:
    attempts_of(tmp_path, [[0, 1]], [[]]).close()
    assert steps_of(reader) == [(0, 0), (0, 1)]


def kept(attempts: list[list[list[int]]]) -> list[tuple[int, int, int]]:
    """Returns rank, attempt and step of what a reader sees, as the rule has it word by word."""
    found: set[tuple[int, int, int]] = set()
    for attempt, ranks in enumerate(attempts):
        cut = min((steps[0] for later in attempts[attempt + 1 :] for steps in later if steps), default=10)
        found |= {(rank, attempt, step) for rank, steps in enumerate(ranks) for step in steps if step < cut}
    return sorted(found)


@settings(deadline=None, max_examples=60)
@given(attempts=ATTEMPTS, cold_values=st.integers(1, 20), pass_values=st.integers(1, 30))
def test_long_and_wide_form_leave_out_what_the_rule_says_live_and_sealed(
    attempts: list[list[list[int]]], cold_values: int, pass_values: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        log = attempts_of(Path(directory), *attempts)
        index = Index(Path(directory), {}, cold_values=cold_values, live_values=cold_values)
        for _ in ("live", "ended"):
            index.catch_up()
            ((record, _),) = index.find("run1")
            run = index.snapshot(record)
            values = values_of(run, None, None, pass_values)
            assert [(value.rank, value.attempt, value.step) for value in values] == kept(attempts)
            wide = wide_form(run)
            axes = (wide[name].tolist() for name in ("rank", "attempt", "step"))
            assert list(zip(*axes, strict=True)) == kept(attempts)
            log.end()
        index.close()
        log.close()
