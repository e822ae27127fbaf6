"""What somebody logs by mistake costs its bytes, not more: huge keys, very many keys, very many sets of keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from disttrack.index.blocks import BUNDLE_VALUES, MAX_MIXED_SCHEMAS
from disttrack.index.indexer import Index
from disttrack.index.sqlite import index_paths
from tests.index.logs import Process, RunLog, process_of

MAX_SCHEMAS = 4_096  # of one incarnation: what has no number any more is a row of its own (facts/runlog.md §7)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    log = RunLog(tmp_path)
    log.open()
    yield log
    log.close()


@pytest.fixture
def index(log: RunLog) -> Iterator[Index]:
    index = Index(log.root, {})
    yield index
    index.close()


def end(log: RunLog, process: Process) -> None:
    process.end()
    log.commit_all(process)
    log.end()


def count(index: Index, table: str) -> int:
    with sqlite3.connect(next(iter(index_paths(index.root, {})))) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    connection.close()
    return int(found)


def value_of(index: Index, key: str) -> list[tuple[int, object]]:
    """Returns the steps and values of a key."""
    (record,) = index.runs()
    return sorted(
        (int(step), value)
        for block in index.snapshot(record).blocks
        if key in block.keys
        for step, value in zip(block.places().step, list(block.column(key)), strict=True)
    )


def test_a_key_of_a_million_characters_is_stored_once(log: RunLog, index: Index) -> None:
    process, key = process_of(), "k" * 1_000_000
    for step in range(100):
        process.row({key: step / 2, "loss": 0.5}, step)
    end(log, process)
    assert index.catch_up()
    assert value_of(index, key) == [(step, step / 2) for step in range(100)]
    assert count(index, "key") == 2
    size = next(iter(index_paths(index.root, {}))).stat().st_size
    assert size < 6_000_000  # its name, with the index over names, and the facts of its source


def test_a_hundred_thousand_new_keys_in_one_call_are_few_chunks(log: RunLog, index: Index) -> None:
    process = process_of()
    process.row({f"key{number}": number / 2 for number in range(100_000)}, 0)
    process.row({"loss": 0.5}, 1)
    end(log, process)
    assert index.catch_up()
    assert value_of(index, "key77777") == [(0, 77_777 / 2)]
    assert value_of(index, "loss") == [(1, 0.5)]
    assert count(index, "chunk") <= 100_000 // BUNDLE_VALUES + 2


@pytest.mark.parametrize("kind", ["float", "text"])
def test_a_run_whose_every_row_has_other_keys_stays_in_few_pieces(kind: str, log: RunLog, index: Index) -> None:
    process, rows = process_of(), 6_000
    for step in range(rows):
        process.row({f"key{step}": step / 2 if kind == "float" else f"t{step}", "loss": 0.5}, step)
    end(log, process)
    assert index.catch_up()
    for step in (0, 4_000, 5_999):
        assert value_of(index, f"key{step}") == [(step, step / 2 if kind == "float" else f"t{step}")]
    assert len(value_of(index, "loss")) == rows
    assert count(index, "run") == 1
    assert count(index, "axis") <= MAX_SCHEMAS + MAX_MIXED_SCHEMAS + 1
    assert index.runs()[0].sources[0].rows == rows


def test_a_live_run_of_many_keys_is_sealed_by_values_not_by_looks(log: RunLog, index: Index) -> None:
    process = process_of()
    for _ in range(30):
        first = len(process.bounds) - 1
        for step in range(first, first + 2):
            process.row({f"key{number}": step / 2 for number in range(1_000)}, step)
        log.commit((process, first, None))
        assert index.catch_up()
    assert count(index, "axis") == 0  # 60,000 values: they wait in the log
    assert len(value_of(index, "key999")) == 60
