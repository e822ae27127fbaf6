"""Journal records as bytes: one frame a record, and the two forms of a row.

    u32 length of body · u32 crc32 of the rest · u8 kind · u8 flags · u16 schema · body        (little-endian)

A row whose values are all float, int64 or bool is a ROW: i64 step, i64 time in µs, 8 bytes a value,
its keys and kinds sent once as a SCHEMA. Every other row is a MSGPACK_ROW [step, time, {key: value}].
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import msgspec

from disttrack.records.payloads import RecordKind
from disttrack.records.types import RowSchema
from disttrack.records.values import Aside, flatten, kind_of, restore

__all__ = [
    "COMMIT",
    "EXPLICIT_STEP",
    "HEADER",
    "MAX_RECORD_BYTES",
    "Record",
    "RowEncoder",
    "decode",
    "decode_row",
    "decode_schema",
    "encode",
    "is_removed",
    "pack",
    "records",
    "removed_bytes",
    "row_layout",
]

HEADER = struct.Struct("<IIBBH")
MAX_RECORD_BYTES = 64 << 20  # a longer length in a header is damage, not data
MAX_SCHEMAS = 4096  # u16 ids are never reused: an incarnation that invents keys for ever goes on in msgpack
MAX_SCHEMA_KEYS = 1_000_000  # in all schemas together: what the encoder remembers stays bounded
COMMIT, EXPLICIT_STEP = 1, 2
"""Flags of a row. EXPLICIT_STEP: its step is final, given or counted from one that was. Without it the rank counted
from 0, wherever its attempt began (Join.lineage of the primary)."""

_REMOVED = b" removed"
_T = TypeVar("_T")
_pack_prefix = struct.Struct("<III").pack
_crc32 = zlib.crc32
_STEP = struct.Struct("<q")
_pack = msgspec.msgpack.Encoder().encode
_rows = msgspec.msgpack.Decoder(tuple[int, int, dict[str, Any]], ext_hook=restore)
_schemas = msgspec.msgpack.Decoder(tuple[tuple[str, ...], str])


class Record(NamedTuple):
    """One record where it lies: body is data[start:end] of the buffer it was found in."""

    kind: int
    flags: int
    schema: int
    start: int
    end: int


def _seed(kind: int, flags: int, schema: int, length: int) -> int:
    """Return the crc of a header; a flipped length must not pass for another record."""
    return zlib.crc32(struct.pack("<IBBH", length, kind, flags, schema))


def _frame(kind: RecordKind, body: bytes, flags: int = 0, schema: int = 0) -> bytes:
    if len(body) > MAX_RECORD_BYTES:  # readers would take its length for damage, and stop before all that follows
        raise ValueError(f"a record of {len(body):,} bytes is more than {MAX_RECORD_BYTES:,}; save it as a file")
    return HEADER.pack(len(body), zlib.crc32(body, _seed(kind, flags, schema, len(body))), kind, flags, schema) + body


def encode(kind: RecordKind, value: msgspec.Struct) -> bytes:
    """Return the record that carries one of the Structs of records.types."""
    return _frame(kind, _pack(value))


def pack(value: msgspec.Struct) -> bytes:
    """Return one of the Structs of records.types as msgpack, without a record's header."""
    return _pack(value)


def decode(body: bytes | memoryview, kind: type[_T]) -> _T:
    """Return the Struct in a record's body; raise ValueError where it is not one."""
    try:
        return msgspec.msgpack.decode(body, type=kind, ext_hook=restore)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error


def records(data: bytes | memoryview, start: int = 0, *, check: bool = True) -> Iterator[Record]:
    """Yield the whole records of data from start on, until its end or the first one that is not whole.

    check: compare each checksum; without it only lengths are followed.
    """
    end = len(data)
    while start + HEADER.size <= end:
        length, crc, kind, flags, schema = HEADER.unpack_from(data, start)
        body = start + HEADER.size
        if length > MAX_RECORD_BYTES or body + length > end:
            return
        if check and zlib.crc32(data[body : body + length], _seed(kind, flags, schema, length)) != crc:
            return
        yield Record(kind, flags, schema, body, body + length)
        start = body + length


