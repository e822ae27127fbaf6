"""Whose journal this is: the head that each of its files begins with, and the copy of the Join beside them.

    'DTJ1' · u32 version · u32 length · u32 crc32 · Join as msgpack                              (little-endian)

A damaged head hides no journal as long as something tells what it said: another file of the same journal, the copy
beside it (docs/decisions/0001), or its own checksum, which one wrong byte can be worked out from.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from disttrack.environments.files import open_plain, read_plain
from disttrack.errors import UnsupportedFormat
from disttrack.journal.files import FILE_NAME, damage_end
from disttrack.records.codec import MAX_RECORD_BYTES, decode, pack
from disttrack.records.types import Join, changed

__all__ = ["JOIN_NAME", "find_head", "head_of", "read_head", "read_join", "write_join"]

VERSION = 1
JOIN_NAME = "join"  # beside it, the newer Join of a rank that learnt its launch, or its run, later
MAX_MENDED_BYTES = 64 << 10  # of a head: beyond it no wrong byte is looked for

_HEAD = struct.Struct("<4sIII")
_MAGIC = b"DTJ1"


def head_of(join: Join) -> bytes:
    """Return what every file of a journal begins with."""
    body = pack(join)
    return _HEAD.pack(_MAGIC, VERSION, len(body), zlib.crc32(body)) + body


def read_head(path: Path) -> tuple[bytes, int]:
    """Return the Join in a file's head, as bytes, and how long the head is.

    Raises OSError, ValueError (no journal, torn head) or UnsupportedFormat.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise ValueError(f"{path} ends within its header")
        magic, version, length, crc = _HEAD.unpack(head)
        if magic != _MAGIC:
            raise ValueError(f"{path} is not a journal")
        if version > VERSION:
            raise UnsupportedFormat(path, version, VERSION)
        body = file.read(min(length, MAX_RECORD_BYTES))
    if len(body) < length or zlib.crc32(body) != crc:
        raise ValueError(f"the header of {path} is torn")
    return body, _HEAD.size + length


def write_join(directory: Path, join: Join) -> None:
    """Leave a newer Join beside a journal (the journal itself is the logging threads' to write)."""
    temporary = directory / f".{JOIN_NAME}"
    fd = open_plain(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(head_of(join))
    os.replace(temporary, directory / JOIN_NAME)


def find_head(directory: Path) -> tuple[Join, int]:
    """Return what is known last about the incarnation whose journal this is, and how long the heads of its files are.

    Raises OSError, ValueError (no journal, torn head, or one damaged beyond repair) or UnsupportedFormat.
    """
    beside = read_join(directory)
    path = directory / FILE_NAME
    try:
        body, size = read_head(path)
        join = decode(body, Join)  # also where it is not asked for: zeros make a head whose checksum is right
    except ValueError:
        found = _from_other_files(directory) or _repaired(path, beside)
        if found is None:
            raise
        join, size = found
    return beside or join, size


def read_join(directory: Path) -> Join | None:
    """Return what write_join left; None where there is nothing, or it is torn: a power cut may leave it empty."""
    path = directory / JOIN_NAME
    try:
        data = read_plain(path, MAX_RECORD_BYTES)
    except OSError:
        return None
    try:
        return decode(data, Join)  # as it was written before it had a head, and a checksum, of its own
    except ValueError:
        pass
    try:
        return decode(read_head(path)[0], Join)
    except (OSError, UnsupportedFormat):
        return None
    except ValueError:
        return _mended(data, directory)


def _from_other_files(directory: Path) -> tuple[Join, int] | None:
    for path in sorted(directory.glob("*.dtj")):
        try:
            body, size = read_head(path)
            return decode(body, Join), size
        except (OSError, ValueError, UnsupportedFormat):
            continue
    return None


def _repaired(path: Path, beside: Join | None) -> tuple[Join, int] | None:
    """Return what the damaged head of a journal's only file said, and how long it is; None where that cannot be known.

    Where the records begin must be certain, or they would be stored at wrong offsets: two must say so of what the head
    says, where the first whole record lies, and how long a head the Join beside it makes; or the checksum.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        fd, end = file.fileno(), os.fstat(file.fileno()).st_size

        def read(size: int, at: int) -> bytes:
            return os.pread(fd, size, at)

        head = read(_HEAD.size, 0)
        if len(head) < _HEAD.size:
            return None
        said = _HEAD.size + int(_HEAD.unpack(head)[2])
        first = damage_end(read, _HEAD.size - 1, end)
        sizes = [size for size in (first, said) if size is not None and size <= end]
        if beside is not None:
            made = {len(head_of(beside)), len(head_of(changed(beside, run_id=None)))}
            certain = [size for size in sizes if size in made or sizes.count(size) == 2]
            if certain:
                return beside, certain[0]
        for size in sizes:
            if size <= MAX_MENDED_BYTES:
                join = _mended(read(size, 0), path.parent)
                if join is not None:
                    return join, size
    return None


def _mended(head: bytes, directory: Path) -> Join | None:
    """Return the Join of a head in which one byte is wrong, or that says wrong how it is made; None where it is worse.

    A checksum tells which byte it is; that it came out right, the name of the journal's directory.
    """
    if len(head) < _HEAD.size:
        return None
    crc: int = _HEAD.unpack_from(head)[3]
    body = head[_HEAD.size :]
    wrong = zlib.crc32(body) ^ crc
    bodies = {body} if sum(byte != 0 for byte in wrong.to_bytes(4, "little")) <= 1 else set[bytes]()
    for position, bits in _wrong_bytes(wrong, len(body)) if wrong else ():
        bodies.add(body[:position] + bytes([body[position] ^ bits]) + body[position + 1 :])
    joins = list(_joins(bodies, directory))
    return joins[0] if len(joins) == 1 else None


def _joins(bodies: set[bytes], directory: Path) -> Iterator[Join]:
    for body in bodies:
        try:
            join = decode(body, Join)
        except ValueError:
            continue
        if f"{join.incarnation:016x}" == directory.name:
            yield join


def _crc_table() -> list[int]:
    """Return what crc32 makes of each byte alone."""
    table: list[int] = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xEDB88320 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()
_BY_TOP = {value >> 24: byte for byte, value in enumerate(_TABLE)}


def _wrong_bytes(wrong: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (position, bits) of each single byte of size bytes that makes their crc32 wrong by just these bits.

    The register of a checksum is run backwards from the end: before the wrong byte, there was no difference.
    """
    for position in reversed(range(size)):
        byte = _BY_TOP[wrong >> 24]
        wrong = (wrong ^ _TABLE[byte]) << 8 | byte
        if wrong < 256:
            yield position, wrong
