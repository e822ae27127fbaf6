"""What requests are answered with: strict JSON that JavaScript reads exactly, and errors that say why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import cast

from starlette.responses import Response

from disttrack.errors import DisttrackError, FilterError, RootGone, RunNotFound, UnsupportedFormat, UsageError

__all__ = ["Refused", "as_json", "error_answer", "json_answer", "strict", "unix"]

EXACT = 1 << 53  # integers up to here are JavaScript's numbers without loss
_LONG_INTEGER = re.compile(r"[:\[,]-?\d{16,}[,}\]]")  # as _encode writes it; text that looks so costs time alone
_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class Refused(Exception):
    """A request that is answered with an error: its status, what is wrong, and what the page may tell it by."""

    def __init__(self, status: int, message: str, kind: str = "Refused") -> None:
        super().__init__(status, message, kind)
        self.status, self.message, self.kind = status, message, kind


def unix(unix_s: float | None) -> float | None:
    """Return a moment as the API writes it: unix seconds; None where no calendar has it."""
    return unix_s if unix_s is not None and math.isfinite(unix_s) else None


def strict(value: object) -> object:
    """Return value with what JSON or JavaScript has no number for as text: NaN, the infinities, and long integers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")
    if isinstance(value, int):
        return value if -EXACT <= value <= EXACT else str(value)
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in cast("Sequence[object]", value)]
    return value


def as_json(value: object) -> str:
    """Return value as strict JSON in ASCII (lone surrogates as escapes), on one line."""
    try:
        text = _encode(value)
    except ValueError:  # a number that is not finite: rare, and to look for one takes as long as to encode all
        return _encode(strict(value))
    return _encode(strict(value)) if _LONG_INTEGER.search(text) else text


def json_answer(value: object, status: int = 200) -> Response:
    """Return an answer that no cache keeps."""
    return Response(as_json(value), status, media_type="application/json", headers={"Cache-Control": "no-store"})


def error_answer(error: Exception) -> Response | None:
    """Return what a request is answered with that raised error; None where the fault is ours."""
    match error:
        case Refused():
            return _error(error.status, error.kind, error.message)
        case FilterError():
            return _error(400, "FilterError", str(error), error.at)
        case UsageError():
            return _error(400, type(error).__name__, str(error))
        case RunNotFound():
            return _error(404, "RunNotFound", str(error))
        case RootGone():
            return _error(503, "RootGone", str(error))
        case UnsupportedFormat():
            return _error(409, "UnsupportedFormat", str(error))
        case DisttrackError():
            return _error(500, type(error).__name__, str(error))
        case OSError():
            return _error(503, type(error).__name__, f"The directory of runs cannot be read just now: {error}")
        case _:
            return None


def _error(status: int, kind: str, message: str, at: int | None = None) -> Response:
    return json_answer({"error": {"kind": kind, "message": message, "at": at}}, status)
