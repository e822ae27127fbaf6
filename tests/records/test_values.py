"""Values: whatever people log becomes plain, and what cannot costs only its own key."""

from __future__ import annotations

import datetime
import decimal
import enum
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from disttrack.records.values import BIG_INT, Unloggable, flatten, kind_of, plain, readable, restore, text


class Colour(enum.Enum):
    RED = "red"
    DEEP = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Metric(str, enum.Enum):  # noqa: UP042 - not StrEnum: people's code has these, and their str() is "Metric.LOSS"
    LOSS = "loss"


class Opaque:
    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")


class BrokenArray:
    shape = (2,)

    def tolist(self) -> list[float]:
        raise UnprintableError


class EndlessArray:
    def tolist(self) -> EndlessArray:
        return self


class BrokenMapping(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("the device is gone")


class BrokenPath(os.PathLike[str]):
    def __fspath__(self) -> str:
        return "path"

    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")


class LoudText(str):
    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        raise RuntimeError("cannot be encoded")


class ReadOnlyMapping(Mapping[str, object]):
    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> object:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def kept(value: object) -> object:
    """Returns what becomes of one value beside another, and that the other one stays."""
    problems: list[tuple[str, str]] = []
    flat = flatten({"before": 1, "value": value, "after": 2}, problems)
    assert (flat.pop("before"), flat.pop("after")) == (1, 2)
    assert problems == []
    assert list(flat) == ["value"]
    return flat["value"]


def left_out(value: object) -> str:
    """Returns the one reason why a value is left out while its neighbours are kept."""
    problems: list[tuple[str, str]] = []
    assert flatten({"before": 1, "value": value, "after": 2}, problems) == {"before": 1, "after": 2}
    [(key, reason)] = problems
    assert key == "value"
    return reason


def bits(value: object) -> bytes:
    assert type(value) is float
    return struct.pack("<d", value)


@pytest.mark.parametrize(
    ("kind", "letter"),
    [
        (float, "d"),
        (int, "q"),
        (bool, "?"),
        (np.float64, "d"),
        (np.float32, "d"),
        (np.float16, "d"),
        (np.int8, "q"),
        (np.uint64, "q"),
        (np.bool_, "?"),
        (np.longdouble, None),
        (np.timedelta64, None),
        (np.datetime64, None),
        (np.complex128, None),
        (np.ndarray, None),
        (torch.Tensor, None),
        (Level, None),
        (str, None),
        (type(None), None),
    ],
)
def test_only_types_that_always_fill_eight_bytes_have_a_kind(kind: type, letter: str | None) -> None:
    assert kind_of(kind) == letter


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1),
        ("text", "text"),
        ("half a character \ud800", "half a character \\ud800"),
        (LoudText("loud"), "loud"),
        (b"bytes", "bytes"),
        (bytearray(b"\xff\x00"), "\\xff\0"),
        ([1, (2.5, None)], [1, [2.5, None]]),
        ({3}, [3]),
        (frozenset({"x"}), ["x"]),
        ([{"a": {1: Level.HIGH}}], [{"a": {"1": 3}}]),
        (Colour.RED, "red"),
        (Colour.DEEP, [1, 2]),
        (Level.HIGH, 3),
        (Metric.LOSS, "loss"),
        (decimal.Decimal("1.10"), "1.10"),
        (decimal.Decimal("NaN"), "NaN"),
        (datetime.date(2026, 5, 1), "2026-05-01"),
        (datetime.time(12, 30), "12:30:00"),
        (datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC), "2026-05-01T12:00:00+00:00"),
        (Path("/data/digits"), "/data/digits"),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.1), 0.1),
        (np.uint64(2**63 - 1), 2**63 - 1),
        (np.int8(-1), -1),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (np.array([7]), 7),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([True, False]), [True, False]),
        (np.array([]), []),
        (np.array([0.5, 1.5], dtype=np.longdouble), [0.5, 1.5]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.datetime64("2026-05-01"), "2026-05-01"),
        (torch.tensor(1.5), 1.5),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (torch.tensor([[1.0], [2.0]], requires_grad=True), [[1.0], [2.0]]),
        (torch.tensor([1.5, 2.5], dtype=torch.bfloat16), [1.5, 2.5]),
        (torch.tensor(True), True),
        (torch.tensor(2**62), 2**62),
        (torch.Size([3, 4]), [3, 4]),
    ],
    ids=repr,
)
def test_a_value_is_kept_in_its_plain_form(value: object, stored: object) -> None:
    found = kept(value)
    assert found == stored
    assert type(found) is type(stored)


