"""A rank's own journal, read back: the rows and records in it, from where it was read last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from disttrack.journal.outbox import Outbox
from disttrack.records.codec import decode_row, decode_schema, records, row_layout
from disttrack.records.payloads import RecordKind

__all__ = ["Replay", "Said"]

READ_BYTES = 1 << 20


class Said(NamedTuple):
    """A row, or another record. step and values: of a row, body: of another record."""

    kind: int
    step: int
    values: Iterable[tuple[str, Any]]
    body: bytes


class Replay:
    """Reads one journal in order. What was removed from it is passed over."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._layouts: dict[int, tuple[tuple[str, ...], str, Any]] = {}
        self._offset = 0

    def new(self) -> Iterator[Said]:
        """Yield what was appended since the last time.

        Two threads may do so at once: each goes on to the end from where it is, and meets everything new.
        """
        while (offset := self._offset) < self.outbox.end:
            data = self.outbox.read(offset, READ_BYTES)
            for record in records(data, check=False):
                said = self._said(record.kind, record.schema, data[record.start : record.end])
                if said is not None:
                    yield said
            self._offset = offset + len(data)

    def _said(self, kind: int, schema: int, body: bytes) -> Said | None:
        if kind == RecordKind.SCHEMA:
            keys, kinds = decode_schema(body)
            self._layouts[schema] = keys, kinds, row_layout((keys, kinds))
            return None
        if kind == RecordKind.ROW:
            if schema not in self._layouts:
                return None  # it was told in a part of the journal that was removed
            keys, kinds, layout = self._layouts[schema]
            step, _, *found = layout.unpack(body)
            values = (
                found if "?" not in kinds else [v != 0 if k == "?" else v for k, v in zip(kinds, found, strict=True)]
            )
            return Said(kind, step, zip(keys, values, strict=True), b"")
        if kind == RecordKind.MSGPACK_ROW:
            step, _, row = decode_row(body)
            return Said(kind, step, row.items(), b"")
        return Said(kind, 0, (), body)
