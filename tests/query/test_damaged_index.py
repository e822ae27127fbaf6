"""A disk that changes the index costs time, never a number: what is damaged is found and built again from the logs."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from disttrack.query.api import Api
from disttrack.query.history import long_form
from tests.index.logs import RunLog, process_of

Told = list[tuple[object, ...]]


def logged(root: Path) -> None:
    """Writes a run with long and short blocks of numbers and text, one with rows of all shapes, and a live one."""
    values = np.random.default_rng(0).normal(size=(2_200, 2)).tolist()
    for name, rows in (("long", range(2_200)), ("short", range(50)), ("live", range(30))):
        log, ranks = RunLog(root, run_id=name), [process_of(rank, 2) for rank in range(2)]
        for process in ranks:
            process.config(lr=0.25)
            for step in rows:
                process.row({"loss": values[step][0], "acc": values[step][1], "n": step}, step)
                if step % 10 == 0:
                    process.row({"text": f"t{step}"}, step)
                if name != "live" and step == 40:
                    process.end()
        log.commit_all(*ranks)
        if name != "live":
            log.end()
        log.close()


def told(api: Api) -> Told:
    """Returns all that readers are told: of each run its summary, config and every value."""
    found: Told = []
    for run in sorted(api.runs(), key=lambda run: run.id):
        columns = run.history()
        found.append((run.id, run.state, sorted(run.summary.items()), sorted(run.config.items()), len(run.ranks)))
        found.append(tuple((key, column.tolist()) for key, column in columns.items()))
        found.append((repr(run.summary_of("loss", "all")),))
    return found


def index_file(directory: Path) -> Path:
    (path,) = (directory / "disttrack-runs").glob("index-*.sqlite")
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with runs and a whole index."""
    (tmp_path / "disttrack-runs").mkdir()
    logged(tmp_path / "disttrack-runs")
    return tmp_path


BLOBS = [
    *[("run", "facts"), ("source", "facts"), ("source", "cursor"), ("schema", "keys"), ("chunk", "data")],
    *[("axis", axis) for axis in ("src", "step", "at", "time")],
]


@pytest.mark.parametrize(("table", "column"), BLOBS)
def test_a_flipped_bit_in_any_blob_changes_no_answer(table: str, column: str, directory: Path) -> None:
    with Api(directory) as api, Api(directory) as already_open:
        right = told(api)
        assert told(already_open) == right
        chance = random.Random(column)
        for _ in range(3):
            damage_a_blob(index_file(directory), table, column, chance)
            with Api(directory) as anew:
                assert told(anew) == right
            damage_a_blob(index_file(directory), table, column, chance)
            assert told(already_open) == right


def damage_a_blob(index: Path, table: str, column: str, chance: random.Random) -> None:
    """Flips a bit in one of the blobs of a column."""
    with sqlite3.connect(index) as connection:
        key = {"run": "id", "source": "run, src", "schema": "run, sid", "axis": "run, ax", "chunk": "run, ax, part"}
        rows = connection.execute(f"SELECT {key[table]}, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
        *where, data = chance.choice(rows)
        wrong = bytearray(data)
        wrong[chance.randrange(len(wrong))] ^= 1 << chance.randrange(8)
        condition = " AND ".join(f"{name} = ?" for name in key[table].split(", "))
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {condition}", (bytes(wrong), *where))
    connection.close()


def test_flipped_bits_in_the_pages_of_chunks_change_no_answer(directory: Path) -> None:
    with Api(directory) as api:
        right = told(api)
    chance = random.Random(0)
    for _ in range(8):
        path = index_file(directory)
        content = path.read_bytes()
        with sqlite3.connect(path) as connection:
            chunks = [data for (data,) in connection.execute("SELECT data FROM chunk WHERE length(data) < 20000")]
        connection.close()
        at = content.index(chance.choice(chunks)[:50])
        flip(path, at + chance.randrange(50), chance.randrange(8))
        with Api(directory) as api:
            assert told(api) == right


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def test_an_export_never_mixes_two_indexes(directory: Path) -> None:
    root = directory / "disttrack-runs"
    right = [(value.rank, value.step, value.key, value.value) for value in long_form(root, "long")]
    damage_a_blob(index_file(directory), "chunk", "data", random.Random(1))
    assert [(value.rank, value.step, value.key, value.value) for value in long_form(root, "long")] == right
