"""Columns in the form that the asker works with: numpy as they are, or a frame of a library that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Literal

from disttrack.errors import UsageError
from disttrack.query.wide import Array

__all__ = ["FrameKind", "as_frame"]

FrameKind = Literal["numpy", "pandas", "polars", "arrow"]
_PACKAGES = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}


def as_frame(columns: Mapping[str, Array], kind: FrameKind) -> Any:  # noqa: ANN401 - other libraries' types
    """Return columns as a dict of arrays, a pandas or polars DataFrame, or a pyarrow Table.

    Raises UsageError where there is no such form, or its library is not installed.
    """
    if kind == "numpy":
        return dict(columns)
    package = _PACKAGES.get(kind)
    if package is None:
        raise UsageError(f"as_={kind!r}", "there is no such form", f"Use one of {', '.join(['numpy', *_PACKAGES])}.")
    try:
        library = importlib.import_module(package)
    except ImportError:
        raise UsageError(
            f"as_={kind!r}", f"{package} is not installed for this Python", f"Install it with: pip install {package}"
        ) from None
    if kind == "arrow":
        return library.table({name: _plain(column) for name, column in columns.items()})
    if kind == "polars":
        return library.DataFrame({name: _plain(column) for name, column in columns.items()}, strict=False)
    return library.DataFrame(dict(columns))


def _plain(column: Array) -> object:
    """Return a column as these libraries take it: numbers as arrays, objects as a list of one type or of text."""
    if column.dtype.kind != "O":
        return column
    values: list[object] = column.tolist()
    kinds: set[type] = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 and not kinds & {int}:
        return values
    if kinds == {int} and all(not isinstance(value, int) or -(2**63) <= value < 2**63 for value in values):
        return values
    return [None if value is None else value if isinstance(value, str) else repr(value) for value in values]
