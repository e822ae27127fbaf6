"""The series of a run in long form: one value a row, in order, without holding them all at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from disttrack.errors import RunNotFound
from disttrack.index.blocks import Block, Places
from disttrack.index.chunks import Column
from disttrack.index.queries import Vanished
from disttrack.index.snapshots import Snapshot
from disttrack.query.members import Member
from disttrack.query.reader import Reader
from disttrack.query.selection import RankChoice, blocks_with, chosen
from disttrack.query.superseded import ends_of

__all__ = ["Value", "ValueType", "long_form", "values_of"]

PASS_VALUES = 500_000  # values in memory at a time: about 50 MB of Python objects
ValueType = Literal["float", "int", "bool", "str", "null", "json"]
_TYPES: dict[str, ValueType] = {"d": "float", "q": "int", "?": "bool"}


class Value(NamedTuple):
    """One value as it was logged; time in unix seconds."""

    run: str
    rank: int
    attempt: int
    step: int
    time: float
    key: str
    value: object
    type: ValueType


class _Unit(NamedTuple):
    """The rows of one source from step first on and before step end (None: to the last)."""

    member: Member
    first: int | None
    end: int | None
    size: int  # values


class _Part(NamedTuple):
    """Rows of one block and one source, by (step, offset)."""

    keys: tuple[str, ...]
    kinds: str
    step: list[int]
    at: list[int]
    time_us: list[int]
    rows: list[tuple[object, ...]]


_Slices = dict[int, list[tuple[int, int, int]]]  # by source: number of the block, its rows [from, to)
_Blocks = Sequence[tuple[Block, tuple[str, ...]]]


def long_form(
    root: Path,
    run_id: str,
    keys: Collection[str] | None = None,
    ranks: RankChoice = None,
    superseded: bool = False,
) -> Iterator[Value]:
    """Yield every value of a run by rank, attempt, source and step; of one step in the order they were logged.

    Where a source logged a key at a step again, the later call's value stands. keys, ranks: only these.
    superseded: also the values that a later attempt has gone over again (query/superseded.py). Of a fork, those of the
    run it is a fork of come first, up to the step where it begins.
    Raises RunNotFound (also where the run is removed while it is read) or UnsupportedFormat.
    """
    with Reader(root) as reader:
        snapshot = reader.snapshot(run_id, check=True)  # half of it may be printed when the other half is read
        try:
            for record, until in reader.past(snapshot.record):  # of a fork: its parents, up to where it begins
                parent = reader.snapshot(record.path, check=True)
                for value in values_of(parent, keys, ranks, superseded=superseded, until=until):
                    yield value._replace(run=snapshot.record.run_id)
            yield from values_of(snapshot, keys, ranks, superseded=superseded)
        except Vanished:
            raise RunNotFound(run_id, root) from None


def values_of(
    snapshot: Snapshot,
    keys: Collection[str] | None,
    ranks: RankChoice,
    pass_values: int = PASS_VALUES,
    *,
    superseded: bool = False,
    until: int | None = None,
) -> Iterator[Value]:
    """Yield the values of a snapshot as long_form does, reading its blocks once for every pass_values of them.

    until: only those before this step.
    """
    blocks = blocks_with(snapshot, keys)
    slices = _slices(blocks)
    ends = ends_of(snapshot.record, until, superseded=superseded)
    units = [
        unit
        for member in chosen(snapshot, ranks)
        if member.src in slices
        for unit in _units(member, blocks, slices[member.src], ends.get(member.attempt), pass_values)
    ]
    run_id = snapshot.record.run_id
    for batch in _batches(units, pass_values):
        parts = _parts(batch, blocks, slices)
        for number, unit in enumerate(batch):
            yield from _merged(run_id, unit.member, parts.pop(number, []))


def _slices(blocks: _Blocks) -> _Slices:
    """Return where each source's rows lie: a block has them together."""
    slices: _Slices = {}
    for number, (block, _) in enumerate(blocks):
        bounds, src = block.places().slices
        for source, (start, end) in zip(src.tolist(), pairwise(bounds.tolist()), strict=True):
            slices.setdefault(source, []).append((number, start, end))
    return slices


