"""JSON that any parser takes, and text that no terminal obeys."""

from __future__ import annotations

import json
import math
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.cli.output import day_time, duration, exact, figure, iso, printable, strict, to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def test_nan_and_infinities_are_strings_at_any_depth() -> None:
    value = {"a": math.nan, "b": [math.inf, {"c": (-math.inf, 1.5)}]}
    assert strict(value) == {"a": "NaN", "b": ["Infinity", {"c": ["-Infinity", 1.5]}]}


def test_ints_beyond_64_bits_keep_every_digit() -> None:
    number = 2**4000 + 1
    assert json.loads(to_json({"big": [number, -number]})) == {"big": [number, -number]}


@given(VALUES)
def test_whatever_can_be_logged_becomes_strict_json_that_reads_back(value: object) -> None:
    for text in (to_json(value), to_json(value, compact=True)):
        assert json.loads(text, parse_constant=refuse) == strict(value)


def test_compact_json_is_one_line() -> None:
    assert to_json({"a": [1, "x\ny"]}, compact=True) == '{"a":[1,"x\\ny"]}'


@pytest.mark.parametrize(
    ("unix_s", "text"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1790000000.1234, "2026-09-21T14:13:20.123Z"),
        (1790000000.9999, "2026-09-21T14:13:21.000Z"),
    ],
)
def test_moments_are_iso_8601_in_utc_to_the_millisecond(unix_s: float | None, text: str | None) -> None:
    assert iso(unix_s) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (math.nan, "-"),
        (-0.2, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3_599.7, "1h00m"),
        (7_500, "2h05m"),
        (86_399.9, "1d00h"),
        (273_600, "3d04h"),
    ],
)
def test_durations_take_at_most_two_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_moment_that_is_not_known_is_a_dash() -> None:
    assert day_time(None) == "-"
    assert len(day_time(1790000000.0)) == len("2026-09-21 14:13")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain", "plain"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r\tand", "two\\nlines\\r\\tand"),
        ("\x9b31m", "\\x9b31m"),
        ("turn \u202eround", "turn \\u202eround"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("Größe 名前\u3000😀", "Größe 名前\u3000😀"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_text_cannot_command_a_terminal(text: str, safe: str) -> None:
    assert printable(text) == safe


@given(st.text())
def test_printed_text_has_no_control_characters_whatever_it_was(text: str) -> None:
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in printable(text))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "true"),
        (12_345, "12,345"),
        (0.123456, "0.1235"),
        (1e-5, "1e-05"),
        (3.0, "3.0"),
        (123_456.78, "123,456.8"),
        (1e12, "1e+12"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("a\x1bb", "a\\x1bb"),
        ([1, math.nan], '[1,"NaN"]'),
    ],
)
def test_figures_are_short(value: object, text: str) -> None:
    assert figure(value) == text


def test_config_values_are_shown_exactly() -> None:
    assert [exact(value) for value in (12345, 0.1 + 0.2, None, True, "x\x1b", {"a": 1})] == [
        "12345",
        "0.30000000000000004",
        "null",
        "true",
        "x\\x1b",
        '{"a":1}',
    ]
