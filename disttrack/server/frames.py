"""Numbers in bulk: a JSON header and little-endian arrays behind it, which a browser reads without parsing."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from disttrack.server.answers import as_json

__all__ = ["MEDIA_TYPE", "Frame"]

MAGIC = b"DTF1"
MEDIA_TYPE = "application/vnd.disttrack.frame"
_EXACT_IN_F4 = 1 << 24
_F4 = np.finfo(np.float32)
_TYPES = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "u1": "|u1"}

Array = NDArray[Any]


class Frame:
    """Collects arrays; each becomes a reference that the header holds in its place."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def values(self, values: Array, base: float = 0.0) -> dict[str, object]:
        """Return the reference of numbers as float32, less base; as float64 where one is too large or small for it."""
        given = np.asarray(values, np.float64)
        sizes = np.abs(given[np.isfinite(given) & (given != 0)])
        fits = not sizes.size or bool(sizes.max() <= _F4.max and sizes.min() >= _F4.tiny)
        return self._add("f4" if fits else "f8", given - base if base and fits else given, base if fits else 0.0)

    def places(self, values: Array) -> dict[str, object]:
        """Return the reference of ascending x: as float32 behind the first of them, or float64 where that is not exact.

        Steps 2^24 beyond the first, or fractions of a second days after it, are no float32.
        """
        if not len(values):
            return self._add("f4", values, 0.0)
        base = float(values[0])
        offsets = np.asarray(values, np.float64) - base
        span = float(offsets[-1])
        whole = span < _EXACT_IN_F4 and bool((offsets == np.floor(offsets)).all())
        return self._add("f4" if whole or span < _EXACT_IN_F4 / 1_000 else "f8", offsets, base)

    def ranks(self, values: Array) -> dict[str, object]:
        """Return the reference of small integers."""
        return self._add("i4", values, 0.0)

    def _add(self, kind: str, values: Array, base: float) -> dict[str, object]:
        with np.errstate(over="ignore"):  # beyond float32: infinite
            data = np.ascontiguousarray(values, _TYPES[kind]).tobytes()
        reference: dict[str, object] = {"at": self._at, "n": len(values), "type": kind, "base": base}
        padding = -len(data) % 8
        self._parts += [data, bytes(padding)]
        self._at += len(data) + padding
        return reference

    def answer(self, header: Mapping[str, object]) -> Response:
        """Return the frame as an answer that no cache keeps."""
        text = as_json(header).encode()
        text += b" " * (-(8 + len(text)) % 8)
        body = b"".join([MAGIC, struct.pack("<I", len(text)), text, *self._parts])
        # Numbers do not shrink: to compress them takes longer than to send them.
        headers = {"Cache-Control": "no-store", "Content-Encoding": "identity"}
        return Response(body, media_type=MEDIA_TYPE, headers=headers)
