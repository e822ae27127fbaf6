"""Records as bytes: what is encoded is read back to the bit, and damage is never taken for a record."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from disttrack.records.codec import (
    COMMIT,
    EXPLICIT_STEP,
    HEADER,
    MAX_RECORD_BYTES,
    MAX_SCHEMA_KEYS,
    MAX_SCHEMAS,
    RowEncoder,
    decode,
    decode_row,
    decode_schema,
    encode,
    records,
    row_layout,
)
from disttrack.records.payloads import ConfigUpdate, End, RecordKind, SummaryUpdate
from disttrack.records.types import RowSchema

INT64 = st.integers(-(2**63), 2**63 - 1)
ANY_FLOAT = st.binary(min_size=8, max_size=8).map(lambda raw: struct.unpack("<d", raw)[0]) | st.floats()
KEYS = st.sampled_from(["loss", "lr", "acc"]) | st.text(max_size=8)
SCALAR_ROWS = st.dictionaries(KEYS, ANY_FLOAT | INT64 | st.booleans(), min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_FLOAT | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)
# No dot in a key here: {"a": {"b": 1}, "a.b": 2} says two things by one name.
ANY_ROWS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="."), max_size=6),
    VALUES | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="."), max_size=3), VALUES),
    max_size=5,
)
NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0xFFF0_0000_DEAD_BEEF))[0]


class Row(NamedTuple):
    kind: int
    flags: int
    step: int
    time_us: int
    values: dict[str, Any]


class Reader:
    """Reads rows as readers of a journal do: schemas first, then the rows that name them."""

    def __init__(self) -> None:
        self.schemas: dict[int, RowSchema] = {}
        self.announced = 0

    def rows(self, data: bytes) -> list[Row]:
        found: list[Row] = []
        end = 0
        for record in records(data):
            body = data[record.start : record.end]
            end = record.end
            if record.kind == RecordKind.SCHEMA:
                self.announced += 1
                assert self.schemas.setdefault(record.schema, decode_schema(body)) == decode_schema(body)
            elif record.kind == RecordKind.ROW:
                keys, kinds = self.schemas[record.schema]
                step, time_us, *values = row_layout((keys, kinds)).unpack(body)
                values = [bool(value) if kind == "?" else value for value, kind in zip(values, kinds, strict=True)]
                found.append(Row(record.kind, record.flags, step, time_us, dict(zip(keys, values, strict=True))))
            else:
                assert record.kind == RecordKind.MSGPACK_ROW
                found.append(Row(record.kind, record.flags, *decode_row(body)))
        assert end == len(data)
        return found


def exact(value: object) -> object:
    """Returns something that equals only the very same value: NaNs by their bits, True apart from 1."""
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, list):
        return [exact(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in cast("dict[str, object]", value).items()}
    return type(value).__name__, value


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict) and value:
            leaves |= {f"{key}.{inner}": leaf for inner, leaf in cast("dict[str, Any]", value).items()}
        else:
            leaves[key] = value
    return leaves


def encoded(*rows: Mapping[Any, Any]) -> bytes:
    encoder = RowEncoder()
    return b"".join(encoder.encode(row, step, 1_000 + step, COMMIT, []) for step, row in enumerate(rows))


def read_back(row: Mapping[Any, Any]) -> Row:
    [found] = Reader().rows(encoded(row))
    return found


# Round trips


@given(st.lists(st.tuples(SCALAR_ROWS, INT64, INT64, st.integers(0, 3)), max_size=8))
@example([({"x": NAN_WITH_PAYLOAD, "y": -0.0, "z": math.inf}, -(2**63), 2**63 - 1, COMMIT | EXPLICIT_STEP)])
@example([({"n": 2**63 - 1, "m": -(2**63), "b": True}, 0, 0, 0), ({"n": 1, "m": True, "b": 0}, 0, 0, 0)])
@example([({"x": 1.0}, 0, 0, 0), ({"x": 1}, 1, 0, 0), ({"x": True}, 2, 0, 0), ({"x": 2.0}, 3, 0, 0)])
def test_rows_of_numbers_come_back_to_the_bit(rows: list[tuple[dict[str, Any], int, int, int]]) -> None:
    encoder, reader, problems = RowEncoder(), Reader(), list[tuple[str, str]]()
    for row, step, time_us, flags in rows:
        [found] = reader.rows(encoder.encode(row, step, time_us, flags, problems))
        assert (found.kind, found.flags, found.step, found.time_us) == (RecordKind.ROW, flags, step, time_us)
        assert list(found.values) == list(row)
        assert exact(found.values) == exact(row)
    assert problems == []


@given(st.lists(ANY_ROWS, max_size=5))
@example([{"n": 10**400, "m": -(2**63) - 1, "list": [2**64, [NAN_WITH_PAYLOAD, None]]}])
@example([{"outer": {"inner": -0.0, "text": "x"}, "none": None, "empty": []}])
@example([{}])
def test_rows_of_any_values_come_back_flat_and_exact(rows: list[dict[str, Any]]) -> None:
    encoder, reader, problems = RowEncoder(), Reader(), list[tuple[str, str]]()
    for step, row in enumerate(rows):
        [found] = reader.rows(encoder.encode(row, step, 1_000, COMMIT, problems))
        assert (found.step, found.time_us, found.flags) == (step, 1_000, COMMIT)
        assert exact(found.values) == exact(flat(row))
    assert problems == []


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1, 10**30])
@pytest.mark.parametrize("row", [{"x": 1.0}, {"x": "text"}, {}], ids=["numbers", "text", "empty"])
def test_a_step_beyond_64_bits_is_refused_in_every_kind_of_row(row: dict[str, object], step: int) -> None:
    encoder = RowEncoder()
    for _ in range(2):  # also when the schema is known
        with pytest.raises(struct.error):
            encoder.encode(row, step, 0, 0, [])


def test_an_int_beyond_64_bits_stays_exact_where_its_schema_is_known() -> None:
    encoder, reader = RowEncoder(), Reader()
    found = [
        reader.rows(encoder.encode({"n": number, "x": 0.5}, step, 0, 0, []))[0]
        for step, number in enumerate([1, 2**63, -(10**400), 2])
    ]
    assert [row.values for row in found] == [{"n": n, "x": 0.5} for n in (1, 2**63, -(10**400), 2)]
    slow, fast = RecordKind.MSGPACK_ROW, RecordKind.ROW
    assert [row.kind for row in found] == [fast, slow, slow, fast]
    assert reader.announced == 1


@pytest.mark.parametrize(
    ("value", "stored", "kind"),
    [
        (np.float32(0.1), float(np.float32(0.1)), RecordKind.ROW),
        (np.float16(0.5), 0.5, RecordKind.ROW),
        (np.int64(-(2**63)), -(2**63), RecordKind.ROW),
        (np.uint64(2**63 - 1), 2**63 - 1, RecordKind.ROW),
        (np.uint64(2**64 - 1), 2**64 - 1, RecordKind.MSGPACK_ROW),
        (np.bool_(True), True, RecordKind.ROW),
        (np.longdouble(0.5), 0.5, RecordKind.ROW),
        (np.array(2.5), 2.5, RecordKind.ROW),
        (np.array([1, 2]), [1, 2], RecordKind.MSGPACK_ROW),
        (torch.tensor(1.5, dtype=torch.bfloat16, requires_grad=True), 1.5, RecordKind.ROW),
        (torch.tensor([1.5, 2.5]), [1.5, 2.5], RecordKind.MSGPACK_ROW),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, RecordKind) else value.name,
)
def test_values_of_numpy_and_torch_come_back_as_plain_ones(value: object, stored: object, kind: RecordKind) -> None:
    for row in Reader().rows(encoded({"v": value}, {"v": value})):  # as a new shape, and as a known one
        assert exact(row.values) == exact({"v": stored})
        assert row.kind == kind


def test_keys_of_other_scripts_and_broken_ones_are_kept() -> None:
    assert read_back({"Größe": 1.5, "名前": 2, "\ud800": True}).values == {"Größe": 1.5, "名前": 2, "\\ud800": True}


# The anchors of shared/facts/reliability.md §2d: what makes other trackers raise, lose the row or change the value


def deep_dict() -> dict[str, object]:
    deep: dict[str, object] = {}
    for _ in range(2_000):
        deep = {"down": deep}
    return deep


def recursive_dict() -> dict[str, object]:
    loop: dict[str, object] = {}
    loop["self"] = loop
    return loop


@pytest.mark.parametrize(
    ("odd", "stored"),
    [
        ({"v": math.nan}, {"v": math.nan}),
        ({"v": math.inf, "w": -math.inf}, {"v": math.inf, "w": -math.inf}),
        ({"v": 2**63}, {"v": 2**63}),
        ({"v": 10**400}, {"v": 10**400}),
        ({"v": torch.tensor(1.5)}, {"v": 1.5}),
        ({"v": np.array(2.0)}, {"v": 2.0}),
        ({"v": np.array([1.0, 2.0])}, {"v": [1.0, 2.0]}),
        ({"v": b"abc\xff"}, {"v": "abc\\xff"}),
        ({"v": object()}, {}),
        ({"v": recursive_dict()}, {}),
        ({"v": deep_dict()}, {}),
        ({"v": "\ud800"}, {"v": "\\ud800"}),
        ({"k" * 1_000_000: 1.0}, {"k" * 1_000_000: 1.0}),
        ({"": 1.0, "a\0b\x1b": 2, "<img onerror>": 3}, {"": 1.0, "a\0b\x1b": 2, "<img onerror>": 3}),
        ({"../../etc/x": 1}, {"../../etc/x": 1}),
        ({7: 1.0}, {}),
    ],
    ids=[
        *("nan", "inf", "2**63", "10**400", "torch 0-d", "numpy 0-d", "numpy 1-d", "bytes", "object", "recursive dict"),
        *("deep dict", "surrogate", "long key", "odd keys", "path key", "int key"),
    ],
)
def test_an_odd_value_never_costs_the_row_it_is_in(odd: dict[Any, object], stored: dict[str, object]) -> None:
    problems: list[tuple[str, str]] = []
    data = RowEncoder().encode({"good": 0.25, **odd, "fine": "text"}, 5, 6, 0, problems)
    [row] = Reader().rows(data)
    assert exact(row.values) == exact({"good": 0.25, **stored, "fine": "text"})
    assert (row.step, row.time_us) == (5, 6)
    assert len(problems) == len(odd) - len(stored)


# Schemas


def test_a_schema_is_announced_once_and_again_when_asked() -> None:
    encoder, reader = RowEncoder(), Reader()

    def announcements(row: Mapping[str, object]) -> int:
        before = reader.announced
        reader.rows(encoder.encode(row, 0, 0, 0, []))
        return reader.announced - before

    loss, nested = {"loss": 1.0}, {"loss": {"train": 1.0}}
    assert [announcements(row) for row in (loss, loss, nested, nested, loss)] == [1, 0, 1, 0, 0]
    encoder.announce_again()
    assert [announcements(row) for row in (nested, loss, nested, loss)] == [1, 1, 0, 0]
    assert len(reader.schemas) == 2


def test_one_schema_serves_every_type_that_fills_it() -> None:
    encoder, reader = RowEncoder(), Reader()
    found = [
        reader.rows(encoder.encode({"loss": value}, 0, 0, 0, []))[0].values["loss"]
        for value in (0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5))
    ]
    assert found == [0.5] * 5
    assert reader.announced == 1


def test_the_same_keys_in_another_order_are_another_schema() -> None:
    first, second = Reader().rows(encoded({"a": 1.0, "b": 2.0}, {"b": 3.0, "a": 4.0}))
    assert (first.values, second.values) == ({"a": 1.0, "b": 2.0}, {"b": 3.0, "a": 4.0})


def test_a_key_equal_to_a_known_one_but_of_another_type_is_no_other_key() -> None:
    class Key(str):
        pass

    encoder, reader = RowEncoder(), Reader()
    reader.rows(encoder.encode({Key("loss"): 1.0}, 0, 0, 0, []))
    [row] = reader.rows(encoder.encode({"loss": 2.0}, 0, 0, 0, []))
    assert row.values == {"loss": 2.0}
    assert reader.announced == 1


def test_who_invents_keys_for_ever_goes_on_exactly() -> None:
    encoder, reader = RowEncoder(), Reader()
    rows: list[dict[str, float | int]] = [
        {f"key {number}": number / 3, "n": number} for number in range(MAX_SCHEMAS + 50)
    ]
    found = [reader.rows(encoder.encode(row, step, 0, 0, []))[0] for step, row in enumerate(rows)]
    assert [row.values for row in found] == rows
    assert [row.kind for row in found] == [RecordKind.ROW] * MAX_SCHEMAS + [RecordKind.MSGPACK_ROW] * 50
    assert max(reader.schemas) == MAX_SCHEMAS - 1
    [old] = reader.rows(encoder.encode(rows[0], 0, 0, 0, []))
    assert (old.kind, old.values) == (RecordKind.ROW, rows[0])


def test_more_shapes_than_are_remembered_change_no_row() -> None:
    encoder, reader = RowEncoder(), Reader()
    width = 100
    for number in range(MAX_SCHEMA_KEYS // width + 10):
        row = {f"k{bit}": np.float32(0.5) if number >> bit & 1 else 0.5 for bit in range(width)}
        [found] = reader.rows(encoder.encode(row, 0, 0, 0, []))
        assert found.values == dict.fromkeys(row, 0.5)
    assert reader.announced == 1


# Other records


def test_updates_keep_every_value_they_carry() -> None:
    values: dict[str, object] = {"lr": 0.1, "layers": [1, {"a": None}], "name": "x", "flag": True, "nan": [-0.0, 1e300]}
    for kind, update in (
        (RecordKind.CONFIG, ConfigUpdate(values=values)),
        (RecordKind.SUMMARY, SummaryUpdate(values=values, removed=("a", "b"))),
        (RecordKind.END, End(exit_code=-9, logged=3, dropped=1, time_us=7, exception="ValueError: x")),
    ):
        data = encode(kind, update)
        [record] = records(data)
        assert record.kind == kind
        assert decode(data[record.start : record.end], type(update)) == update


def test_a_record_larger_than_readers_accept_is_never_made() -> None:
    encoder, reader = RowEncoder(), Reader()
    with pytest.raises(ValueError, match="save it as a file"):
        encoder.encode({"blob": "x" * MAX_RECORD_BYTES}, 0, 0, 0, [])
    with pytest.raises(ValueError, match="save it as a file"):
        encode(RecordKind.CONFIG, ConfigUpdate(values={"blob": "x" * MAX_RECORD_BYTES}))
    assert reader.rows(encoder.encode({"loss": 1.0}, 1, 0, 0, []))[0].values == {"loss": 1.0}


@given(st.binary(max_size=200))
@example(b"\x93\x01\x02")
@example(b"\x91" * 200)
def test_a_body_that_is_none_is_refused_with_a_value_error(body: bytes) -> None:
    readers: list[Callable[[bytes], object]] = [decode_schema, decode_row, partial(decode, kind=ConfigUpdate)]
    for read in readers:
        try:
            read(body)
        except ValueError:
            pass


# Damage

ENCODED = encoded(
    {"loss": 1.5, "n": 7, "ok": True}, {"text": "é", "big": 2**70}, {"loss": 2.5, "n": 8, "ok": False}, {}
)


def bodies(data: bytes | memoryview) -> list[tuple[int, int, int, bytes]]:
    return [(r.kind, r.flags, r.schema, bytes(data[r.start : r.end])) for r in records(data)]


def test_every_cut_yields_a_prefix_of_the_records() -> None:
    whole = bodies(ENCODED)
    ends = [record.end for record in records(ENCODED)]
    assert len(whole) == 5
    assert ends[-1] == len(ENCODED)
    for length in range(len(ENCODED) + 1):
        cut = ENCODED[:length]
        assert bodies(cut) == bodies(memoryview(cut)) == whole[: sum(end <= length for end in ends)]
        assert len(list(records(cut, check=False))) == sum(end <= length for end in ends)


def test_no_flipped_bit_ever_yields_a_wrong_record() -> None:
    whole = bodies(ENCODED)
    ends = [record.end for record in records(ENCODED)]
    for position in range(len(ENCODED)):
        for bit in range(8):
            damaged = bytearray(ENCODED)
            damaged[position] ^= 1 << bit
            assert bodies(bytes(damaged)) == whole[: sum(end <= position for end in ends)]
            list(records(bytes(damaged), check=False))


@given(st.lists(ANY_ROWS, max_size=4), st.data())
def test_any_damage_yields_only_records_from_before_it(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    stream = encoded(*rows, {"last": 1.0})
    position = data.draw(st.integers(0, len(stream) - 1))
    put = data.draw(
        st.binary(min_size=1, max_size=40).filter(lambda put: stream[position : position + len(put)] != put)
    )
    damaged = stream[:position] + put + stream[position + len(put) :]
    common = next(at for at in range(len(damaged)) if stream[at : at + 1] != damaged[at : at + 1])
    found = bodies(damaged)
    assert found == bodies(stream)[: len(found)]
    assert sum(HEADER.size + len(body) for *_, body in found) <= common


@settings(max_examples=300)
@given(st.binary(max_size=200))
@example(b"\xff" * 100)
@example(bytes(100))
def test_garbage_is_no_record_and_raises_nothing(garbage: bytes) -> None:
    for record in records(garbage):
        body = garbage[record.start : record.end]
        length, crc, kind, flags, schema = HEADER.unpack_from(garbage, record.start - HEADER.size)
        assert zlib.crc32(body, zlib.crc32(struct.pack("<IBBH", length, kind, flags, schema))) == crc
    list(records(garbage, check=False))


def test_reading_may_begin_at_any_record() -> None:
    starts = [record.start - HEADER.size for record in records(ENCODED)]
    for number, start in enumerate(starts):
        assert len(list(records(ENCODED, start))) == len(starts) - number


def test_what_an_encoder_remembers_of_ever_new_keys_stays_bounded_and_every_row_stays_exact() -> None:
    encoder, reader = RowEncoder(), Reader()
    keys = 50_000
    for number in range(2 * MAX_SCHEMA_KEYS // keys):
        row = {f"{number}/{key}": float(key) for key in range(keys)}
        (found,) = reader.rows(encoder.encode(row, number, 0, 0, []))
        assert found.values == row
    assert reader.announced == MAX_SCHEMA_KEYS // keys
