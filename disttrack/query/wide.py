"""The series of a run in wide form: one row a step of a source, one array a key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from disttrack.index.blocks import Block
from disttrack.index.chunks import Column, Ints
from disttrack.index.indexer import Snapshot
from disttrack.query.members import Member
from disttrack.query.selection import RankChoice, blocks_with, chosen
from disttrack.query.superseded import cuts

__all__ = ["AXES", "EXACT", "Array", "Wide", "as_columns", "wide_form", "wide_rows"]

AXES = ("rank", "attempt", "step", "time")
_NEVER = np.iinfo(np.int64).max  # the cut of an attempt that no later one goes over
EXACT = 1 << 53  # ints up to here are floats without loss
Array = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.object_]


class Wide(NamedTuple):
    """Rows by owner (a source: rank, attempt, seniority) and step, one column a key: all of one length."""

    owner: Ints  # a number for each source, ascending
    axes: dict[str, Array]  # AXES
    keys: dict[str, Array]  # as they were logged

    def rows(self, which: Ints) -> Wide:
        """Return some of the rows, in the order of which."""
        return Wide(
            self.owner[which],
            {name: column[which] for name, column in self.axes.items()},
            {key: column[which] for key, column in self.keys.items()},
        )


class _Found(NamedTuple):
    """The rows of one block that were asked for."""

    block: Block
    keys: tuple[str, ...]
    n: int
    rows: Ints | slice  # of the block
    target: Ints  # the row of the table that each of them goes to
    order: Ints  # among all rows found: a later one's value stands


def wide_form(
    snapshot: Snapshot,
    keys: Collection[str] | None = None,
    ranks: RankChoice = None,
    *,
    superseded: bool = False,
) -> dict[str, Array]:
    """Return the columns rank, attempt, step, time (unix s) and one for each key (None: every key logged).

    A row for each (source, step) at which one of the keys was logged, by rank, attempt, source and step; its time is
    that of the last call. A key is float64 with NaN where it is missing, int64 where all are ints, else object with
    None where it is missing (also where a missing int would make others inexact). A key that is named like one of the
    first columns has "_logged" after its name. superseded: also the rows that a later attempt has gone over again.
    """
    wide = wide_rows(snapshot, keys, ranks, superseded=superseded)
    return as_columns(wide.axes, wide.keys)


def as_columns(first: Mapping[str, Array], keys: Mapping[str, Array]) -> dict[str, Array]:
    """Return first columns and those of keys as one table; a key named like one before it gets "_logged"."""
    table = dict(first)
    for key, column in keys.items():
        name = key
        while name in table:
            name += "_logged"
        table[name] = column
    return table


def wide_rows(snapshot: Snapshot, keys: Collection[str] | None, ranks: RankChoice, *, superseded: bool = False) -> Wide:
    """Return what wide_form does, with the owner of each row, and keys under their own names."""
    owner, axes, found = _find(snapshot, keys, chosen(snapshot, ranks), {} if superseded else cuts(snapshot.record))
    names = _in_order(found) if keys is None else list(dict.fromkeys(keys))
    n = len(owner)
    column = _column if sum(some.n for some in found) > n else _lone_column
    return Wide(owner, axes, {key: column(key, [some for some in found if key in some.keys], n) for key in names})


def _find(
    snapshot: Snapshot, keys: Collection[str] | None, members: Sequence[Member], cuts: Mapping[int, int]
) -> tuple[Ints, dict[str, Array], list[_Found]]:
    """Return the owners, the first columns, and which rows of which block go where."""
    cut = np.array([cuts.get(member.attempt, _NEVER) for member in members], np.int64)
    owner_of = np.full(len(snapshot.record.sources), -1, np.int64)
    owner_of[[member.src for member in members]] = np.arange(len(members))
    picked: list[tuple[Block, tuple[str, ...], int, Ints | slice]] = []
    parts: list[tuple[Ints, Ints, Ints, Ints]] = []
    for block, mine in blocks_with(snapshot, keys):
        places = block.places()
        owner = owner_of[places.src]
        wanted = owner >= 0
        if cuts and members:
            wanted &= (places.step < cut[owner]) | (cut[owner] == _NEVER)
        rows: Ints | slice = slice(None) if wanted.all() else np.flatnonzero(wanted)
        parts.append((owner[rows], places.step[rows], places.at[rows], places.time_us[rows]))
        picked.append((block, mine, len(parts[-1][0]), rows))
    none = np.zeros(0, np.int64)
    owner, step, at, time_us = (
        (np.concatenate([none, *axis]) for axis in zip(*parts, strict=True)) if parts else (none,) * 4
    )
    order = _order(owner, step, at)
    if order is not None:
        owner, step, time_us = owner[order], step[order], time_us[order]
    n = len(owner)
    begins = np.ones(n, bool)
    begins[1:] = (owner[1:] != owner[:-1]) | (step[1:] != step[:-1])
    sorted_at = np.arange(n)
    if order is not None:
        sorted_at[order] = np.arange(n)
    row_of = sorted_at
    if not begins.all():  # several calls for one row
        first = np.flatnonzero(begins)
        row_of = (np.cumsum(begins) - 1)[sorted_at]
        owner, step, time_us = owner[first], step[first], time_us[np.append(first[1:], n) - 1]
    axes: dict[str, Array] = {
        "rank": np.array([member.rank for member in members], np.int64)[owner],
        "attempt": np.array([member.attempt for member in members], np.int64)[owner],
        "step": step,
        "time": time_us / 1e6,
    }
    found: list[_Found] = []
    start = 0
    for block, mine, size, rows in picked:
        part = slice(start, start + size)
        start += size
        if size:
            found.append(_Found(block, mine, size, rows, row_of[part], sorted_at[part]))
    return owner, axes, found


def _order(owner: Ints, step: Ints, at: Ints) -> Ints | None:
    """Return how to sort rows by owner, step and at; None where they are.

    Each block has them sorted by source, so most often they are once the owners are: a radix sort of 16 bits, which
    takes half the time off a history of one key of 256 ranks.
    """
    if _are_sorted(owner, step, at):
        return None
    if int(owner.max()) < 1 << 15:
        order = np.argsort(owner.astype(np.int16), kind="stable").astype(np.int64)
        if _are_sorted(owner[order], step[order], at[order]):
            return order
    return np.lexsort((at, step, owner)).astype(np.int64)


def _are_sorted(owner: Ints, step: Ints, at: Ints) -> bool:
    same_owner = owner[1:] == owner[:-1]
    if not (same_owner | (owner[1:] > owner[:-1])).all():
        return False
    later = (step[1:] > step[:-1]) | ((step[1:] == step[:-1]) & (at[1:] > at[:-1]))
    return bool((later | ~same_owner).all())


def _in_order(found: Sequence[_Found]) -> list[str]:
    """Return all keys in the order in which the rows of the table name them first."""
    first: dict[str, tuple[int, int]] = {}
    for some in found:
        begin = int(some.order.min())
        for index, key in enumerate(some.keys):
            first[key] = min(first.get(key, (begin, index)), (begin, index))
    return sorted(first, key=lambda key: first[key])


def _lone_column(key: str, found: Sequence[_Found], n: int) -> Array:
    """Return the values of one key where no two calls are for one row."""
    kinds = {some.block.kinds[some.block.keys.index(key)] for some in found}
    columns = [some.block.column(key) for some in found]
    whole = sum(some.n for some in found) == n
    table: Array
    if kinds == {"q"} and whole:
        table = np.empty(n, np.int64)
    elif not kinds - {"d", "q"} and all(_is_exact(column) for column in columns):
        table = np.empty(n, np.float64) if whole else np.full(n, np.nan)
    else:
        table = np.full(n, None, np.object_)
    for some, column in zip(found, columns, strict=True):
        values = _as_objects(column) if table.dtype == np.object_ else np.asarray(column)
        table[some.target] = values[some.rows]
    return table


def _column(key: str, found: Sequence[_Found], n: int) -> Array:
    """Return the values of one key, the latest call's where several are for one row."""
    kinds = {some.block.kinds[some.block.keys.index(key)] for some in found}
    newest = np.full(n, -1, np.int64)  # the order of the value each row has
    columns = [some.block.column(key) for some in found]
    for some in found:  # of a block's rows for one target the last is the latest, and the last assignment stands
        newest[some.target] = np.maximum(newest[some.target], some.order)
    missing = newest < 0
    if kinds == {"q"} and not missing.any():
        return _filled(np.zeros(n, np.int64), found, columns, newest)
    if not kinds - {"d", "q"} and all(_is_exact(column) for column in columns):
        return _filled(np.full(n, np.nan), found, columns, newest)
    objects = np.full(n, None, np.object_)
    return _filled(objects, found, [_as_objects(column) for column in columns], newest)


def _is_exact(column: Column) -> bool:
    """Say whether a column's values are floats without loss."""
    if isinstance(column, list):
        return False
    return column.dtype == np.float64 or bool((np.abs(column.astype(np.float64)) <= EXACT).all())


def _as_objects(column: Column) -> NDArray[np.object_]:
    values = column if isinstance(column, list) else column.tolist()
    return np.fromiter(values, np.object_, len(values))


def _filled(
    table: Array, found: Sequence[_Found], columns: Sequence[NDArray[np.generic] | list[object]], newest: Ints
) -> Array:
    for some, column in zip(found, columns, strict=True):
        stands = newest[some.target] == some.order
        table[some.target[stands]] = np.asarray(column)[some.rows][stands]
    return table
