"""The series of runs in wide form: one row a step of a source, one array a key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from disttrack.index.chunks import Column, Floats, Ints
from disttrack.index.snapshots import Snapshot
from disttrack.query.layout import Layout, Owners, Part, Rows, laid_out
from disttrack.query.selection import RankChoice

__all__ = ["Array", "Wide", "as_columns", "wide_form"]

EXACT = 1 << 53  # ints up to here are floats without loss
Array = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.object_]


class Wide(NamedTuple):
    """Rows by owner (a source: run, rank, attempt, seniority) and step, one column a key: all of one length."""

    owners: Owners
    ends: Ints  # [owners] where the rows of each end: an owner's follow those of the one before it
    step: Ints
    keys: dict[str, Array]  # as they were logged
    layout: Layout
    place: Ints | None = None  # of each row in the layout, where they are not all of it

    @property
    def owner(self) -> Ints:
        """A number for each source, ascending."""
        return np.repeat(np.arange(len(self.ends)), self._lengths)

    @property
    def _lengths(self) -> Ints:
        return np.diff(self.ends, prepend=0)

    @property
    def time(self) -> Floats:
        """Unix time in s of the last call for each row."""
        times = np.empty(len(self.step))
        self._fill_times(times)
        return times

    def _fill_times(self, times: Floats) -> None:
        """Decode the times now, and only of these rows."""
        if self.place is None:
            self.layout.fill_times(times)
        else:
            order = np.argsort(self.place)
            times[order] = self.layout.times_of(self.place[order])

    @property
    def run(self) -> Ints:
        """Whose rows they are: numbers of snapshots."""
        if not self.owners.run.any():  # one run's: zeros that nobody looks at cost nothing
            return np.zeros(len(self.step), np.int64)
        return np.repeat(self.owners.run, self._lengths)

    @property
    def rank(self) -> Ints:
        """The rank of each row."""
        return np.repeat(self.owners.rank, self._lengths)

    @property
    def attempt(self) -> Ints:
        """The attempt of each row."""
        return np.repeat(self.owners.attempt, self._lengths)

    def bounds(self) -> list[int]:
        """Return where the rows of each source that has any begin, and where the last one's end."""
        return sorted({0, *self.ends.tolist()})

    def rows(self, which: Ints) -> Wide:
        """Return some of the rows, in the order of which: by owner."""
        owner = np.searchsorted(self.ends, which, side="right")
        return Wide(
            self.owners,
            np.cumsum(np.bincount(owner, minlength=len(self.ends))),
            self.step[which],
            {key: column[which] for key, column in self.keys.items()},
            self.layout,
            which if self.place is None else self.place[which],
        )

    def axes(self) -> dict[str, Array]:
        """Return the first columns of a table."""
        return {"rank": self.rank, "attempt": self.attempt, "step": self.step, "time": self.time}


def wide_form(
    snapshots: Sequence[Snapshot],
    keys: Collection[str] | None = None,
    ranks: RankChoice = None,
    *,
    superseded: bool = False,
    untils: Sequence[int] = (),
) -> Wide:
    """Return a row for each (source, step) at which one of the keys (None: any) was logged.

    Rows are by run (in the order of the snapshots), rank, attempt, source and step. A key is float64 with NaN where it
    is missing, int64 where all are ints, else object with None where it is missing (also where a missing int would make
    others inexact). superseded: also the rows that a later attempt has gone over again. untils: as for laid_out.
    """
    layout = laid_out(snapshots, keys, ranks, superseded=superseded, untils=untils)
    names = _in_order(layout.parts) if keys is None else list(dict.fromkeys(keys))
    columns = _columns(layout, names)
    return Wide(layout.owners, layout.ends, layout.step, {key: columns[key] for key in names}, layout)


def as_columns(first: Mapping[str, Array], keys: Mapping[str, Array]) -> dict[str, Array]:
    """Return first columns and those of keys as one table; a key named like one before it gets "_logged"."""
    table = dict(first)
    for key, column in keys.items():
        name = key
        while name in table:
            name += "_logged"
        table[name] = column
    return table


