"""In which order runs are shown: by the value of a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from disttrack.index.chunks import Column, Floats
from disttrack.index.facets import Columns, as_list
from disttrack.query.filters import field_of
from disttrack.query.subjects import Asked, Subject

__all__ = ["Order"]

_EXACT = 2**53  # ints up to here are the same as floats


class Order:
    """A field to order runs by, the least first; with "-" before it, the greatest.

    Numbers come before text, what has no value (or NaN) last, in both directions.
    """

    def __init__(self, text: str) -> None:
        """Raises FilterError where text is no field."""
        self._descending = text.startswith("-")
        self._asked = Asked(field_of(text.removeprefix("-")))
        self.facets = self._asked.facets  # what places needs; empty: runs are to be looked into

    def places(self, columns: Columns, known: Mapping[int, Subject]) -> Floats:
        """Return where runs come, by their numbers: the lower first, NaN last. known: runs that were looked into."""
        filed = self._asked.filed(columns)
        looked_up = {number: next(iter(self._asked.of(run)), None) for number, run in known.items()}
        numbers = None if self._asked.has_many or not all(map(_is_plain, looked_up.values())) else _floats(filed.values)
        if numbers is not None:
            places = np.full(columns.size, np.nan)
            places[filed.runs] = numbers
            for number, value in looked_up.items():
                places[number] = np.nan if value is None else value
            return -places if self._descending else places
        values = as_list(filed.values)
        if self._asked.has_many:
            values = [cast("list[object]", many)[0] for many in values]
        return self._ranked(dict(zip(filed.runs.tolist(), values, strict=True)) | looked_up, columns.size)

    def _ranked(self, values: Mapping[int, object], size: int) -> Floats:
        numbers = {value for value in values.values() if isinstance(value, int | float) and value == value}
        texts = {value for value in values.values() if isinstance(value, str)}
        in_order = [*sorted(numbers, reverse=self._descending), *sorted(texts, reverse=self._descending)]
        rank = {value: float(place) for place, value in enumerate(in_order)}
        places = np.full(size, np.nan)
        for run, value in values.items():
            if isinstance(value, int | float | str):
                places[run] = rank.get(value, np.nan)
        return places


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= _EXACT)


def _floats(column: Column) -> Floats | None:
    """Return values as floats where these are just as exact."""
    if isinstance(column, list):
        return np.array([], np.float64) if not column else None
    if column.dtype == np.int64 and len(column) and (column.max() > _EXACT or column.min() < -_EXACT):
        return None
    return column.astype(np.float64)
