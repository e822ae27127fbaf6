"""A column comes back bit by bit, and takes little room where it says little."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.index.chunks import (
    Bundle,
    Ints,
    decode_column,
    decode_ints,
    decode_runs,
    encode_bundle,
    encode_column,
    encode_ints,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
#: Small steps, equal steps and anything at all.
COLUMNS: st.SearchStrategy[Ints] = st.one_of(
    st.lists(INT64, min_size=1, max_size=50),
    st.lists(st.integers(-200, 200), min_size=1, max_size=50),
    st.builds(range, st.integers(-9, 0), st.integers(1, 9), st.integers(1, 4)),
).map(lambda values: np.array(values, np.int64))
PAYLOAD_NANS = [0x7FF8000000000001, 0x7FF0000000000001, 0xFFF8000000000000, 0xFFFFFFFFFFFFFFFF]
ODD = [0.0, -0.0, 1e-320, -1e-45, float("inf"), float("-inf"), 1e308, 3.4028236e38, 1 / 3]


def column(bits: list[int]) -> Ints:
    return np.array([struct.unpack("<q", struct.pack("<Q", value))[0] for value in bits], np.int64)


@given(COLUMNS)
def test_ints_come_back(values: Ints) -> None:
    assert decode_ints(encode_ints(values), len(values)).tolist() == values.tolist()


@given(COLUMNS)
def test_runs_of_equal_ints_come_back(values: Ints) -> None:
    starts, each = decode_runs(encode_ints(values), len(values))
    assert starts[0] == 0
    assert np.repeat(each, np.diff(np.append(starts, len(values)))).tolist() == values.tolist()
    assert starts.tolist() == [row for row in range(len(values)) if not row or values[row] != values[row - 1]]


@given(COLUMNS, st.sampled_from("dq"))
def test_any_64_bits_come_back(bits: Ints, kind: str) -> None:
    back = decode_column(kind, encode_column(kind, bits), len(bits))
    assert isinstance(back, np.ndarray)
    assert back.view(np.int64).tolist() == bits.tolist()


@pytest.mark.parametrize("kind", ["d", "q"])
@pytest.mark.parametrize("float32_born", [True, False])
def test_nan_payloads_and_signed_zeros_come_back(kind: str, float32_born: bool) -> None:
    others = [struct.unpack("<Q", struct.pack("<d", value))[0] for value in ([1.5, -0.0] if float32_born else ODD)]
    bits = column([*others, *([] if float32_born else PAYLOAD_NANS)])
    back = decode_column(kind, encode_column(kind, bits), len(bits))
    assert isinstance(back, np.ndarray)
    assert back.view(np.int64).tolist() == bits.tolist()


@pytest.mark.parametrize("bits", [[value] for value in PAYLOAD_NANS] + [[value] * 5 for value in PAYLOAD_NANS])
def test_columns_of_nothing_but_nan_keep_their_payload(bits: list[int]) -> None:
    back = decode_column("d", encode_column("d", column(bits)), len(bits))
    assert isinstance(back, np.ndarray)
    assert back.view(np.uint64).tolist() == bits


def test_bools_and_other_values_keep_their_types() -> None:
    flags = decode_column("?", encode_column("?", np.array([1, 0, 1])), 3)
    assert isinstance(flags, np.ndarray)
    assert flags.tolist() == [True, False, True]
    values: list[object] = [None, "é", [1, [2.5, None]], 2**200, -(2**63) - 1, 2**64, {"a": {"b": 2**70}}]
    assert decode_column("*", encode_column("*", values), len(values)) == values


def test_what_says_little_takes_little_room() -> None:
    steps = np.arange(65_536, dtype=np.int64)
    assert len(encode_ints(steps)) == 17
    assert len(encode_column("d", np.full(65_536, 0.1).view(np.int64))) == 9
    float32_born = np.random.default_rng(0).normal(size=65_536).astype(np.float32).astype(np.float64)
    assert len(encode_column("d", float32_born.view(np.int64))) < 4 * 65_536


def test_decimals_and_float64_noise_each_take_the_form_that_suits_them() -> None:
    noise = np.random.default_rng(0).normal(size=65_536)
    for values, most in ((noise, 7.2), (np.round(noise, 4), 4.6), (np.round(noise, 2), 2.4)):
        data = encode_column("d", values.view(np.int64))
        back = decode_column("d", data, len(values))
        assert isinstance(back, np.ndarray)
        assert back.view(np.int64).tolist() == values.view(np.int64).tolist()
        assert len(data) / len(values) < most


@st.composite
def short_blocks(draw: st.DrawFn) -> list[tuple[str, list[int]]]:
    """Columns of one length: their kinds, and 8 bytes a value."""
    rows = draw(st.integers(1, 20))
    floats = st.floats(width=32).map(lambda value: struct.unpack("<q", struct.pack("<d", value))[0])
    columns: list[tuple[str, list[int]]] = []
    for kind in draw(st.text("dq?*", min_size=1, max_size=8)):
        values = draw(st.sampled_from([INT64, floats, st.just(draw(INT64))]))
        columns.append((kind, draw(st.lists(values, min_size=rows, max_size=rows))))
    return columns


@given(short_blocks())
def test_columns_stored_together_come_back_each_bit_by_bit(columns: list[tuple[str, list[int]]]) -> None:
    kinds = "".join(kind for kind, _ in columns)
    rows = len(columns[0][1])
    bits = np.array([values if kind != "?" else [value & 1 for value in values] for kind, values in columns], np.int64)
    others: dict[int, list[object]] = {index: [*columns[index][1]] for index, kind in enumerate(kinds) if kind == "*"}
    bundle = Bundle(kinds, encode_bundle(kinds, bits, others), rows)
    for index, kind in enumerate(kinds):
        back = bundle.column(index)
        if kind == "*":
            assert back == others[index]
        else:
            assert isinstance(back, np.ndarray)
            wide = back.astype(np.int64) if kind == "?" else back.view(np.int64)
            assert wide.tolist() == bits[index].tolist()


def test_short_columns_stored_together_take_less_room_than_each_for_itself() -> None:
    bits = np.random.default_rng(0).normal(size=(10, 100)).astype(np.float32).astype(np.float64).view(np.int64)
    together = len(encode_bundle("d" * 10, bits, {}))
    assert together < 0.9 * sum(len(encode_column("d", column)) for column in bits)


def test_a_chunk_of_another_length_is_refused() -> None:
    data = encode_ints(np.array([1, 5, 2, 80]))
    with pytest.raises(ValueError, match="holds 3 bytes"):
        decode_ints(data, 9)
