"""One incarnation's journal bytes, in whatever order they arrive: its facts, and its rows as pieces.

Runs of rows that share a schema are read with numpy; what lies between them record by record.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from disttrack.index.blocks import MIXED, Piece, Schemas, kind_letter, piece_of
from disttrack.index.chunks import Ints
from disttrack.index.facts import Cursor, SourceFacts
from disttrack.index.printed import Printed, printed_of
from disttrack.index.statements import take_statement
from disttrack.records.codec import HEADER, Record, decode, decode_row, decode_schema, is_removed, records
from disttrack.records.payloads import CAPTURED_KINDS, USER_KINDS, ConsoleText, RecordKind
from disttrack.records.types import Admission

__all__ = ["Stream"]

MIN_RUN = 8  # rows alike from here on, below which numpy costs more than it saves

KINDS = np.array([int(kind) for kind in RecordKind], np.uint8)
SEARCH_BYTES = 64 << 10  # looked through at a time for the record after a damaged one

REMOVED = "no record is left here: it was stored, the journal made room for newer ones, and then that log was lost"

KIND_AT = 8  # within a record's header
ROWS = frozenset({bytes([RecordKind.ROW]), bytes([RecordKind.MSGPACK_ROW])})

_FLAGS = 0xFF00  # within the header's last word: kind, flags, schema
_Mixed = dict[int, list[tuple[int, int, int, tuple[object, ...]]]]
"""Rows of kinds told value by value, by the run's schema: offset, step, time in µs, values."""


