"""Series as Parquet: the long form of `disttrack export`, in columns."""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any, BinaryIO, cast

from disttrack.errors import UsageError
from disttrack.query.history import Value

__all__ = ["PARQUET_COLUMNS", "check_parquet", "write_parquet"]

PARQUET_COLUMNS = ("run", "rank", "attempt", "step", "time", "key", "value", "text", "type")
GROUP_ROWS = 1 << 17  # of a row group, and in memory at a time
_EXACT = 1 << 53  # ints up to here are doubles without loss


def check_parquet() -> None:
    """Raise UsageError where Parquet cannot be written, before anything is."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(
            "Parquet cannot be written",
            "pyarrow is not installed for this Python",
            "Install it with: pip install 'disttrack[data]'",
        ) from None


def write_parquet(values: Iterable[Value], file: BinaryIO) -> Counter[str]:
    """Write values as one Parquet file; return how many there were of each key. Raises UsageError without pyarrow.

    value is a double: of floats, ints, and booleans as 0 and 1. text has what no double holds: text, the digits of
    ints beyond 2^53, and lists and mappings as JSON. type says what it was.
    """
    check_parquet()
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    names = arrow.dictionary(arrow.int32(), arrow.string())
    types = dict(zip(PARQUET_COLUMNS, _types(arrow, names), strict=True))
    rows, written = iter(values), Counter[str]()
    with parquet.ParquetWriter(
        file,
        arrow.schema(types),
        compression="zstd",
        use_dictionary=["run", "key", "type", "text"],
        # Bytes of doubles compress by their place in them; steps and ranks by their differences.
        column_encoding={
            "value": "BYTE_STREAM_SPLIT",
            "time": "BYTE_STREAM_SPLIT",
            "step": "DELTA_BINARY_PACKED",
            "rank": "DELTA_BINARY_PACKED",
            "attempt": "DELTA_BINARY_PACKED",
        },
    ) as writer:
        while piece := list(islice(rows, GROUP_ROWS)):
            columns = dict(zip(PARQUET_COLUMNS, zip(*map(_row, piece), strict=True), strict=True))
            arrays = [arrow.array(column, types[name]) for name, column in columns.items()]
            writer.write_table(arrow.table(arrays, arrow.schema(types)))
            written.update(value.key for value in piece)
    return written


def _types(arrow: Any, names: object) -> list[object]:  # noqa: ANN401 - a module without types
    number, text = arrow.float64(), arrow.string()
    return [names, arrow.int32(), arrow.int32(), arrow.int64(), number, names, number, text, names]


def _row(one: Value) -> tuple[object, ...]:
    number, text = _split(one.value)
    return (_utf8(one.run), one.rank, one.attempt, one.step, one.time, _utf8(one.key), number, text, one.type)


def _split(value: object) -> tuple[float | None, str | None]:
    """Return a value as a double, and as text where it is none."""
    if isinstance(value, float):
        return value, None
    if isinstance(value, int):
        return _double(value), None if -_EXACT <= value <= _EXACT else str(value)
    if value is None:
        return None, None
    return None, _utf8(value if isinstance(value, str) else _json(value))


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _json(value: object) -> str:
    return json.dumps(_strict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _strict(value: object) -> object:
    """Return value with each NaN and infinity in it as the string that strict JSON has for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in cast("list[object]", value)]
    return value


def _utf8(text: str) -> str:
    """Return text that is UTF-8: a lone surrogate becomes its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
