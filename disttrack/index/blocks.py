"""Rows of one schema as columns: pieces as they are decoded, blocks as they are stored and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, cast

import numpy as np

from disttrack.index.chunks import Column, Ints, as_column, decode_ints, decode_runs, encode_bundle, encode_column
from disttrack.records.types import RowSchema

__all__ = [
    "MIXED",
    "Block",
    "MemoryBlock",
    "MemoryPlaces",
    "Piece",
    "Places",
    "Schemas",
    "StoredPlaces",
    "columns_together",
    "gather",
    "kind_letter",
    "piece_of",
    "unmixed",
]

MIXED: RowSchema = (("",), "m")
"""The schema of rows that share none: one column of {key: value}. Blocks of it are unmixed on reading."""

MAX_MIXED_SCHEMAS = 512  # schemas a run may have for msgpack rows; each costs a chunk a key and a seal
AXIS_ROWS = 65_536
BUNDLE_VALUES = 4_096  # stored together: little enough that reading one column of them costs no more than a row does


class Piece(NamedTuple):
    """Rows of one source and one schema in call order."""

    src: int
    at: Ints  # [rows] offsets of the records in the incarnation's journal
    step: Ints  # [rows]
    time_us: Ints  # [rows]
    bits: Ints  # [rows, keys] 8 bytes a value; 0 for kinds "*" and "m"
    others: Mapping[int, list[object]]  # the columns of kinds "*" and "m"


class MemoryPlaces(NamedTuple):
    """Where the rows of a block belong, sorted by (src, step, at): each [rows]."""

    src: Ints
    step: Ints
    at: Ints
    time_us: Ints

    @property
    def slices(self) -> tuple[Ints, Ints]:
        """Where the rows of each source begin, the end of the last behind them, and which these sources are."""
        starts = np.append(0, np.flatnonzero(self.src[1:] != self.src[:-1]) + 1)
        return np.append(starts, len(self.src)), self.src[starts]


class StoredPlaces:
    """The same in the index, each axis read when it is asked for first: most questions need but two of them."""

    def __init__(self, read: Callable[[int], memoryview], n: int) -> None:
        """read: returns one of the axes as it is stored."""
        self._read, self._n = read, n

    @cached_property
    def src(self) -> Ints:
        """Whose they are."""
        return decode_ints(self._read(0), self._n)

    @property
    def slices(self) -> tuple[Ints, Ints]:
        """As in MemoryPlaces: all that most questions ask of src."""
        starts, src = decode_runs(self._read(0), self._n)
        return np.append(starts, self._n), src

    @cached_property
    def step(self) -> Ints:
        """Their steps."""
        return decode_ints(self._read(1), self._n)

    @cached_property
    def at(self) -> Ints:
        """Their offsets."""
        return decode_ints(self._read(2), self._n)

    @cached_property
    def time_us(self) -> Ints:
        """When they were logged."""
        return decode_ints(self._read(3), self._n)


Places = MemoryPlaces | StoredPlaces


class Block(Protocol):
    """Rows of one schema. Kinds: d float64, q int64, ? bool, * anything else."""

    @property
    def keys(self) -> tuple[str, ...]: ...  # in the order they were logged
    @property
    def kinds(self) -> str: ...
    def places(self) -> Places: ...
    def column(self, key: str) -> Column: ...


@dataclass(frozen=True)
class MemoryBlock:
    """A block in memory: the live tail, or one about to be stored."""

    keys: tuple[str, ...]
    kinds: str
    rows: MemoryPlaces
    bits: Ints  # [keys, rows]
    others: Mapping[int, list[object]]

    def places(self) -> MemoryPlaces:
        """Return where the rows belong."""
        return self.rows

    def column(self, key: str) -> Column:
        """Return the values of one of the keys."""
        index = self.keys.index(key)
        return self.others[index] if index in self.others else as_column(self.kinds[index], self.bits[index])

    def parts(self) -> Iterator[bytes]:
        """Yield the columns as they are stored: columns_together(rows) of them in each part but the last."""
        together = columns_together(len(self.rows.src))
        for start in range(0, len(self.keys), together):
            kinds = self.kinds[start : start + together]
            if together == 1:
                yield encode_column(kinds, self.others[start] if start in self.others else self.bits[start])
            else:
                end = start + len(kinds)
                others = {index - start: values for index, values in self.others.items() if start <= index < end}
                yield encode_bundle(kinds, self.bits[start:end], others)

    def split(self) -> Iterator[MemoryBlock]:
        """Yield the block in parts of at most AXIS_ROWS rows."""
        for start in range(0, len(self.rows.src), AXIS_ROWS):
            part = slice(start, start + AXIS_ROWS)
            others = {index: values[part] for index, values in self.others.items()}
            yield MemoryBlock(
                self.keys, self.kinds, MemoryPlaces(*(axis[part] for axis in self.rows)), self.bits[:, part], others
            )


def columns_together(rows: int) -> int:
    """Return how many columns of a block are stored as one."""
    return max(1, BUNDLE_VALUES // rows)


class Schemas:
    """The schemas of a run, numbered: ranks that log the same keys share one."""

    def __init__(self, known: Sequence[RowSchema] = ()) -> None:
        self.all: list[RowSchema] = list(known)
        self._ids = {schema: sid for sid, schema in enumerate(self.all)}
        self._mixed = sum("*" in kinds for _, kinds in self.all)

    def sid(self, schema: RowSchema) -> int:
        """Return the number of a schema."""
        known = self._ids.get(schema)
        if known is None:
            known = self._ids[schema] = len(self.all)
            self.all.append(schema)
        return known

    def mixed_sid(self, schema: RowSchema) -> int | None:
        """Return the number of a msgpack row's schema, or None where the run has too many of them already."""
        if schema not in self._ids:
            if self._mixed >= MAX_MIXED_SCHEMAS:
                return None
            self._mixed += 1
        return self.sid(schema)