class Stream:
    """Decodes the bytes of one source of a run. Rows go to emit(schema id of the run, piece)."""

    def __init__(
        self, src: int, facts: SourceFacts, cursor: Cursor, schemas: Schemas, emit: Callable[[int, Piece], None]
    ) -> None:
        self.src, self.facts, self.cursor = src, facts, cursor
        self._schemas = schemas
        self._emit = emit
        self.waiting: list[bytes | memoryview] = []  # bytes that end at next: not decoded, not in the cover yet
        self.next = facts.cover.end
        self.printed: list[Printed] = []  # since the last drain
        self.hinted = facts.join is None  # its rank is but the one that its entries name

    def take(self, end: int, data: bytes | memoryview) -> None:
        """Take those bytes of [end - len(data), end) that were not taken yet."""
        begin = end - len(data)
        if begin == self.next:
            self.waiting.append(data)
            self.next = end
            return
        self.flush()  # what waits may turn out to be damaged, and this the better copy of it
        if begin < 0:
            self.facts.saw_damage(0, end, "an entry that begins before its journal")
            return
        for low, high in self.facts.cover.missing(begin, end):
            self._decode(bytes(data[low - begin : high - begin]), low)

    def flush(self) -> None:
        """Decode what was taken."""
        if self.waiting:
            data = b"".join(self.waiting)
            self.waiting.clear()
            self._decode(data, self.next - len(data))

    def admit(self, admission: Admission, segment: int) -> None:
        """Note the writer's word on this source; the one in the lowest segment counts."""
        facts = self.facts
        if facts.admitted_in is None or segment < facts.admitted_in:
            facts.admitted_in = segment
            facts.attempt, facts.role, facts.orphan = admission.attempt, admission.role, admission.orphan
        newness = (admission.join.rank.settled, segment)
        if newness > facts.join_newness:
            facts.join, facts.join_newness = admission.join, newness
            self.hinted = False
        facts.saw_time(admission.join.time_us)

    def _decode(self, data: bytes, begin: int) -> None:
        """Decode records that begin at offset begin, and cover them; what is no record is not covered but counted."""
        self.facts.cover.add(begin, begin + len(data))
        position, span = 0, 1
        while position < len(data):
            count = _alike(data, position)
            if count >= MIN_RUN:
                position, span = self._take_run(data, begin, position, count), 1
                continue
            # Nothing alike here: go on record by record, each time for twice as long before looking again; but
            # what is no row may well be followed by rows alike.
            is_row = data[position + KIND_AT : position + KIND_AT + 1] in ROWS
            ahead = itertools.islice(records(memoryview(data), position), span if is_row else 1)
            whole = self._take_each(data, begin, ahead)
            span = 2 * span if is_row else span
            if whole is not None:
                position = whole
                continue
            resume = _next_record(data, position + 1)
            self._lose(begin + position, begin + resume, removed=is_removed(data[position:resume]))
            position = resume
        self.next = self.facts.cover.end

    def _take_run(self, data: bytes, begin: int, position: int, count: int) -> int:
        """Take up to count rows with one header, as far as their checksums hold; return where they end."""
        length, _, _, _, schema = HEADER.unpack_from(data, position)
        stride = HEADER.size + length
        whole = _checked(data, position, count, stride)
        if whole:
            body = np.ndarray((whole, length // 8), "<i8", data, position + HEADER.size, (stride, 8))
            at = begin + position + stride * np.arange(whole, dtype=np.int64)
            self.facts.stored += whole
            self.facts.rows += whole
            self._rows(schema, at, np.ascontiguousarray(body))
        position += whole * stride
        if whole == count:
            return position
        resume = _next_record(data, position + 1)
        self._lose(begin + position, begin + resume)
        return resume

    def _lose(self, start: int, end: int, *, removed: bool = False) -> None:
        self.facts.cover.lose(start, end)
        why = REMOVED if removed else "no record begins here, or its checksum is wrong"
        self.facts.saw_damage(start, end, why)

    def _take_each(self, data: bytes, begin: int, found: Iterable[Record]) -> int | None:
        """Take records one by one; return where the last of them ends, or None where there was none."""
        end = None
        plain: dict[tuple[int, int], list[Record]] = {}  # rows by schema and length
        mixed: _Mixed = {}
        for record in found:
            end = record.end
            if record.kind in USER_KINDS:
                self.facts.stored += 1
            elif record.kind in CAPTURED_KINDS:
                self.facts.captured += 1
            if record.kind == RecordKind.ROW:
                plain.setdefault((record.schema, record.end - record.start), []).append(record)
                continue
            try:
                self._take(record.kind, record.schema, data[record.start : end], begin + _start(record), mixed)
            except ValueError as error:  # it is whole, but says nothing
                self.facts.saw_damage(begin + _start(record), begin + end, str(error))
        for (schema, length), rows in plain.items():
            self.facts.rows += len(rows)
            if length < 24 or length % 8:
                for row in rows:
                    self.facts.saw_damage(begin + _start(row), begin + row.end, f"a row of {length} bytes")
                continue
            body = np.frombuffer(b"".join([data[row.start : row.end] for row in rows]), "<i8").reshape(len(rows), -1)
            self._rows(schema, begin + np.array([_start(row) for row in rows], np.int64), body)
        for sid, taken in mixed.items():
            self._finish(sid, piece_of(self.src, self._schemas.all[sid][1], taken))
        return end

    def _take(self, kind: int, schema: int, body: bytes, at: int, mixed: _Mixed) -> None:
        """Take one record that is no ROW; raise ValueError where it says nothing."""
        facts = self.facts
        if kind == RecordKind.MSGPACK_ROW:
            facts.rows += 1
            step, time_us, values = decode_row(body)
            self._mixed_row(step, time_us, values, at, mixed)
        elif kind == RecordKind.SCHEMA:
            self._learn(schema, *decode_schema(body))
        elif kind == RecordKind.CONSOLE:
            self.printed.append(printed_of(at, decode(body, ConsoleText)))
        else:
            take_statement(facts, kind, body, at)

    def _learn(self, number: int, keys: tuple[str, ...], kinds: str) -> None:
        """Note what the rows of a schema hold, and read those that waited for it."""
        if len(set(keys)) < len(keys):
            raise ValueError("a schema names a key twice")
        if number in self.cursor.schemas:
            return  # repeated
        self.cursor.schemas[number] = self._schemas.sid((keys, kinds))
        mine = [orphan for orphan in self.cursor.orphans if orphan[0] == number]
        if mine:
            self.cursor.orphans = [orphan for orphan in self.cursor.orphans if orphan[0] != number]
            whole = [orphan for orphan in mine if len(orphan[2]) == 16 + 8 * len(keys)]
            for _, at, row in mine:
                if len(row) != 16 + 8 * len(keys):
                    self._misfit(at, len(row), keys)
            if whole:
                body = np.frombuffer(b"".join([row for _, _, row in whole]), "<i8").reshape(len(whole), -1)
                self._rows(number, np.array([at for _, at, _ in whole], np.int64), body)

    def _rows(self, schema: int, at: Ints, body: Ints) -> None:
        """Take ROWs of one schema; body: [rows, 2 + keys] step, time in µs, values."""
        sid = self.cursor.schemas.get(schema)
        if sid is None:
            self.cursor.orphans += [(schema, int(where), row.tobytes()) for where, row in zip(at, body, strict=True)]
        elif body.shape[1] != 2 + len(self._schemas.all[sid][0]):
            for where in at.tolist():
                self._misfit(where, 8 * body.shape[1], self._schemas.all[sid][0])
        else:
            self._finish(sid, Piece(self.src, at, body[:, 0], body[:, 1], body[:, 2:], {}))

    def _misfit(self, at: int, length: int, keys: Sequence[str]) -> None:
        why = f"a row of {length} bytes, of a schema of {len(keys)} keys"
        self.facts.saw_damage(at, at + HEADER.size + length, why)

    def _mixed_row(self, step: int, time_us: int, values: dict[str, object], at: int, mixed: _Mixed) -> None:
        if not all(-(2**63) <= number < 2**63 for number in (step, time_us)):
            raise ValueError("a step or time beyond 64 bits")
        self.facts.remember(values.keys(), values.values(), at)
        sid = self._schemas.mixed_sid((tuple(values), "".join(map(kind_letter, values.values()))))
        if sid is None:
            mixed.setdefault(self._schemas.sid(MIXED), []).append((at, step, time_us, (values,)))
        else:
            mixed.setdefault(sid, []).append((at, step, time_us, tuple(values.values())))

    def _finish(self, sid: int, piece: Piece) -> None:
        """Hand a piece on, and note what its rows say about the source."""
        facts = self.facts
        first = int(piece.at.argmin())
        facts.saw_steps(int(piece.step.min()), int(piece.step.max()), int(piece.step[first]), int(piece.at[first]))
        facts.saw_time(int(piece.time_us.max()))
        if not piece.others:  # mixed rows were remembered one by one
            keys, kinds = self._schemas.all[sid]
            facts.remember(keys, _values(kinds, piece.bits[-1]), int(piece.at[-1]))
        self._emit(sid, piece)


def _start(record: Record) -> int:
    return record.start - HEADER.size


def _values(kinds: str, bits: Ints) -> Sequence[object]:
    """Return one row's values; bits: [keys]."""
    ints: list[int] = bits.tolist()
    floats: list[float] = np.ascontiguousarray(bits).view(np.float64).tolist()
    return [
        floats[index] if kind == "d" else ints[index] != 0 if kind == "?" else ints[index]
        for index, kind in enumerate(kinds)
    ]


def _alike(data: bytes, position: int) -> int:
    """Return how many ROWs from position on have the header of the first, its checksum and flags aside.

    Looks ahead by 16 times as far each time: a look over all the rest at each change of schema would be quadratic.
    """
    if len(data) - position < HEADER.size:
        return 0
    length, _, kind, _, _ = HEADER.unpack_from(data, position)
    stride = HEADER.size + length
    most = (len(data) - position) // stride
    if kind != RecordKind.ROW or length < 24 or length % 8 or most < MIN_RUN:
        return 0
    words = np.ndarray((most, 3), "<u4", data, position, (stride, 4))
    mask = np.uint32(0xFFFFFFFF ^ _FLAGS)
    tail = words[0, 2] & mask
    known, ahead = 0, MIN_RUN
    while known < most:
        part = words[known:ahead]
        same = (part[:, 0] == length) & (part[:, 2] & mask == tail)
        if not same.all():
            return known + int(same.argmin())
        known, ahead = known + len(part), 16 * ahead
    return int(most)


def _checked(data: bytes, position: int, count: int, stride: int) -> int:
    """Return how many of count records of equal length have the right checksum, from the first on."""
    view, crc32, length = memoryview(data), zlib.crc32, stride - HEADER.size
    words = np.ndarray((count, 3), "<u4", data, position, (stride, 4))
    seeds = {tail: crc32(struct.pack("<II", length, tail)) for tail in set(words[:, 2].tolist())}
    bodies = range(position + HEADER.size, position + count * stride, stride)
    if len(seeds) == 1:
        seed = seeds.popitem()[1]
        found = [crc32(view[body : body + length], seed) for body in bodies]
    else:
        found = [
            crc32(view[body : body + length], seeds[tail])
            for body, tail in zip(bodies, words[:, 2].tolist(), strict=True)
        ]
    wanted: list[int] = words[:, 1].tolist()
    if found == wanted:
        return count
    return next(index for index, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other)


def _next_record(data: bytes, position: int) -> int:
    """Return where the next whole record begins, or the end of data."""
    view, last = memoryview(data), len(data) - HEADER.size
    while position <= last:
        n = min(last + 1 - position, SEARCH_BYTES)
        lengths = np.ndarray((n,), "<u4", data, position, (1,))
        fits = lengths <= np.arange(last - position, last - position - n, -1)
        known = np.isin(np.frombuffer(data, np.uint8, n, position + KIND_AT), KINDS)
        candidates: list[int] = (position + np.flatnonzero(fits & known)).tolist()
        for candidate in candidates:
            if next(records(view, candidate), None) is not None:
                return candidate
        position += n
    return len(data)
