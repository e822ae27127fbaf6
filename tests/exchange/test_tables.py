"""Parquet out, the same values back."""

from __future__ import annotations

import importlib
import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from disttrack.exchange.tables import PARQUET_COLUMNS, write_parquet
from disttrack.query.history import Value, ValueType
from disttrack.settings import ROOT_NAME
from tests.index.logs import finished_run

#: A value, its type, and the columns value and text it goes to.
CASES: list[tuple[object, ValueType, float | None, str | None]] = [
    (0.5, "float", 0.5, None),
    (-0.0, "float", -0.0, None),
    (math.inf, "float", math.inf, None),
    (3, "int", 3.0, None),
    (2**53 + 1, "int", float(2**53), str(2**53 + 1)),
    (10**400, "int", math.inf, str(10**400)),
    (True, "bool", 1.0, None),
    ("é", "str", None, "é"),
    ("\ud800", "str", None, "\\ud800"),
    (None, "null", None, None),
    ([1, math.nan, {"a": None}], "json", None, '[1,"NaN",{"a":null}]'),
]


def value_of(value: object, kind: ValueType, step: int = 0) -> Value:
    return Value("run1", 3, 1, step, 1_700_000_000.123456, "key, é", value, kind)


def written(values: list[Value]) -> Any:
    file = io.BytesIO()
    counted = write_parquet(values, file)
    assert counted.total() == len(values)
    return importlib.import_module("pyarrow.parquet").ParquetFile(io.BytesIO(file.getvalue()))


def test_every_kind_of_value_has_its_columns() -> None:
    file = written([value_of(value, kind, step) for step, (value, kind, _, _) in enumerate(CASES)])
    rows = file.read().to_pylist()
    assert file.schema_arrow.names == list(PARQUET_COLUMNS)
    assert [(row["value"], row["text"], row["type"]) for row in rows] == [
        (number, text, kind) for _, kind, number, text in CASES
    ]
    assert math.copysign(1, rows[1]["value"]) == -1
    first = {name: rows[4][name] for name in ("run", "rank", "attempt", "step", "time", "key")}
    assert tuple(first.values()) == ("run1", 3, 1, 4, 1_700_000_000.123456, "key, é")


@given(st.lists(st.floats(), max_size=20))
def test_doubles_come_back_as_they_are(numbers: list[float]) -> None:
    back = written([value_of(number, "float") for number in numbers]).read().column("value").to_pylist()
    assert list(map(repr, back)) == list(map(repr, numbers))


def test_what_repeats_is_in_dictionaries_and_doubles_are_split() -> None:
    group = written([value_of(step / 7, "float", step) for step in range(1_000)]).metadata.row_group(0)
    encodings = {group.column(at).path_in_schema: group.column(at).encodings for at in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in encodings["value"]
    assert "RLE_DICTIONARY" in encodings["key"]


def test_export_writes_parquet_once_it_is_whole_and_wants_a_file_for_it(tmp_path: Path) -> None:
    finished_run(tmp_path / ROOT_NAME, [(step, {"loss": 1 / (step + 1), "text": "t"}) for step in range(10)])
    command = [sys.executable, "-m", "disttrack", "export", "run1", "--dir", str(tmp_path)]
    out = tmp_path / "run.parquet"
    subprocess.run([*command, "-o", str(out)], check=True, capture_output=True, timeout=300)
    table = importlib.import_module("pyarrow.parquet").read_table(out)
    assert (table.num_rows, table.column("value").to_pylist()[2]) == (20, 0.5)
    refused = subprocess.run([*command, "--format", "parquet"], capture_output=True, text=True, timeout=300)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "-o FILE" in refused.stderr


def test_without_pyarrow_the_command_that_installs_it_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    finished_run(tmp_path / ROOT_NAME, [(0, {"loss": 1.0})])
    (tmp_path / "shadow" / "pyarrow").mkdir(parents=True)
    (tmp_path / "shadow" / "pyarrow" / "__init__.py").write_text("raise ImportError('not here')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'shadow')!r}); from disttrack.cli import main; main()"
    out = tmp_path / "run.parquet"
    refused = subprocess.run(
        [sys.executable, "-c", code, "export", "run1", "--dir", str(tmp_path), "-o", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert refused.returncode == 2
    assert "pip install 'disttrack[data]'" in refused.stderr
    assert not out.exists()
