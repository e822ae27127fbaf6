"""Runs in groups: by the values of fields, with what the columns of each group come to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from disttrack.index.facets import as_list
from disttrack.query.columns import Cells, Column, column_of
from disttrack.query.finding import Found
from disttrack.query.reader import Reader
from disttrack.query.subjects import Asked

__all__ = ["ColumnSpread", "Group", "Groups", "groups_of"]

_STATE = column_of("state")

# How many runs are told by name: of a group, and of all. A name is in what is known of a run, which is to be unpacked.
NAMED_OF_GROUP = 100
NAMED = 1_000


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
    runs: list[str]  # the first of them: at most 100, and none once 1,000 of larger groups are named
    columns: dict[str, ColumnSpread]


@dataclass(frozen=True)
class Groups:
    """The largest groups; count: how many there are in all."""

    count: int
    largest: list[Group]


def groups_of(
    reader: Reader, found: Found, by: Sequence[Column], columns: Sequence[Column], cells: Cells, limit: int
) -> Groups:
    """Return groups of runs, the largest first, at most limit of them.

    Of runs that are filed only the columns are read, as by lists.
    """
    asked = {column.name: column for column in (*by, *columns, _STATE)}
    values = {name: _values(reader, found, column, cells) for name, column in asked.items()}
    members: dict[str, list[int]] = {}
    for run in found.numbers:
        members.setdefault(repr([values[column.name].get(run) for column in by]), []).append(run)
    largest = sorted(members.values(), key=lambda runs: -len(runs))[:limit]
    names = _names(found, largest)
    return Groups(len(members), [_group(runs, by, columns, values, names) for runs in largest])


def _names(found: Found, groups: Sequence[list[int]]) -> dict[int, str]:
    """Return by the numbers of runs how those are called that groups tell by name."""
    told = list(islice(chain.from_iterable(runs[:NAMED_OF_GROUP] for runs in groups), NAMED))
    return {run.record.number: run.record.path for run in found.ordered(told)}


def _values(reader: Reader, found: Found, column: Column, cells: Cells) -> Mapping[int, object]:
    """Return by the numbers of runs what they have in a column; those that have nothing there are left out."""
    if column.reducer is not None:
        return cells.reduced(found.numbers, column)
    asked = Asked(column.field)
    values: dict[int, object] = {}
    if asked.facets:
        filed = asked.filed(reader.facets(asked.facets, found.numbers))
        values.update(zip(filed.runs.tolist(), as_list(filed.values), strict=True))
        rest = [run for run in found.numbers if run in found.known]
    else:
        rest = found.numbers
    for subject in found.ordered(rest):
        values.pop(subject.record.number, None)
        mine = list(asked.of(subject))
        if mine:
            values[subject.record.number] = mine if asked.has_many else mine[0]
    return values


def _group(
    runs: list[int],
    by: Sequence[Column],
    columns: Sequence[Column],
    values: Mapping[str, Mapping[int, object]],
    names: Mapping[int, str],
) -> Group:
    mine = [values[column.name].get(runs[0]) for column in by]
    terms = [_term(column, value) for column, value in zip(by, mine, strict=True)]
    spreads = {column.name: _spread(values[column.name].get(run) for run in runs) for column in columns}
    return Group(
        values=mine,
        filter=" ".join(term for term in terms if term is not None) if None not in terms else None,
        count=len(runs),
        states=dict(Counter(str(values[_STATE.name].get(run)) for run in runs)),
        runs=[names[run] for run in runs[:NAMED_OF_GROUP] if run in names],
        columns={name: spread for name, spread in spreads.items() if spread is not None},
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


def _spread(values: Iterable[object]) -> ColumnSpread | None:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    known = [value for value in numbers if value == value]
    if not known:
        return None
    try:
        mean = math.fsum(known) / len(known)
    except (OverflowError, ValueError):  # an int beyond any float, or both infinities
        mean = math.nan
    return ColumnSpread(len(known), min(known), mean, max(known))
