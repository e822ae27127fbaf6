"""The columnar codec: a column of a block as bytes, and back, bit by bit the same.

    ints    first, then differences: 17 bytes where these are equal, else 1, 2, 4 or 8 bytes each, shuffled
    floats  9 bytes where all have the same bits, else float32 if that gives back the same bits, shuffled, else float64,
            shuffled or as they are: rounded decimals repeat as a whole, and byte by byte look like noise
    others  one msgpack list
    several columns of a short block: what the floats have in common byte by byte, the others one by one

The first byte says which. What is not of fixed size is zstd-1. Sizes and speeds: facts/runlog.md §2.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from disttrack.index.facts import pack
from disttrack.records.codec import decode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "Bundle",
    "Column",
    "Floats",
    "Ints",
    "decode_column",
    "decode_ints",
    "decode_runs",
    "encode_bundle",
    "encode_column",
    "encode_ints",
    "only_value",
    "rises",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Column = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_] | list[object]

SAMPLE_VALUES = 4_096  # of a float64 column, by which its form is chosen: 6 % of the time of encoding 65,536
LEVEL = 1  # as the run log's: facts/storage.md F
_CONSTANT, _FLOAT32, _FLOAT64, _LIST = 0, 20, 21, 22  # an int width is its own tag: 1, 2, 4, 8
_PLAIN = 24  # float64 as they are
_OWN = 23  # within a bundle: no float, encoded as a column of its own
_INT_TYPES: dict[int, np.dtype[np.generic]] = {width: np.dtype(f"<i{width}") for width in (1, 2, 4, 8)}
_Scalar = TypeVar("_Scalar", bound=np.generic)
# One for all chunks: making a new one costs 5 µs, compressing 400 bytes one. Each call holds the compressor's own lock.
_compressor = zstd.ZstdCompressor(level=LEVEL)
_LINE = struct.Struct("<Bqq")
_FIRST = struct.Struct("<Bq")


def encode_ints(values: Ints) -> bytes:
    """Return at least one int64 as bytes. Differences wrap around, and so does adding them up again."""
    first = int(values[0])
    steps = values[1:] - values[:-1]
    if not len(steps) or (steps == steps[0]).all():
        return _LINE.pack(_CONSTANT, first, int(steps[0]) if len(steps) else 0)
    low, high = int(steps.min()), int(steps.max())
    width = next(width for width in _INT_TYPES if -(1 << 8 * width - 1) <= low and high < 1 << 8 * width - 1)
    return _FIRST.pack(width, first) + _squeeze(steps.astype(_INT_TYPES[width]))


def decode_ints(data: bytes | memoryview, n: int) -> Ints:
    """Return the n int64 that encode_ints was given; raise ValueError where data holds something else."""
    tag = data[0]
    if tag == _CONSTANT:
        _, first, step = _LINE.unpack(data)
        return _line(first, step, n)
    _, first = _FIRST.unpack_from(data)
    values = np.empty(n, np.int64)
    values[0] = first
    values[1:] = _spread(data[_FIRST.size :], _INT_TYPES[tag], n - 1)
    return np.cumsum(values, out=values)


def decode_runs(data: bytes | memoryview, n: int) -> tuple[Ints, Ints]:
    """Return where each run of equal values begins among those that encode_ints was given, and these values."""
    if data[0] == _CONSTANT:
        _, first, step = _LINE.unpack(data)
        count = 1 if step == 0 else n
        return np.arange(count), _line(first, step, count)
    tag, first = _FIRST.unpack_from(data)
    steps = _spread(data[_FIRST.size :], _INT_TYPES[tag], n - 1)
    changes = np.flatnonzero(steps != 0)
    return np.append(0, changes + 1), np.cumsum(np.append(np.int64(first), steps[changes].astype(np.int64)))


def only_value(data: bytes | memoryview) -> int | None:
    """Return the value of all ints that encode_ints was given; None where they differ."""
    if data[0] != _CONSTANT:
        return None
    _, first, step = _LINE.unpack(data)
    return int(first) if step == 0 else None


def rises(data: bytes | memoryview, n: int) -> bool:
    """Say whether each of the n ints that encode_ints was given is greater than the one before it."""
    if data[0] == _CONSTANT:
        return n < 2 or _LINE.unpack(data)[2] > 0
    values = decode_ints(data, n)
    return bool((values[1:] > values[:-1]).all())


def _line(first: int, step: int, n: int) -> Ints:
    if step == 0:
        return np.full(n, first, np.int64)
    values = np.arange(n, dtype=np.int64)
    if step != 1:
        values *= step
    values += first
    return values


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
    sample = bits[:SAMPLE_VALUES]
    if len(_compress(sample.tobytes())) < len(_squeeze(sample)):
        return bytes([_PLAIN]) + _compress(bits.tobytes())
    return bytes([_FLOAT64]) + _squeeze(bits)


def decode_column(kind: str, data: bytes | memoryview, n: int) -> Column:
    """Return the n values of a chunk: float64, int64 or bool, or a list for kind "*"."""
    if kind in "*m":
        return cast(list[object], decode(zstd.decompress(data[1:]), list))
    if kind != "d":
        return as_column(kind, decode_ints(data, n))
    if data[0] == _CONSTANT:
        return np.full(n, _FIRST.unpack(data)[1], np.int64).view(np.float64)
    if data[0] == _FLOAT32:
        return _spread(data[1:], np.dtype(np.float32), n).astype(np.float64)
    if data[0] == _PLAIN:
        return np.frombuffer(_decompress(data[1:], 8 * n), np.float64)
    return _spread(data[1:], np.dtype(np.float64), n)


def as_column(kind: str, bits: Ints) -> Column:
    """Return 8 bytes a value as what they stand for."""
    if kind == "d":
        return bits.view(np.float64)
    return bits != 0 if kind == "?" else bits


def encode_bundle(kinds: str, bits: Ints, others: Mapping[int, list[object]]) -> bytes:
    """Return several columns of a short block as bytes; bits: [columns, rows], others: the columns of kind "*".

    100 rows of 10 keys: a third of the time of a chunk each, and a seventh smaller, since signs and exponents,
    much alike, lie together and apart from the noise of the mantissas.
    """
    floats = np.frombuffer(kinds.encode(), np.uint8) == ord("d")
    every = bool(floats.all())
    matrix = bits if every else bits[floats]
    constant = (matrix == matrix[:, :1]).all(1)
    with np.errstate(all="ignore"):  # what overflows or underflows comes back different
        small = matrix.view(np.float64).astype(np.float32)
        fits = (small.astype(np.float64).view(np.int64) == matrix).all(1)
    tags = np.full(len(kinds), _OWN, np.uint8)
    tags[floats] = np.where(constant, _CONSTANT, np.where(fits, _FLOAT32, _FLOAT64))
    short, long = fits & ~constant, ~fits & ~constant
    content: list[object] = [
        tags.tobytes(),
        matrix[constant, 0].tobytes(),
        _planes(small if short.all() else small[short]),
        _planes(matrix if long.all() else matrix[long]),
    ]
    if not every:
        content += [
            encode_column(kind, others[index] if index in others else bits[index])
            for index, kind in enumerate(kinds)
            if kind != "d"
        ]
    return pack(content)


class Bundle:
    """What encode_bundle made, its columns decoded one by one."""

    def __init__(self, kinds: str, data: bytes | memoryview, n: int) -> None:
        """n: rows. Raises ValueError where data holds something else."""
        self._kinds, self._n = kinds, n
        tags, constants, short, long, *self._own = cast(
            tuple[bytes, bytes, Sequence[bytes], Sequence[bytes], bytes], decode(data, list)
        )
        self._tags = np.frombuffer(tags, np.uint8)
        self._constants = np.frombuffer(constants, np.int64)
        self._short = _matrix(short, np.dtype(np.float32), n)
        self._long = _matrix(long, np.dtype(np.float64), n)

    def column(self, index: int) -> Column:
        """Return the values of a column."""
        tag = int(self._tags[index])
        place = int((self._tags[:index] == tag).sum())
        if tag == _CONSTANT:
            return np.full(self._n, int(self._constants[place]), np.int64).view(np.float64)
        if tag == _FLOAT32:
            return np.asarray(self._short[place], np.float64)
        if tag == _FLOAT64:
            values: Floats = self._long[place]
            return values
        return decode_column(self._kinds[index], self._own[place], self._n)


def _planes(values: NDArray[np.generic]) -> list[bytes]:
    """Return [columns, rows] as bytes: the first bytes of all values but for the last two, which go by themselves."""
    if not values.size:
        return []
    width = values.dtype.itemsize
    shuffled = np.ascontiguousarray(values.reshape(-1).view(np.uint8).reshape(-1, width).T)
    return [_compress(part.tobytes()) for part in (shuffled[:-2], shuffled[-2], shuffled[-1])]


def _matrix(planes: Sequence[bytes], kind: np.dtype[_Scalar], n: int) -> NDArray[_Scalar]:
    if not planes:
        return np.empty((0, n), kind)
    return _unshuffled(b"".join(map(_whole, planes)), kind).reshape(-1, n)


def _whole(plane: bytes) -> bytes:
    """Return one frame unzipped: zstd.decompress, which takes half as long again, looks for more of them."""
    unzipping = zstd.ZstdDecompressor()
    raw = unzipping.decompress(plane)
    if not unzipping.eof:
        raise ValueError("a plane ends before its frame does")
    return raw


def _squeeze(values: NDArray[np.generic]) -> bytes:
    """Shuffle and compress: first all first bytes, then all second ones, ..."""
    width = values.dtype.itemsize
    shuffled = values.view(np.uint8).reshape(-1, width).T
    return _compress(np.ascontiguousarray(shuffled).tobytes())


def _compress(data: bytes) -> bytes:
    return _compressor.compress(data, _compressor.FLUSH_FRAME)


def _spread(data: bytes | memoryview, kind: np.dtype[_Scalar], n: int) -> NDArray[_Scalar]:
    return _unshuffled(_decompress(data, n * kind.itemsize), kind)


def _decompress(data: bytes | memoryview, size: int) -> bytes:
    raw = zstd.ZstdDecompressor().decompress(data, max_length=size + 1)
    if len(raw) != size:
        raise ValueError(f"a chunk of {size} bytes holds {len(raw)} bytes")
    return raw


def _unshuffled(raw: bytes, kind: np.dtype[_Scalar]) -> NDArray[_Scalar]:
    """Undo the shuffling: byte by byte of all values, a third of the time of one copy of the transposed matrix."""
    shuffled = np.frombuffer(raw, np.uint8).reshape(kind.itemsize, -1)
    values = np.empty((shuffled.shape[1], kind.itemsize), np.uint8)
    for place, plane in enumerate(shuffled):
        values[:, place] = plane
    return values.view(kind)[:, 0]
