"""How values are printed: strict JSON for machines, and short safe text for people."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

import click

__all__ = [
    "MAX_UNIX_S",
    "MIN_UNIX_S",
    "age",
    "count",
    "day_time",
    "duration",
    "exact",
    "figure",
    "iso",
    "printable",
    "say_json",
    "strict",
    "to_json",
]

_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
_LONG_INT = 10**15  # from here on, a person reads the size and not the digits
_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji

_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_readable = json.JSONEncoder(ensure_ascii=False, allow_nan=False, indent=2).encode


def strict(value: object) -> object:
    """Return value with each NaN and infinity in it, at any depth, as the string that strict JSON has for it."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return _NOT_FINITE.get(value, "NaN")
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in cast("Sequence[object]", value)]
    return value


def to_json(value: object, *, compact: bool = False) -> str:
    """Return value as strict JSON: on one line where compact, else indented."""
    return (_compact if compact else _readable)(strict(value))


MIN_UNIX_S, MAX_UNIX_S = -62_135_510_400.0, 253_402_214_400.0  # the years 1 to 9999, less a day for time zones


def say_json(value: object) -> None:
    """Print value as strict JSON in UTF-8, whatever the terminal's encoding."""
    click.echo(to_json(value).encode("utf-8", "backslashreplace"))  # JSON's own escapes for lone surrogates


def iso(unix_s: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the millisecond; None for one that no calendar has (a damaged log's)."""
    if unix_s is None or not MIN_UNIX_S <= unix_s <= MAX_UNIX_S:
        return None
    moment = datetime.fromtimestamp(round(unix_s, 3), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{round(moment.microsecond / 1000):03}Z"


def day_time(unix_s: float | None) -> str:
    """Return a time as this machine's clock on the wall shows it, to the minute."""
    known = unix_s is not None and MIN_UNIX_S <= unix_s <= MAX_UNIX_S
    return "-" if not known else time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))


def duration(seconds: float | None) -> str:
    """Return a duration in at most two units: 0.4s, 12s, 3m05s, 2h05m, 3d04h."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    for size, unit, part, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{below}"
    return f"{whole // 60}m{whole % 60:02}s"


def age(seconds: float | None) -> str:
    """Return how long ago something was."""
    return "-" if seconds is None else f"{duration(seconds)} ago"


def count(number: int, thing: str) -> str:
    """Return a number of things: 1 record, 1,234 records."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Return text with everything escaped that would move a cursor, change colours or turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _JOINERS else _escape(character) for character in text
    )


def _escape(character: str) -> str:
    if character in "\n\r\t":
        return repr(character)[1:-1]
    if character.isspace() and character not in "\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029":
        return character  # the blanks of other scripts
    return character.encode("unicode_escape").decode()


def figure(value: object) -> str:
    """Return a value as a person reads it: floats to four digits, text escaped."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < _LONG_INT else f"{Decimal(value):.4g}"
    if isinstance(value, float):
        return _short_float(value)
    return printable(value if isinstance(value, str) else to_json(value, compact=True))


def exact(value: object) -> str:
    """Return a value as it was given, every digit of it; text escaped."""
    return printable(value if isinstance(value, str) else to_json(value, compact=True))


def _short_float(value: float) -> str:
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:,.1f}"
    return f"{value:,.1f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
