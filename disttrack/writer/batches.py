"""What waits to be stored of many sources, cut into the group commits of a run log.

In: pieces of journals in the order of their arrival. Out: batches of entries, a frame each. Called by RunIngest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrack.journal.segment import MAX_RAW_BYTES, Entry
from disttrack.writer.roster import Source

__all__ = ["batches"]

MAX_ENTRIES = 0xFFFF


def batches(pending: Sequence[tuple[Source, bytes]]) -> Iterator[list[Entry]]:
    """Yield group commits of at most MAX_RAW_BYTES (or one larger piece); neighbours of one source become one entry."""
    ends = {id(source): source.committed for source, _ in pending}
    pieces: dict[int, tuple[Source, list[bytes]]] = {}
    size = 0
    for source, data in pending:
        if pieces and (size + len(data) > MAX_RAW_BYTES or len(pieces) >= MAX_ENTRIES):
            yield _entries(pieces, ends)
            pieces, size = {}, 0
        pieces.setdefault(id(source), (source, []))[1].append(data)
        size += len(data)
    if pieces:
        yield _entries(pieces, ends)


def _entries(pieces: dict[int, tuple[Source, list[bytes]]], ends: dict[int, int]) -> list[Entry]:
    batch: list[Entry] = []
    for source, parts in pieces.values():
        data = b"".join(parts)
        ends[id(source)] += len(data)
        batch.append(Entry(source.join.rank.rank, source.join.incarnation, ends[id(source)], data))
    return batch
