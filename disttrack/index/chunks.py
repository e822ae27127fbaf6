"""The columnar codec: a column of a block as bytes, and back, bit by bit the same.

    ints    first, then differences: 17 bytes where these are equal, else 1, 2, 4 or 8 bytes each, shuffled
    floats  9 bytes where all have the same bits, else float32 if that gives back the same bits, else float64, shuffled
    others  one msgpack list

The first byte says which. What is not of fixed size is zstd-1. Sizes and speeds: facts/runlog.md §2.
"""

from __future__ import annotations

import struct
import sys
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from disttrack.index.facts import pack
from disttrack.records.codec import decode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Column", "Floats", "Ints", "decode_column", "decode_ints", "encode_column", "encode_ints", "extremes"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Column = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_] | list[object]

LEVEL = 1  # as the run log's: facts/storage.md F
_CONSTANT, _FLOAT32, _FLOAT64, _LIST = 0, 20, 21, 22  # an int width is its own tag: 1, 2, 4, 8
_INT_TYPES: dict[int, np.dtype[np.generic]] = {width: np.dtype(f"<i{width}") for width in (1, 2, 4, 8)}
_Scalar = TypeVar("_Scalar", bound=np.generic)
# One for all chunks: making a new one costs 5 µs, compressing 400 bytes one. Each call holds the compressor's own lock.
_compressor = zstd.ZstdCompressor(level=LEVEL)
_LINE = struct.Struct("<Bqq")
_FIRST = struct.Struct("<Bq")


def encode_ints(values: Ints) -> bytes:
    """Return at least one int64 as bytes. Differences wrap around, and so does adding them up again."""
    first = int(values[0])
    steps = np.diff(values)
    if not len(steps) or (steps == steps[0]).all():
        return _LINE.pack(_CONSTANT, first, int(steps[0]) if len(steps) else 0)
    low, high = int(steps.min()), int(steps.max())
    width = next(width for width in _INT_TYPES if -(1 << 8 * width - 1) <= low and high < 1 << 8 * width - 1)
    return _FIRST.pack(width, first) + _squeeze(steps.astype(_INT_TYPES[width]))


def decode_ints(data: bytes, n: int) -> Ints:
    """Return the n int64 that encode_ints was given; raise ValueError where data holds something else."""
    tag = data[0]
    if tag == _CONSTANT:
        _, first, step = _LINE.unpack(data)
        return np.int64(first) + np.int64(step) * np.arange(n, dtype=np.int64)
    _, first = _FIRST.unpack_from(data)
    values = np.empty(n, np.int64)
    values[0] = first
    values[1:] = _spread(data[_FIRST.size :], _INT_TYPES[tag], n - 1)
    return np.cumsum(values)


def encode_column(kind: str, bits: Ints | list[object]) -> bytes:
    """Return a column as bytes; bits: 8 bytes a value as their int64, or the values of kind "*"."""
    if isinstance(bits, list):
        return bytes([_LIST]) + _compress(pack(bits))
    return _encode_floats(bits) if kind == "d" else encode_ints(bits)


def _encode_floats(bits: Ints) -> bytes:
    if (bits == bits[0]).all():
        return _FIRST.pack(_CONSTANT, int(bits[0]))
    with np.errstate(all="ignore"):  # what overflows or underflows comes back different
        small = bits.view(np.float64).astype(np.float32)
        if (small.astype(np.float64).view(np.int64) == bits).all():
            return bytes([_FLOAT32]) + _squeeze(small)
    return bytes([_FLOAT64]) + _squeeze(bits)


def decode_column(kind: str, data: bytes, n: int) -> Column:
    """Return the n values of a chunk: float64, int64 or bool, or a list for kind "*"."""
    if kind in "*m":
        return cast(list[object], decode(zstd.decompress(data[1:]), list))
    if kind != "d":
        return as_column(kind, decode_ints(data, n))
    if data[0] == _CONSTANT:
        return np.full(n, _FIRST.unpack(data)[1], np.int64).view(np.float64)
    if data[0] == _FLOAT32:
        return _spread(data[1:], np.dtype(np.float32), n).astype(np.float64)
    return _spread(data[1:], np.dtype(np.float64), n)


def as_column(kind: str, bits: Ints) -> Column:
    """Return 8 bytes a value as what they stand for."""
    if kind == "d":
        return bits.view(np.float64)
    return bits != 0 if kind == "?" else bits


def extremes(kind: str, bits: Ints | list[object]) -> tuple[float | None, float | None]:
    """Return the least and the greatest number of a column, NaN left out; None where there is no number."""
    if isinstance(bits, list):
        return None, None
    if kind != "d":
        return float(bits.min()), float(bits.max())
    values = bits.view(np.float64)
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    return (None, None) if low != low else (low, high)


def _squeeze(values: NDArray[np.generic]) -> bytes:
    """Shuffle and compress: first all first bytes, then all second ones, ..."""
    width = values.dtype.itemsize
    shuffled = values.view(np.uint8).reshape(-1, width).T
    return _compress(np.ascontiguousarray(shuffled).tobytes())


def _compress(data: bytes) -> bytes:
    return _compressor.compress(data, _compressor.FLUSH_FRAME)


def _spread(data: bytes, kind: np.dtype[_Scalar], n: int) -> NDArray[_Scalar]:
    raw = zstd.ZstdDecompressor().decompress(data, max_length=n * kind.itemsize + 1)
    if len(raw) != n * kind.itemsize:
        raise ValueError(f"a chunk of {n} values of {kind.itemsize} bytes holds {len(raw)} bytes")
    shuffled = np.frombuffer(raw, np.uint8).reshape(kind.itemsize, n)
    return np.ascontiguousarray(shuffled.T).view(kind)[:, 0]
