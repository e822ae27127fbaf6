"""Long form out, the same values back."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.cli.exporting import COLUMNS, as_csv, as_jsonl, csv_row, replaced
from disttrack.cli.output import strict
from disttrack.query.history import Value, ValueType

NUMBERS: st.SearchStrategy[tuple[object, ValueType]] = st.one_of(
    st.floats().map(lambda value: (value, "float")),
    st.integers().map(lambda value: (value, "int")),
    st.booleans().map(lambda value: (value, "bool")),
)
OTHERS: st.SearchStrategy[tuple[object, ValueType]] = st.one_of(
    st.text().map(lambda value: (value, "str")),
    st.just((None, "null")),
    st.lists(st.floats() | st.text() | st.none()).map(lambda value: (value, "json")),
    st.dictionaries(st.text(), st.floats()).map(lambda value: (value, "json")),
)


def logged_by(rank: int, step: int, time_us: int, key: str, value: tuple[object, ValueType]) -> Value:
    return Value("run1", rank, 0, step, time_us / 1e6, key, *value)


VALUES = st.builds(
    logged_by,
    st.integers(0, 1000),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2_000_000_000_000_000),
    st.text(min_size=1),
    NUMBERS | OTHERS,
)


def value_of(value: object, kind: ValueType, key: str = "loss") -> Value:
    return Value("run1", 0, 0, 7, 1_700_000_000.5, key, value, kind)


def read_back(row: dict[str, str]) -> object:
    """Returns what a cell of csv stands for, as docs/cli.md describes it."""
    text = row["value"]
    match row["type"]:
        case "float":
            return text if text in ("NaN", "Infinity", "-Infinity") else float(text)
        case "int":
            return int(text)
        case "bool":
            return {"true": True, "false": False}[text]
        case "null":
            assert text == ""
            return None
        case "json":
            return json.loads(text)
        case _:
            return text


@given(st.lists(VALUES, max_size=5))
def test_csv_reads_back_as_it_was_logged(values: list[Value]) -> None:
    text = as_csv([COLUMNS, *map(csv_row, values)]).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [read_back(row) for row in rows] == [strict(value.value) for value in values]
    assert [(row["run"], int(row["rank"]), int(row["step"]), row["key"]) for row in rows] == [
        (value.run, value.rank, value.step, value.key) for value in values
    ]
    assert [float(row["time"]) for row in rows] == [value.time for value in values]


@given(st.lists(VALUES, max_size=5))
def test_jsonl_reads_back_as_it_was_logged(values: list[Value]) -> None:
    text = as_jsonl(values).decode()
    lines = text.split("\n")[:-1]  # not splitlines: JSON leaves U+2028 as it is
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [list(row) for row in rows] == [list(COLUMNS)] * len(values)
    assert [tuple(row.values()) for row in rows] == [
        tuple(value._replace(value=strict(value.value))) for value in values
    ]


def test_a_lone_surrogate_leaves_as_an_escape_that_json_knows() -> None:
    (line,) = as_jsonl([value_of("\ud800", "str")]).decode().splitlines()
    assert json.loads(line)["value"] == "\ud800"


def test_csv_is_as_rfc_4180_has_it() -> None:
    values = [
        value_of('say "a,\nb"', "str"),
        value_of(math.nan, "float"),
        value_of(-math.inf, "float"),
        value_of(None, "null"),
        value_of([1, math.nan], "json", key="a,b"),
    ]
    assert as_csv([COLUMNS, *map(csv_row, values)]).decode().split("\r\n") == [
        "run,rank,attempt,step,time,key,value,type",
        'run1,0,0,7,1700000000.5,loss,"say ""a,\nb""",str',
        "run1,0,0,7,1700000000.5,loss,NaN,float",
        "run1,0,0,7,1700000000.5,loss,-Infinity,float",
        "run1,0,0,7,1700000000.5,loss,,null",
        'run1,0,0,7,1700000000.5,"a,b","[1,""NaN""]",json',
        "",
    ]


def test_a_file_is_replaced_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with replaced(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path).count("out.csv") == 1
    assert not list(tmp_path.glob(".out.csv*"))


def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def write_half() -> None:
        with replaced(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert not list(tmp_path.glob(".out.csv*"))


def test_a_link_goes_on_pointing_where_it_pointed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with replaced(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory") as raised, replaced(tmp_path / "a" / "out"):
        pass
    assert raised.value.filename == str(tmp_path / "a")