def _units(
    member: Member, blocks: _Blocks, slices: Sequence[tuple[int, int, int]], cut: int | None, pass_values: int
) -> Iterator[_Unit]:
    """Yield a source's rows below step cut as one unit, or as several by step where that were too much at a time."""
    size = sum((end - start) * len(blocks[number][1]) for number, start, end in slices)
    if size <= pass_values:
        yield _Unit(member, None, cut, size)
        return
    steps = np.sort(np.concatenate([blocks[number][0].places().step[start:end] for number, start, end in slices]))
    rows = max(1, len(steps) * pass_values // size)
    bounds = sorted(step for step in set(steps[rows::rows].tolist()) - {int(steps[0])} if cut is None or step < cut)
    for first, end in zip([None, *bounds], [*bounds, cut], strict=True):
        yield _Unit(member, first, end, rows * size // len(steps))


def _batches(units: Sequence[_Unit], pass_values: int) -> Iterator[list[_Unit]]:
    batch: list[_Unit] = []
    size = 0
    for unit in units:
        if batch and size + unit.size > pass_values:
            yield batch
            batch, size = [], 0
        batch.append(unit)
        size += unit.size
    if batch:
        yield batch


def _parts(batch: Sequence[_Unit], blocks: _Blocks, slices: _Slices) -> dict[int, list[_Part]]:
    """Return what each unit of a batch has in each block."""
    wanted: dict[int, list[tuple[int, int, int]]] = {}  # by block: number of the unit, rows [from, to)
    for unit_number, unit in enumerate(batch):
        for block_number, start, end in slices[unit.member.src]:
            wanted.setdefault(block_number, []).append((unit_number, start, end))
    parts: dict[int, list[_Part]] = {}
    for block_number, rows in sorted(wanted.items()):
        block, keys = blocks[block_number]
        places = block.places()
        cuts = [(number, *_steps(places, start, end, batch[number])) for number, start, end in rows]
        if all(start == end for _, start, end in cuts):
            continue
        columns = [block.column(key) for key in keys]
        kinds = "".join(block.kinds[block.keys.index(key)] for key in keys)
        for number, start, end in cuts:
            step, at, time_us = (axis[start:end].tolist() for axis in (places.step, places.at, places.time_us))
            lists = [_listed(column[start:end]) for column in columns]
            parts.setdefault(number, []).append(_Part(keys, kinds, step, at, time_us, list(zip(*lists, strict=True))))
    return parts


def _listed(column: Column) -> list[object]:
    return column if isinstance(column, list) else column.tolist()


def _steps(places: Places, start: int, end: int, unit: _Unit) -> tuple[int, int]:
    """Return which of a source's rows [start, end) are a unit's."""
    step = places.step[start:end]
    first = 0 if unit.first is None else int(np.searchsorted(step, unit.first))
    last = end - start if unit.end is None else int(np.searchsorted(step, unit.end))
    return start + first, start + last


def _merged(run_id: str, member: Member, parts: Sequence[_Part]) -> Iterator[Value]:
    """Yield the values of one unit, merged over its parts."""
    places = sorted(
        (step, at, number, row)
        for number, part in enumerate(parts)
        for row, (step, at) in enumerate(zip(part.step, part.at, strict=True))
    )
    for _, group in groupby(places, key=itemgetter(0)):
        calls = [_values(run_id, member, parts[number], row) for _, _, number, row in group]
        if len(calls) == 1:
            yield from calls[0]
        else:  # a key keeps its place and takes the later call's value
            yield from {value.key: value for call in calls for value in call}.values()


def _values(run_id: str, member: Member, part: _Part, row: int) -> list[Value]:
    """Return the values of one call."""
    step, time_s = part.step[row], part.time_us[row] / 1e6
    return [
        Value(run_id, member.rank, member.attempt, step, time_s, key, value, _TYPES.get(kind) or _type_of(value))
        for key, kind, value in zip(part.keys, part.kinds, part.rows[row], strict=True)
    ]


def _type_of(value: object) -> ValueType:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "str"
    return "int" if isinstance(value, int) else "json"
