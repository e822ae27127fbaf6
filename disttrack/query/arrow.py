"""Columns as Arrow arrays of types that are settled beforehand, whatever the values turn out to be."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from disttrack.errors import UsageError
from disttrack.query.wide import Array

__all__ = ["ColumnType", "arrow_array", "arrow_schema", "pyarrow", "type_of_kinds", "utf8"]

ColumnType = Literal["double", "int64", "bool", "string"]

_TYPES: dict[frozenset[str], ColumnType] = {frozenset("q"): "int64", frozenset("?"): "bool"}
_NUMBERS = frozenset("dq?")


def pyarrow() -> Any:  # noqa: ANN401 - a module without types
    """Return pyarrow; raise UsageError where it is not installed."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise UsageError(
            "Histories cannot be read as Arrow tables",
            "pyarrow is not installed for this Python",
            "Install it with: pip install 'disttrack[data]'",
        ) from None


def type_of_kinds(kinds: Collection[str]) -> ColumnType:
    """Return the type that takes values of all these kinds (of index.blocks.Block): text where none else does."""
    return _TYPES.get(frozenset(kinds), "double" if _NUMBERS.issuperset(kinds) else "string")


def arrow_schema(columns: Mapping[str, ColumnType]) -> Any:  # noqa: ANN401
    """Return columns as a pyarrow.Schema."""
    arrow = pyarrow()
    return arrow.schema([(name, _arrow_type(arrow, kind)) for name, kind in columns.items()])


def arrow_array(values: Array, kind: ColumnType, there: NDArray[np.bool_]) -> Any:  # noqa: ANN401
    """Return values as an Arrow array of a type.

    there: [values] which of them are values; the others, and those that do not fit the type, are null. A NaN that is
    there stays one. As a double a bool is 0 or 1, an int beyond 2^53 the nearest; as text, what is none is JSON.
    """
    arrow = pyarrow()
    target = _arrow_type(arrow, kind)
    if values.dtype == np.object_ or kind == "string":
        convert = _CONVERT[kind]
        pairs = zip(values.tolist(), there.tolist(), strict=True)
        return arrow.array([convert(value) if known else None for value, known in pairs], target)
    if kind == "double":
        return arrow.array(values.astype(np.float64, copy=False), target, mask=~there)
    numbers = np.where(there, values, 0)
    return arrow.array(numbers.astype(np.bool_ if kind == "bool" else np.int64), target, mask=~there)


def utf8(text: str) -> str:
    """Return text that is UTF-8: a lone surrogate becomes its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _double(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _int64(value: object) -> int | None:
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _string(value: object) -> str | None:
    if value is None:
        return None
    return utf8(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


_CONVERT: dict[ColumnType, Callable[[object], object]] = {
    "double": _double,
    "int64": _int64,
    "bool": _bool,
    "string": _string,
}


def _arrow_type(arrow: Any, kind: ColumnType) -> object:  # noqa: ANN401
    return {"double": arrow.float64, "int64": arrow.int64, "bool": arrow.bool_, "string": arrow.string}[kind]()