@pytest.mark.parametrize(
    "number",
    [2**63, -(2**63) - 1, 2**64, 10**400, -(10**5_000), np.uint64(2**64 - 1)],
    ids=["2**63", "-2**63-1", "2**64", "10**400", "-10**5000", "uint64"],
)
def test_an_int_beyond_64_bits_is_its_decimal_text(number: int) -> None:
    found = kept(number)
    assert isinstance(found, msgspec.msgpack.Ext)
    assert found.code == BIG_INT
    assert restore(found.code, memoryview(found.data)) == number
    assert readable([{"n": found}]) == [{"n": number}]


@given(st.binary(min_size=8, max_size=8) | st.floats().map(bits))
@example(struct.pack("<Q", 0x7FF0_0000_0000_0001))  # a signalling NaN
@example(struct.pack("<Q", 0xFFF8_0000_DEAD_BEEF))
@example(struct.pack("<d", -0.0))
def test_a_float_keeps_every_bit(raw: bytes) -> None:
    [value] = struct.unpack("<d", raw)
    assert bits(kept(value)) == raw


@pytest.mark.parametrize("digits", ["", "-", "--1", "1e999999999", "1_000", " 1", "0x10", "NaN"])
def test_a_damaged_big_int_is_refused_and_costs_no_memory(digits: str) -> None:
    with pytest.raises(ValueError, match="decimal digits"):
        restore(BIG_INT, memoryview(digits.encode()))