def _in_order(parts: Sequence[Part]) -> list[str]:
    """Return all keys in the order in which the rows of the table name them first."""
    first: dict[str, tuple[int, int]] = {}
    for part in parts:
        begin = part.order.start if isinstance(part.order, slice) else int(part.order.min())
        for index, key in enumerate(part.keys):
            first[key] = min(first.get(key, (begin, index)), (begin, index))
    return sorted(first, key=lambda key: first[key])


def _columns(layout: Layout, keys: Collection[str]) -> dict[str, Array]:
    """Return the values of keys, the latest call's where several are for one row.

    Keys that the same blocks hold are read together, block by block: short blocks are stored with all their keys.
    """
    held: dict[str, list[int]] = {key: [] for key in keys}
    for number, part in enumerate(layout.parts):
        for key in part.keys:
            held[key].append(number)
    together: dict[tuple[int, ...], list[str]] = {}
    for key, numbers in held.items():
        together.setdefault(tuple(numbers), []).append(key)
    columns: dict[str, Array] = {}
    for which, some in together.items():
        parts = [layout.parts[number] for number in which]
        columns.update(_columns_of(parts, some, len(layout.step), merges=layout.last is not None))
    return columns


def _columns_of(parts: Sequence[Part], keys: Sequence[str], n: int, *, merges: bool) -> dict[str, Array]:
    """Return the columns of keys that are all in the same parts."""
    targets, rows, whole = _standing(parts, n) if merges else _all(parts, n)
    columns: dict[str, Array] = {}
    for key in keys:
        kinds = {part.block.kinds[part.block.keys.index(key)] for part in parts}
        if kinds == {"q"} and whole:
            columns[key] = np.empty(n, np.int64)
        elif kinds <= {"d", "q"}:
            columns[key] = np.empty(n, np.float64) if whole else np.full(n, np.nan)
        else:
            columns[key] = np.full(n, None, np.object_)
    for at, part in enumerate(parts):
        for key in keys:
            values, table = part.block.column(key), columns[key]
            if table.dtype == np.float64 and not _is_exact(values):
                columns[key] = table = _anew(key, parts[:at], targets, rows, n)
            of_block = _as_objects(values) if table.dtype == np.object_ else np.asarray(values)
            table[targets[at]] = of_block[rows[at]]
    return columns


def _anew(key: str, parts: Sequence[Part], targets: Sequence[Rows], rows: Sequence[Rows], n: int) -> Array:
    """Return a column as objects with the values of these parts: an int that is no float follows."""
    table = np.full(n, None, np.object_)
    for part, target, of_block in zip(parts, targets, rows, strict=False):
        table[target] = _as_objects(part.block.column(key))[of_block]
    return table


def _all(parts: Sequence[Part], n: int) -> tuple[list[Rows], list[Rows], bool]:
    """Return where the values of parts go and which rows of their blocks they are; whether that fills the table."""
    return [part.target for part in parts], [part.rows for part in parts], sum(part.n for part in parts) == n


def _standing(parts: Sequence[Part], n: int) -> tuple[list[Rows], list[Rows], bool]:
    """Return the same where several calls may be for one row: only of those that stand."""
    newest = np.full(n, -1, np.int64)  # the order of the value each row has
    for part in parts:  # of a block's rows for one target the last is the latest, and the last assignment stands
        target, order = _numbers(part.target, part.n), _numbers(part.order, part.n)
        newest[target] = np.maximum(newest[target], order)
    targets: list[Rows] = []
    rows: list[Rows] = []
    for part in parts:
        target, order = _numbers(part.target, part.n), _numbers(part.order, part.n)
        stands = newest[target] == order
        targets.append(target[stands])
        rows.append(_numbers(part.rows, part.n)[stands])
    return targets, rows, bool((newest >= 0).all())


def _numbers(rows: Rows, n: int) -> Ints:
    """Return the numbers of n rows."""
    return np.arange(n) + (rows.start or 0) if isinstance(rows, slice) else rows


def _is_exact(column: Column) -> bool:
    """Say whether a column's values are floats without loss."""
    if isinstance(column, list):
        return False
    return column.dtype == np.float64 or bool((np.abs(column.astype(np.float64)) <= EXACT).all())


def _as_objects(column: Column) -> NDArray[np.object_]:
    values = column if isinstance(column, list) else column.tolist()
    return np.fromiter(values, np.object_, len(values))
