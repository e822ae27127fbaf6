"""A metric of many runs in one pass comes to what it comes to run by run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from disttrack.query.reader import Reader
from disttrack.query.reducing import Reduced, simply_reduced
from disttrack.query.statistics import summary_of
from tests.index.logs import Process, RunLog, finished_run, process_of


def test_plain_runs_are_reduced_together_and_all_others_are_left_to_be_looked_into(tmp_path: Path) -> None:
    """Right or left out: whatever a run holds."""
    for name, log in LOGS.items():
        log(tmp_path, name)
    with Reader(tmp_path) as reader:
        reader.catch_up()
        numbers = {reader.find(name).number: name for name in LOGS}
        found = {numbers[run]: reduced for run, reduced in simply_reduced(reader, "loss", list(numbers)).items()}
        for name, reduced in found.items():
            snapshot = reader.snapshot(name)
            summary = summary_of(snapshot, "loss") if any("loss" in block.keys for block in snapshot.blocks) else None
            expected = None if summary is None else (summary.min, summary.max, summary.mean, summary.last)
            assert reduced == (None if expected is None else pytest.approx(expected, rel=1e-12, nan_ok=True)), name
    assert found.keys() == PLAIN


def test_nothing_is_made_of_no_runs(tmp_path: Path) -> None:
    finished_run(tmp_path, [(0, {"loss": 1.0})])
    with Reader(tmp_path) as reader:
        reader.catch_up()
        assert simply_reduced(reader, "loss", []) == {}
        assert simply_reduced(reader, "loss", [99]) == {}
        assert simply_reduced(reader, "loss", [1]) == {1: Reduced(1.0, 1.0, 1.0, 1.0)}


def rows(*values: object) -> Callable[[Path, str], object]:
    return lambda root, name: finished_run(root, [(step, {"loss": value}) for step, value in enumerate(values)], name)


def unlike(root: Path, name: str) -> None:
    """Rows of two schemas: two blocks, which follow each other."""
    finished_run(root, [*((step, {"loss": 9.0 - step}) for step in range(4)), (7, {"loss": 3, "lr": 0.1})], name)


def between(root: Path, name: str) -> None:
    """Rows of two schemas in turns: the blocks overlap."""
    finished_run(
        root, [(step, {"loss": float(step), "lr": 0.1} if step % 2 else {"loss": 5.0}) for step in range(6)], name
    )


def of_ranks(*, both: bool) -> Callable[[Path, str], None]:
    def log(root: Path, name: str) -> None:
        ranks = [process_of(rank, 2) for rank in range(2)]
        for rank, process in enumerate(ranks):
            process.row({"loss": 2.0 + rank} if both or rank else {"other": 1.0}, 1)
        _ended(root, name, *ranks)

    return log


def again(root: Path, name: str) -> None:
    """A second attempt, which alone logs the key: the first one's rows are superseded, not this one's."""
    first, second = process_of(), Process(process_of().join, attempt=1)
    first.row({"other": 1.0}, 1)
    second.row({"loss": 4.0}, 2)
    _ended(root, name, first, second)


def node(root: Path, name: str) -> None:
    """What a node samples is nobody's loss."""
    rank, host = process_of(), Process(process_of().join, role="node")
    rank.row({"other": 1.0}, 1)
    host.row({"loss": 4.0}, 1)
    _ended(root, name, rank, host)


def live(root: Path, name: str) -> None:
    process = process_of()
    process.row({"loss": 1.0}, 1)
    RunLog(root, run_id=name).commit_all(process)


def _ended(root: Path, name: str, *processes: Process) -> None:
    log = RunLog(root, run_id=name)
    for process in processes:
        process.end()
    log.commit_all(*processes)
    log.end()
    log.close()


LOGS: dict[str, Callable[[Path, str], object]] = {
    "floats": rows(0.5, -2.0, 7.25, 1.0),
    "ints": rows(3, -4, 2),
    "one": rows(1.5),
    "nan": rows(math.nan, 2.0, math.nan),
    "nothing-else": rows(math.nan, math.nan),
    "infinite": rows(math.inf, -math.inf, 1.0),
    "float64": rows(0.1, 0.2, 1e300),
    "long": rows(*(math.sin(step) for step in range(5_000))),
    "never": lambda root, name: finished_run(root, [(0, {"other": 1.0})], name),
    "unlike": unlike,
    "primary-only": of_ranks(both=False),
    "between": between,
    "twice": lambda root, name: finished_run(root, [(1, {"loss": 1.0}), (1, {"loss": 8.0})], name),
    "back": lambda root, name: finished_run(root, [(5, {"loss": 1.0}), (2, {"loss": 8.0})], name),
    "bools": rows(True, False),
    "text": rows("high", "low"),
    "both": of_ranks(both=True),
    "again": again,
    "node": node,
    "live": live,
}
PLAIN = {
    "floats",
    "ints",
    "one",
    "nan",
    "nothing-else",
    "infinite",
    "float64",
    "long",
    "never",
    "unlike",
    "primary-only",
    "back",
}
