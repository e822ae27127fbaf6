"""run.summary: the last value of everything logged, and what is set by hand.

Nothing is kept for it while logging: reading it replays the rank's own journal from where it was read last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from disttrack.journal.outbox import Outbox
from disttrack.records.codec import decode, decode_row, decode_schema, records, row_layout
from disttrack.records.payloads import RecordKind, SummaryUpdate
from disttrack.records.values import flatten, readable

__all__ = ["Summary"]

READ_BYTES = 1 << 20


class Summary(MutableMapping[str, Any]):
    """The last value of every key this rank logged. Setting a key stores it; a later log() of it wins again."""

    def __init__(self, outbox: Callable[[], Outbox | None], store: Callable[..., None]) -> None:
        self._outbox = outbox
        self._store = store
        self._values: dict[str, Any] = {}
        self._layouts: dict[int, tuple[tuple[str, ...], str, Any]] = {}
        self._read: Outbox | None = None
        self._offset = 0

    def update(self, values: Any = (), /, **more: Any) -> None:
        """Set several keys in one record; nested mappings become `outer.inner`."""
        problems: list[tuple[str, str]] = []
        flat = flatten({**dict(values), **more}, problems)
        self._store(flat, problems=problems)
        if self._outbox() is None:  # nothing is written (mode="disabled", or no journal): remembered all the same
            self._values.update((key, readable(value)) for key, value in flat.items())

    def _replay(self) -> dict[str, Any]:
        outbox = self._outbox()
        if outbox is not self._read:  # a forked child has a journal of its own, with schemas of its own
            self._read, self._offset = outbox, 0
        # Two threads may replay at once: each goes on to the end from where it is, so the last values win.
        while outbox is not None and (offset := self._offset) < outbox.end:
            data = outbox.read(offset, READ_BYTES)
            for record in records(data, check=False):
                self._take(record.kind, record.schema, data[record.start : record.end])
            self._offset = offset + len(data)
        return self._values

    def _take(self, kind: int, schema: int, body: bytes) -> None:
        if kind == RecordKind.SCHEMA:
            keys, kinds = decode_schema(body)
            self._layouts[schema] = keys, kinds, row_layout((keys, kinds))
        elif kind == RecordKind.ROW:
            if schema not in self._layouts:
                return  # it was told in a part of the journal that was removed
            keys, kinds, layout = self._layouts[schema]
            for key, letter, value in zip(keys, kinds, layout.unpack(body)[2:], strict=True):
                self._values[key] = bool(value) if letter == "?" else value
        elif kind == RecordKind.MSGPACK_ROW:
            self._values.update(decode_row(body)[2])
        elif kind == RecordKind.SUMMARY:
            change = decode(body, SummaryUpdate)
            self._values.update(change.values)
            for key in change.removed:
                self._values.pop(key, None)

    def __getitem__(self, key: str) -> Any:
        return self._replay()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        del self._replay()[key]
        self._store({}, removed=(key,))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._replay()))

    def __len__(self) -> int:
        return len(self._replay())

    def __repr__(self) -> str:
        return repr(self._replay())

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Copy and pickle as a plain dict: what a checkpoint holds must not open this run again."""
        return dict, (dict(self._replay()),)
