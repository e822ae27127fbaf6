"""Console text as the index keeps it: records in pieces, compressed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from disttrack.index.checksums import IndexDamaged, signed, verified
from disttrack.records.payloads import ConsoleText

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["PIECE_BYTES", "Printed", "pieces", "printed_of", "signed_piece", "verified_piece"]

PIECE_BYTES = 256 << 10  # of text in one blob: what `tail` reads at least


class Printed(NamedTuple):
    """One record of console text; at: its offset in the source's journal."""

    at: int
    stream: str
    time_us: int
    lost_bytes: int
    text: str
    cell: int | None = None


# Made here, and not at the first call: see records.structs.
_pieces = msgspec.msgpack.Decoder(list[Printed])


def printed_of(at: int, record: ConsoleText) -> Printed:
    """Return a record as it is kept here."""
    return Printed(at, record.stream, record.time_us, record.lost_bytes, record.text, record.cell)


def pieces(texts: Sequence[Printed]) -> Iterator[list[Printed]]:
    """Yield texts in pieces of about PIECE_BYTES, in the order of their offsets."""
    piece: list[Printed] = []
    size = 0
    for text in sorted(texts):
        piece.append(text)
        size += len(text.text)
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def signed_piece(piece: Sequence[Printed], run: int, src: int) -> bytes:
    """Return a piece as a blob that says whose it is."""
    return signed(zstd.compress(msgspec.msgpack.encode(piece), 3), run, src, piece[0].at)


def verified_piece(blob: bytes, run: int, src: int, at: int) -> list[Printed]:
    """Return the piece that a blob holds; raise IndexDamaged where it is another one, or none."""
    try:
        return _pieces.decode(zstd.decompress(verified(blob, run, src, at)))
    except (zstd.ZstdError, ValueError) as error:
        raise IndexDamaged(f"console text: {error}") from error
