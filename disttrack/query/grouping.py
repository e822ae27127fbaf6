"""Runs in groups: by the values of fields, with what the columns of each group come to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from disttrack.query.columns import Cells, Column, Row
from disttrack.query.subjects import Subject

__all__ = ["ColumnSpread", "Group", "groups_of"]


@dataclass(frozen=True)
class ColumnSpread:
    """The numbers of one column in a group; NaN is left out."""

    n: int
    min: float
    mean: float
    max: float


@dataclass(frozen=True)
class Group:
    """Runs that have the same values; filter: finds them, None where no filter can say it."""

    values: list[object]
    filter: str | None
    count: int
    states: dict[str, int]
    runs: list[str]  # the first of them
    columns: dict[str, ColumnSpread]


def groups_of(
    runs: Sequence[Subject], by: Sequence[Column], columns: Sequence[Column], cells: Cells, named: int
) -> list[Group]:
    """Return the groups of runs, the largest first; named: how many runs of each are told."""
    members: dict[str, list[Row]] = {}
    for row in cells.of(runs, [*by, *columns]):
        members.setdefault(repr([row.values[column.name] for column in by]), []).append(row)
    found = [_group(rows, by, columns, named) for rows in members.values()]
    return sorted(found, key=lambda group: -group.count)


def _group(rows: Sequence[Row], by: Sequence[Column], columns: Sequence[Column], named: int) -> Group:
    values = [rows[0].values[column.name] for column in by]
    terms = [_term(column, value) for column, value in zip(by, values, strict=True)]
    return Group(
        values=values,
        filter=" ".join(term for term in terms if term is not None) if None not in terms else None,
        count=len(rows),
        states=dict(Counter(row.run.row.state for row in rows)),
        runs=[f"{row.run.record.project}/{row.run.record.run_id}" for row in rows[:named]],
        columns={column.name: spread for column in columns if (spread := _spread(rows, column)) is not None},
    )


def _term(column: Column, value: object) -> str | None:
    """Return the filter's term that holds for a value; None where there is none, as for a list."""
    if column.reducer is not None:
        return None
    match value:
        case None:
            return f"-{column.name}:*"
        case bool():
            return f"{column.name}:{str(value).lower()}"
        case int() | float():
            return f"{column.name}:{value!r}"
        case str():
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'{column.name}:"{quoted}"'
        case _:
            return None


def _spread(rows: Iterable[Row], column: Column) -> ColumnSpread | None:
    given = [row.values[column.name] for row in rows]
    numbers = [value for value in given if isinstance(value, int | float) and not isinstance(value, bool)]
    known = [value for value in numbers if value == value]
    if not known:
        return None
    try:
        mean = math.fsum(known) / len(known)
    except (OverflowError, ValueError):  # an int beyond any float, or both infinities
        mean = math.nan
    return ColumnSpread(len(known), min(known), mean, max(known))
