"""Damages files in place, and mends them again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def each_flip(path: Path, positions: range) -> Iterator[int]:
    """Yields each position once for each of its bits while that one bit of the file is flipped."""
    fd = os.open(path, os.O_RDWR)
    try:
        for position in positions:
            [whole] = os.pread(fd, 1, position)
            for bit in range(8):
                os.pwrite(fd, bytes([whole ^ 1 << bit]), position)
                yield position
            os.pwrite(fd, bytes([whole]), position)
    finally:
        os.close(fd)


def each_cut(path: Path, shortest: int = 0) -> Iterator[int]:
    """Yields each length from the file's own down to the shortest while the file is that long."""
    for length in reversed(range(shortest, path.stat().st_size + 1)):
        os.truncate(path, length)
        yield length