def removed_bytes(size: int) -> bytes:
    """Return what stands for so many bytes of a journal that were removed after they were acknowledged.

    No record begins anywhere in them: any four of them, taken as a length, are more than a record may have.
    """
    return (_REMOVED * (size // len(_REMOVED) + 1))[:size]


def is_removed(data: bytes | memoryview) -> bool:
    """Say whether damaged bytes begin with removed_bytes."""
    start = bytes(data[: 2 * len(_REMOVED)])
    return len(start) >= len(_REMOVED) and start in 3 * _REMOVED


def decode_schema(body: bytes | memoryview) -> RowSchema:
    """Return the keys and kinds of a SCHEMA record; raise ValueError where it is none."""
    try:
        keys, kinds = _schemas.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a schema: {error}") from error
    if len(keys) != len(kinds) or set(kinds) - set("dq?"):
        raise ValueError(f"{len(keys)} keys and kinds {kinds!r:.80} make no schema")
    return keys, kinds


def decode_row(body: bytes | memoryview) -> tuple[int, int, dict[str, Any]]:
    """Return step, time in µs and values of a MSGPACK_ROW; raise ValueError where it is none."""
    try:
        return _rows.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a row: {error}") from error


def _type(value: object) -> type:
    return type(value)


def row_layout(schema: RowSchema) -> struct.Struct:
    """Return how the body of a ROW of this schema is laid out: step, time in µs, values."""
    runs = groupby(schema[1].replace("?", "q"))  # "10d" is one thing to look at where "dddddddddd" is ten
    return struct.Struct("<qq" + "".join(f"{len(list(run))}{letter}" for letter, run in runs))


class _Schema:
    """A row schema with everything that can be computed before the values are known."""

    __slots__ = ("announced", "crc_seeds", "id", "keys", "kinds", "length", "pack", "tails")

    def __init__(self, number: int, schema: RowSchema) -> None:
        self.id = number
        self.keys, self.kinds = schema
        layout = row_layout(schema)
        self.pack, self.length = layout.pack, layout.size
        self.tails = [RecordKind.ROW | flags << 8 | number << 16 for flags in range(4)]
        self.crc_seeds = [_seed(RecordKind.ROW, flags, number, layout.size) for flags in range(4)]
        self.announced = -1  # the epoch in which its SCHEMA record was last written


class RowEncoder:
    """Encodes the rows of one incarnation, and remembers which schemas its readers know."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[tuple[Any, ...], tuple[type, ...]], _Schema] = {}
        self._by_schema: dict[RowSchema, _Schema] = {}
        # Keys, types and schema of the row before; at first what no row is like: one key and no value.
        self._last: tuple[list[Any], list[type], _Schema] = ([None], [], _Schema(0, ((), "")))
        self._epoch = 0
        self._keys = self._shape_keys = 0  # in all schemas, in all shapes

    def announce_again(self) -> None:
        """Write each schema again before its next row, so that one flipped bit cannot cost every row after it."""
        self._epoch += 1

    def encode(
        self,
        data: Mapping[Any, Any],
        step: int,
        time_us: int,
        flags: int,
        problems: list[tuple[str, str]],
        aside: Aside | None = None,
    ) -> bytes:
        """Return the bytes of one row, its SCHEMA record before it where that is due.

        What cannot be kept is left out and noted in problems as (key, reason); what belongs beside the row goes to
        aside. Where that was not kept yet, or there is nothing else, no bytes.
        Raises struct.error where step is beyond 64 bits, ValueError where the row is beyond MAX_RECORD_BYTES.
        """
        # Lists: unpacking into one takes half as long as into a tuple, and comparing less than hashing a tuple.
        keys, values = [*data], [*data.values()]
        types = [*map(type, values)]
        last_keys, last_types, schema = self._last
        if keys != last_keys or types != last_types:
            known = self._by_shape.get((tuple(keys), tuple(types))) or self._learn(tuple(keys), values)
            if known is None:
                return self._slow(data, step, time_us, flags, problems, aside)
            schema = known
            self._last = keys, types, schema
        try:
            body = schema.pack(step, time_us, *values)
        except (struct.error, OverflowError):  # an int beyond 64 bits
            return self._slow(data, step, time_us, flags, problems, aside)
        row = _pack_prefix(schema.length, _crc32(body, schema.crc_seeds[flags]), schema.tails[flags]) + body
        return row if schema.announced == self._epoch else self._announcement(schema) + row

    def _learn(self, keys: tuple[Any, ...], values: list[Any]) -> _Schema | None:
        """Remember the shape of a row all of whose values are scalars; return None where it is not one."""
        kinds = [kind_of(_type(value)) for value in values]
        if not all(type(key) is str and key.isascii() for key in keys) or not keys:
            return None  # other text may need mending: the slow way looks at each key, then comes back
        letters = [kind for kind in kinds if kind is not None]
        if len(letters) < len(kinds):
            return None
        schema = self._schema((keys, "".join(letters)))
        if schema is None:
            return None
        self._shape_keys += len(keys)
        if self._shape_keys > MAX_SCHEMA_KEYS:  # one schema may be met in many shapes: float, numpy.float32, ...
            self._by_shape.clear()
            self._shape_keys = len(keys)
        self._by_shape[keys, tuple(map(type, values))] = schema
        return schema

    def _schema(self, schema: RowSchema) -> _Schema | None:
        known = self._by_schema.get(schema)
        if known is None and len(self._by_schema) < MAX_SCHEMAS and self._keys + len(schema[0]) <= MAX_SCHEMA_KEYS:
            self._keys += len(schema[0])
            known = self._by_schema[schema] = _Schema(len(self._by_schema), schema)
        return known

    def _announcement(self, schema: _Schema) -> bytes:
        schema.announced = self._epoch
        return _frame(RecordKind.SCHEMA, _pack((schema.keys, schema.kinds)), 0, schema.id)

    def encode_plain(self, values: Mapping[str, Any], step: int, time_us: int, flags: int) -> bytes:
        """Return the bytes of a row of plain values, mappings among them as they are; raises as encode does."""
        _STEP.pack(step)
        return _frame(RecordKind.MSGPACK_ROW, _pack((step, time_us, values)), flags)

    def _slow(
        self,
        data: Mapping[Any, Any],
        step: int,
        time_us: int,
        flags: int,
        problems: list[tuple[str, str]],
        aside: Aside | None,
    ) -> bytes:
        flat = flatten(data, problems, aside)
        if aside and (not aside.kept or not flat):
            return b""
        kinds = "".join(kind_of(_type(value)) or "-" for value in flat.values())
        if flat and "-" not in kinds:
            schema = self._schema((tuple(flat), kinds))
            if schema is not None:
                body = schema.pack(step, time_us, *flat.values())
                row = _frame(RecordKind.ROW, body, flags, schema.id)
                return row if schema.announced == self._epoch else self._announcement(schema) + row
        _STEP.pack(step)  # or it raises: msgpack would take one bit more than readers do
        return _frame(RecordKind.MSGPACK_ROW, _pack((step, time_us, flat)), flags)