def test_an_extension_nobody_defined_is_refused() -> None:
    with pytest.raises(ValueError, match="extension 7"):
        restore(7, memoryview(b"1"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "a builtins.object has no plain form"),
        (Opaque(), "Opaque has no plain form"),
        (1 + 2j, "complex has no plain form"),
        (np.complex128(1), "complex has no plain form"),
        (np.clongdouble(1), "a clongdouble has no plain form"),
        (np.timedelta64(1, "s"), "timedelta has no plain form"),
        (len, "has no plain form"),
        (msgspec.msgpack.Ext(5, b"x"), "Ext has no plain form"),
        (np.zeros(10_001), "10,001 elements, more than 10,000"),
        (torch.zeros(101, 100), "10,100 elements, more than 10,000"),
        (list(range(10_001)), "10,001 items, more than 10,000"),
        ([1, [2, object()]], "has no plain form"),
        (torch.empty(1, device="meta"), "reading the value raised"),
        (BrokenArray(), "reading the value raised UnprintableError"),
        (EndlessArray(), "a EndlessArray has no plain form"),
        (BrokenMapping(a=1), "reading the value raised RuntimeError: the device is gone"),
        ([BrokenMapping(a=1)], "reading the value raised RuntimeError: the device is gone"),
        (BrokenPath(), "reading the value raised RuntimeError: cannot be shown"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_value_without_a_plain_form_costs_only_its_own_key(value: object, reason: str) -> None:
    assert reason in left_out(value)


def test_nested_dicts_become_dotted_keys() -> None:
    problems: list[tuple[str, str]] = []
    nested = {"train": {"loss": 1.5, "acc": {"top1": 0.5}}, "lr": 0.1, "empty": {}, "map": ReadOnlyMapping({"a": 1})}
    assert flatten(nested, problems) == {"train.loss": 1.5, "train.acc.top1": 0.5, "lr": 0.1, "empty": {}, "map.a": 1}
    assert problems == []


def test_a_key_that_is_no_str_costs_only_itself() -> None:
    problems: list[tuple[str, str]] = []
    mixed = {1: "x", "good": 1, None: 2, ("a", "b"): 3, Opaque(): 4, "in": {b"bytes": 1, "good": 2}}
    assert flatten(mixed, problems) == {"good": 1, "in.good": 2}
    assert [key for key, _ in problems] == ["1", "None", "('a', 'b')", "<Opaque>", "in.b'bytes'"]
    assert all("a key must be a str" in reason for _, reason in problems)


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("", ""),
        ("\0\x1b[31m\n", "\0\x1b[31m\n"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("x" * 1_000_000, "x" * 1_000_000),
        ("\ud800", "\\ud800"),
        (LoudText("loss"), "loss"),
        (Metric.LOSS, "loss"),
    ],
    ids=["empty", "control", "html", "path", "a million characters", "surrogate", "subclass", "enum"],
)
def test_odd_keys_are_kept(key: str, stored: str) -> None:
    problems: list[tuple[str, str]] = []
    flat = flatten({key: 1, "other": 2}, problems)
    assert flat == {stored: 1, "other": 2}
    assert all(type(found) is str for found in flat)
    assert problems == []


def test_a_dict_that_contains_itself_costs_only_the_way_back() -> None:
    loop: dict[str, object] = {"good": 1}
    loop["self"] = loop
    problems: list[tuple[str, str]] = []
    assert flatten({"loop": loop, "other": 2}, problems) == {"loop.good": 1, "other": 2}
    assert problems == [("loop.self", "it contains itself")]


def test_dicts_with_many_ways_back_to_themselves_are_left_at_once() -> None:
    first: dict[str, object] = {}
    second: dict[str, object] = {"back": first, "again": first}
    first |= {"self": first, "there": second, "too": second, "good": 1}
    problems: list[tuple[str, str]] = []
    assert flatten({"first": first, "other": 2}, problems) == {"first.good": 1, "other": 2}
    assert len(problems) == 5


def test_a_list_that_contains_itself_costs_only_itself() -> None:
    loop: list[object] = [1]
    loop += [loop, loop]
    assert "containing itself" in left_out(loop)
    within: dict[str, object] = {}
    within["back"] = [within, within]
    problems: list[tuple[str, str]] = []
    assert flatten({"within": within, "other": 2}, problems) == {"other": 2}
    assert len(problems) == 1


def test_a_dict_2000_deep_costs_only_itself() -> None:
    deep: dict[str, object] = {"bottom": 1}
    for _ in range(2_000):
        deep = {"down": deep}
    problems: list[tuple[str, str]] = []
    assert flatten({"deep": deep, "other": 2}, problems) == {"other": 2}
    assert len(problems) == 1
    assert "nested more than 32 deep" in problems[0][1]
    assert "nested more than 32 deep" in left_out([deep])


def test_32_levels_are_kept() -> None:
    value: object = 1
    for _ in range(32):
        value = {"a": value}
    problems: list[tuple[str, str]] = []
    assert flatten({"top": value}, problems) == {"top" + ".a" * 32: 1}
    assert problems == []


def test_a_dict_met_twice_but_not_within_itself_is_kept_twice() -> None:
    shared = {"a": 1}
    assert flatten({"x": shared, "y": {"z": shared}}, []) == {"x.a": 1, "y.z.a": 1}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_plain_already_stays_as_it_is(value: object) -> None:
    assert plain(value) == value
    assert readable(plain(value)) == value


@given(st.text(st.characters()))
def test_any_text_becomes_text_that_utf_8_holds(value: str) -> None:
    found = text(value)
    assert found.encode().decode() == found
    assert found == value or "\\ud" in found


def test_one_unloggable_value_says_why() -> None:
    with pytest.raises(Unloggable, match="log numbers or text"):
        plain(object())
