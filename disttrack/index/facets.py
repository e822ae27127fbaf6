"""What lists ask of runs, column by column: finding and ordering 10,000 runs decodes none of them.

A facet is one value of one run: a property such as its name, or the last value of a key of its summary
or config. The facets of BLOCK_RUNS runs with neighbouring numbers lie together, a blob a field, so that
a field of 10,000 runs is 40 short blobs. Only settled runs are filed here, those that look the same to
every observer at any time; whoever hands in the facets says which these are. All others are looked at
one by one.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal, NamedTuple, cast

import numpy as np

from disttrack.index.blocks import kind_letter
from disttrack.index.checksums import signed, verified
from disttrack.index.chunks import Column, Ints, decode_column, decode_ints, encode_column, encode_ints
from disttrack.index.facts import pack
from disttrack.records.codec import decode

__all__ = [
    "BLOCK_RUNS",
    "Columns",
    "Facet",
    "Facets",
    "Scope",
    "Values",
    "as_list",
    "columns",
    "file_block",
    "names_of",
]

Scope = Literal["run", "summary", "config"]  # run: its properties
Facet = tuple[Scope, str]
Facets = Mapping[Facet, object]

BLOCK_RUNS = 256  # of 64 to 1,024: 128 and less cost bytes and time, 512 and more make filing one run dearer
LONG_BYTES = 256  # a longer value is not repeated here: who asks for it looks at the run itself

_SCOPES: dict[Scope, int] = {"run": 0, "summary": 1, "config": 2}
_LONG = 3  # added to a scope: the runs that have a value there which is too long, each with True
_HEAD = struct.Struct(
    "<cHH"
)  # kind ("=": one text, the same for all), values, bytes of their runs' places in the block


class Values(NamedTuple):
    """One facet of some runs."""

    runs: Ints  # their numbers, ascending
    values: Column  # beside them


class Columns(NamedTuple):
    """Some facets of the runs that are filed."""

    size: int  # more than the number of any run
    facets: dict[Facet, Values]
    long: frozenset[int]  # runs that have a value in one of these which is too long to be among them: left out of all


def columns(connection: sqlite3.Connection, facets: Iterable[Facet], runs: Iterable[int] | None = None) -> Columns:
    """Return facets of all runs that have them; runs: not of all, but at least of these."""
    (size,) = connection.execute("SELECT runs + 1 FROM counter").fetchone()
    blocks = range(-(-size // BLOCK_RUNS)) if runs is None else sorted({run // BLOCK_RUNS for run in runs})
    query = (
        f"SELECT block, scope, key, data FROM facet WHERE block IN ({','.join(map(str, blocks))}) AND scope = ?"
        " AND key = (SELECT id FROM key WHERE name = ?) ORDER BY block"
    )
    found: dict[Facet, Values] = {}
    long: set[int] = set()
    for scope, name in facets:
        found[scope, name] = _joined(connection.execute(query, (_SCOPES[scope], name)))
        long.update(_joined(connection.execute(query, (_SCOPES[scope] + _LONG, name))).runs.tolist())
    if long:
        found = {facet: _without(values, long) for facet, values in found.items()}
    return Columns(size, found, frozenset(long))


def names_of(connection: sqlite3.Connection, scopes: Collection[Scope]) -> list[Facet]:
    """Return the facets of these scopes that any run has."""
    by_number: dict[int, Scope] = {_SCOPES[scope]: scope for scope in scopes}
    found = connection.execute(
        f"SELECT DISTINCT facet.scope, key.name FROM facet JOIN key ON key.id = facet.key"
        f" WHERE facet.scope IN ({','.join(map(str, by_number))}) ORDER BY facet.scope, facet.key"
    )
    return [(by_number[int(scope)], str(name)) for scope, name in found]


def _joined(rows: Iterable[tuple[int, int, int, bytes]]) -> Values:
    runs: list[Ints] = []
    parts: list[Column] = []
    for block, scope, key, data in rows:
        places, values = _decoded(verified(data, block, scope, key))
        runs.append(places + block * BLOCK_RUNS)
        parts.append(values)
    if not runs:
        return Values(np.array([], np.int64), [])
    arrays = [part for part in parts if not isinstance(part, list)]
    if len(arrays) == len(parts) and len({array.dtype for array in arrays}) == 1:
        return Values(np.concatenate(runs), cast(Column, np.concatenate(arrays)))
    return Values(np.concatenate(runs), [value for part in parts for value in as_list(part)])


def _without(values: Values, runs: Collection[int]) -> Values:
    kept = ~np.isin(values.runs, list(runs))
    if isinstance(values.values, list):
        return Values(values.runs[kept], [value for value, keep in zip(values.values, kept, strict=True) if keep])
    return Values(values.runs[kept], cast(Column, values.values[kept]))


def as_list(column: Column) -> list[object]:
    """Return values as they were logged."""
    return column if isinstance(column, list) else cast("list[object]", column.tolist())


def file_block(
    connection: sqlite3.Connection, block: int, runs: Mapping[int, Facets | None], key: Callable[[str], int]
) -> None:
    """File runs of a block by their numbers, instead of what was filed of them before; None: nothing any more.

    key: returns the number of a name.
    """
    filed: dict[tuple[int, int], dict[int, object]] = {}
    for scope, number, data in connection.execute("SELECT scope, key, data FROM facet WHERE block = ?", (block,)):
        places, values = _decoded(verified(data, block, scope, number))
        filed[scope, number] = dict(zip((places + block * BLOCK_RUNS).tolist(), as_list(values), strict=True))
    changed = {field for field, values in filed.items() if not values.keys().isdisjoint(runs)}
    for field in changed:
        filed[field] = {run: value for run, value in filed[field].items() if run not in runs}
    for run, facets in runs.items():
        for (scope, name), value in (facets or {}).items():
            long = _is_long(value)
            field = _SCOPES[scope] + long * _LONG, key(name)
            filed.setdefault(field, {})[run] = True if long else value
            changed.add(field)
    connection.executemany(
        "DELETE FROM facet WHERE block = ? AND scope = ? AND key = ?",
        [(block, *field) for field in changed if not filed[field]],
    )
    connection.executemany(
        "INSERT INTO facet (block, scope, key, data) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (block, scope, key) DO UPDATE SET data = excluded.data",
        [
            (block, *field, signed(_encoded(filed[field], block * BLOCK_RUNS), block, *field))
            for field in sorted(changed)
            if filed[field]
        ],
    )


def _is_long(value: object) -> bool:
    if value is None or isinstance(value, bool | float):
        return False
    if isinstance(value, int):
        return value.bit_length() > 8 * LONG_BYTES
    return len(value.encode() if isinstance(value, str) else pack([value])) > LONG_BYTES


def _encoded(values: Mapping[int, object], first: int) -> bytes:
    """Return at least one value; first: the number of the block's first run."""
    runs = sorted(values)
    column = [values[run] for run in runs]
    kinds = set(map(kind_letter, column))
    kind = kinds.pop() if len(kinds) == 1 else "*"
    if kind == "*":
        kind, column = (
            ("=", column[:1]) if all(isinstance(v, str) and v == column[0] for v in column) else ("*", column)
        )
        data = pack(column) if kind == "=" else encode_column(kind, column)
    elif kind == "d":
        data = encode_column(kind, np.array(column, np.float64).view(np.int64))
    else:
        data = encode_column(kind, np.array(column, np.int64))
    places = encode_ints(np.array(runs, np.int64) - first)
    return _HEAD.pack(kind.encode(), len(runs), len(places)) + places + data


def _decoded(data: memoryview) -> tuple[Ints, Column]:
    """Return the runs' places in their block, and their values."""
    kind, n, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    places = decode_ints(data[_HEAD.size : end], n)
    if kind == b"=":
        return places, cast("list[object]", decode(data[end:], list)) * n
    return places, decode_column(kind.decode(), data[end:], n)
