"""A checksum behind every blob of the index: what a disk has changed is built again, not believed."""

from __future__ import annotations

import struct
import zlib

__all__ = ["IndexDamaged", "signed", "verified"]

SUM_BYTES = 4


class IndexDamaged(Exception):
    """Something in the index is not what was written there. The index can be built again from the run logs."""


def signed(data: bytes, *place: int) -> bytes:
    """Return a blob with its checksum behind it. place: what else it must turn up with, as the row's key."""
    return data + zlib.crc32(data, _seed(place)).to_bytes(SUM_BYTES, "little")


def verified(data: bytes, *place: int) -> memoryview:
    """Return what signed was given; raise IndexDamaged where that was something else."""
    blob = memoryview(data)[:-SUM_BYTES]
    if zlib.crc32(blob, _seed(place)) != int.from_bytes(data[-SUM_BYTES:], "little"):
        raise IndexDamaged(f"a blob of {len(data)} bytes has another checksum")
    return blob


def _seed(place: tuple[int, ...]) -> int:
    return zlib.crc32(struct.pack(f"<{len(place)}q", *place)) if place else 0
