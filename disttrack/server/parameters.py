"""The parameters of requests, read and checked; whoever asks for something else learns what there is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, TypeVar

from starlette.requests import Request

from disttrack.query.selection import RankChoice
from disttrack.server.answers import Refused

__all__ = ["choice", "flag", "integer", "number", "ranks_of", "required", "several", "text"]

_Word = TypeVar("_Word", bound=str)
_SPAN = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
MAX_TEXT = 10_000
MAX_RANK = 1 << 20


def text(request: Request, name: str) -> str | None:
    """Return a parameter; None where it is not given, or empty."""
    value = request.query_params.get(name) or None
    if value is not None and len(value) > MAX_TEXT:
        raise Refused(400, f"{name} is longer than {MAX_TEXT:,} characters.", "UsageError")
    return value


def required(request: Request, name: str) -> str:
    """Return a parameter that must be given."""
    value = text(request, name)
    if value is None:
        raise Refused(400, f"Name what is asked for: the parameter {name} is missing.", "UsageError")
    return value


def several(request: Request, name: str, at_most: int) -> list[str]:
    """Return a parameter that may be given several times, each value once."""
    values = list(dict.fromkeys(filter(None, request.query_params.getlist(name))))
    if len(values) > at_most:
        raise Refused(400, f"{name} may be given {at_most} times, not {len(values):,} times.", "UsageError")
    return values


def integer(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return a whole number; what lies beyond least or most is taken as these."""
    given = text(request, name)
    if given is None:
        return default
    try:
        return min(max(int(given), least), most)
    except ValueError:
        raise Refused(400, f"{name}={given[:80]!r} is no whole number.", "UsageError") from None


def number(request: Request, name: str) -> float | None:
    """Return a finite number; None where it is not given."""
    given = text(request, name)
    if given is None:
        return None
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refused(400, f"{name}={given[:80]!r} is no number.", "UsageError")
    return value


def flag(request: Request, name: str) -> bool:
    """Say whether a parameter is given, and is neither 0 nor false."""
    return (text(request, name) or "0").lower() not in ("0", "false")


def choice(request: Request, name: str, words: Sequence[_Word]) -> _Word:
    """Return one of some words; the first of them where none is given."""
    given = text(request, name)
    if given is None:
        return words[0]
    for word in words:
        if word == given:
            return word
    raise Refused(400, f"{name}={given[:80]!r} is none of {', '.join(words)}.", "UsageError")


def ranks_of(request: Request, name: str = "ranks") -> RankChoice:
    """Return which ranks are asked for: all, primary, or as 0,3,8-15."""
    given = text(request, name) or "all"
    words: tuple[Literal["all", "primary"], ...] = ("all", "primary")
    for word in words:
        if given == word:
            return word
    found: set[int] = set()
    for part in given.split(","):
        span = _SPAN.fullmatch(part.strip())
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (0, MAX_RANK)
        if not first <= last < MAX_RANK:
            raise Refused(400, f"{name}={given[:80]!r} is none of all, primary, or ranks as 0,3,8-15.", "UsageError")
        found.update(range(first, last + 1))
    return sorted(found)