def kind_letter(value: object) -> str:
    """Return the kind of one decoded value."""
    kind = type(value)
    if kind is float:
        return "d"
    if kind is bool:
        return "?"
    return "q" if isinstance(value, int) and -(2**63) <= value < 2**63 else "*"


def piece_of(src: int, kinds: str, rows: Sequence[tuple[int, int, int, tuple[object, ...]]]) -> Piece:
    """Return a piece made of rows (offset, step, time in µs, values)."""
    at, step, time_us, values = zip(*rows, strict=True)
    bits = np.zeros((len(rows), len(kinds)), np.int64)
    others: dict[int, list[object]] = {}
    for index, (kind, column) in enumerate(zip(kinds, zip(*values, strict=True), strict=True)):
        if kind in "*m":
            others[index] = list(column)
        else:
            bits[:, index] = np.array(column, np.float64).view(np.int64) if kind == "d" else np.array(column, np.int64)
    axes = [np.array(axis, np.int64) for axis in (at, step, time_us)]
    return Piece(src, axes[0], axes[1], axes[2], bits, others)


def gather(schema: RowSchema, pieces: Sequence[Piece]) -> MemoryBlock:
    """Return pieces of one schema as one sorted block."""
    first = pieces[0]
    if len(pieces) == 1:
        rows = MemoryPlaces(np.full(len(first.at), first.src, np.int64), first.step, first.at, first.time_us)
        bits, others = first.bits, first.others
    else:
        src = np.repeat([piece.src for piece in pieces], [len(piece.at) for piece in pieces])
        rows = MemoryPlaces(
            src.astype(np.int64, copy=False),
            np.concatenate([piece.step for piece in pieces]),
            np.concatenate([piece.at for piece in pieces]),
            np.concatenate([piece.time_us for piece in pieces]),
        )
        bits = np.concatenate([piece.bits for piece in pieces])
        others = {index: [value for piece in pieces for value in piece.others[index]] for index in first.others}
    order = _order(rows)
    if order is not None:
        rows = MemoryPlaces(*(axis[order] for axis in rows))
        bits = bits[order]
        others = {index: [values[row] for row in order.tolist()] for index, values in others.items()}
    return MemoryBlock(*schema, rows, np.ascontiguousarray(bits.T), others)


def _order(rows: MemoryPlaces) -> Ints | None:
    """Return how to sort rows by (src, step, at); None where they are."""
    more, same = rows.at[1:] > rows.at[:-1], True
    for axis in (rows.step, rows.src):
        same = axis[1:] == axis[:-1]
        more = (axis[1:] > axis[:-1]) | (same & more)
    return None if more.all() else np.lexsort((rows.at, rows.step, rows.src)).astype(np.int64)


def unmixed(block: Block) -> Sequence[Block]:
    """Return a block as readers take it: one of MIXED rows as blocks of proper schemas."""
    return _unmix(block) if (block.keys, block.kinds) == MIXED else [block]


def _unmix(block: Block) -> list[MemoryBlock]:
    places = block.places()
    values = cast(list[dict[str, object]], block.column(""))
    rows: dict[RowSchema, list[int]] = {}
    for index, row in enumerate(values):
        rows.setdefault((tuple(row), "".join(map(kind_letter, row.values()))), []).append(index)
    found: list[MemoryBlock] = []
    for (keys, kinds), indices in rows.items():
        some = np.array(indices, np.int64)
        piece = piece_of(0, kinds, [(0, 0, 0, tuple(values[index].values())) for index in indices])
        mine = MemoryPlaces(places.src[some], places.step[some], places.at[some], places.time_us[some])
        found.append(MemoryBlock(keys, kinds, mine, np.ascontiguousarray(piece.bits.T), piece.others))
    return found
