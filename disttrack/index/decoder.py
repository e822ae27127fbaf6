"""One run's log, frame by frame, into facts and rows: the live tail, and what the indexer stores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from disttrack.environments.files import open_plain
from disttrack.errors import UnsupportedFormat
from disttrack.index.blocks import MemoryBlock, Piece, Schemas, gather
from disttrack.index.facts import Cursor, RunFacts, SegmentFacts, Sighted, SourceFacts
from disttrack.index.printed import Printed
from disttrack.index.stream import Stream
from disttrack.journal.segment import Damage, Frame, FrameKind, check_version, entry_table, frames, read_frames
from disttrack.records.blobs import Blob
from disttrack.records.types import Admission, Alias, Edit, Incarnation, RowSchema, RunEnd, RunHeader, Sighting

__all__ = ["Replaced", "RunDecoder", "SegmentSeen"]

WINDOW_BYTES = 8 << 20  # of frames between two decodings: enough rows of each of 256 ranks for numpy to pay
VALUE_BYTES = 64  # more than a value of a row with a schema takes, its share of the record's head included
_DATA = int(FrameKind.DATA)  # to tell an int from an int takes a third of the time
HEAD_BYTES = 24  # a frame's header, with the checksum over its payload


class SegmentSeen(NamedTuple):
    """A segment file as a directory listing showed it."""

    inode: int
    size: int


class Replaced(Exception):
    """A segment is not the file that was read before, or shorter: what is known of the run is void."""


class RunDecoder:
    """Reads the segments of one run, from where it was left. Rows pile up until they are drained."""

    def __init__(
        self,
        facts: RunFacts | None = None,
        sources: Sequence[tuple[SourceFacts, Cursor]] = (),
        schemas: Sequence[RowSchema] = (),
    ) -> None:
        """Go on from what was known when everything before facts.segments' positions was drained."""
        self.facts = RunFacts() if facts is None else facts
        self.schemas = Schemas(schemas)
        self.stored_schemas = len(schemas)
        self._values = self._bytes = 0  # that piled up
        self.touched: set[int] = set()  # sources that said something since the last drain
        self._pieces: dict[int, list[Piece]] = {}
        self.streams: list[Stream] = []
        self._streams: dict[int, Stream] = {}  # by incarnation
        for source, cursor in sources:
            self._open(source, cursor)

    def _open(self, facts: SourceFacts, cursor: Cursor) -> Stream:
        stream = Stream(len(self.streams), facts, cursor, self.schemas, self._emit)
        self.streams.append(stream)
        self._streams[facts.incarnation] = stream
        return stream

    def _stream(self, incarnation: Incarnation) -> Stream:
        stream = self._streams.get(incarnation)
        if stream is None:
            stream = self._open(SourceFacts(incarnation=incarnation), Cursor())
        self.touched.add(stream.src)
        return stream

    def _emit(self, sid: int, piece: Piece) -> None:
        self._pieces.setdefault(sid, []).append(piece)
        self._values += len(piece.at) * max(1, piece.bits.shape[1])

    @property
    def sources(self) -> tuple[SourceFacts, ...]:
        """What is known of each source, in the order of their numbers."""
        return tuple(stream.facts for stream in self.streams)

    @property
    def weight(self) -> int:
        """How many values piled up; text and nested values weigh as many as their bytes would hold."""
        return max(self._values, self._bytes // VALUE_BYTES)

    @property
    def drained(self) -> bool:
        """Whether nothing was read since the last drain."""
        return not self._pieces and not self.touched

    def drain(self) -> list[tuple[int, MemoryBlock]]:
        """Return the rows that piled up as a sorted block for each schema id, and forget them."""
        blocks = self.tail()
        for src in self.touched:
            self.streams[src].printed.clear()
        self._pieces.clear()
        self.touched.clear()
        self._values = self._bytes = 0
        return blocks

    @property
    def printed(self) -> dict[int, list[Printed]]:
        """The console text that piled up, by source."""
        return {src: list(self.streams[src].printed) for src in sorted(self.touched) if self.streams[src].printed}

    def tail(self) -> list[tuple[int, MemoryBlock]]:
        """Return the rows that piled up as a sorted block for each schema id; copies, so that reading may go on."""
        return [(sid, gather(self.schemas.all[sid], pieces)) for sid, pieces in sorted(self._pieces.items())]

    def read(
        self, log: Path | str, seen: Mapping[int, SegmentSeen], content: Mapping[int, bytes] = MappingProxyType({})
    ) -> Iterator[None]:
        """Read what is new in segments of a log; yield at every point where the decoder may be drained or left.

        seen: the segments by their numbers; content: what they hold, where that is known.
        Raises Replaced, or OSError where a segment cannot be read.
        """
        known = {segment.number: segment for segment in self.facts.segments}
        if known.keys() - seen.keys():
            raise Replaced(log)
        for number in sorted(seen):
            if number not in known:
                known[number] = SegmentFacts(number, seen[number].inode, 0)
                self.facts.segments = [known[each] for each in sorted(known)]
        for number in sorted(seen):
            yield from self._read_segment(f"{log}/{number:06d}.dtl", known[number], seen[number], content.get(number))
            if self.facts.newer is not None:
                return

    def _read_segment(
        self, path: str, segment: SegmentFacts, seen: SegmentSeen, content: bytes | None
    ) -> Iterator[None]:
        if seen.inode != segment.inode or seen.size < segment.position:
            raise Replaced(path)
        if seen.size == segment.size:
            return
        _check_head(path, segment, content)
        size = 0
        for frame in _frames(path, segment.position, content):
            if type(frame) is Frame and frame.kind == _DATA:
                self._take_entries(frame)
                segment.by_writer, segment.over_us = True, None
                size += len(frame.payload)
            else:
                try:
                    self._take(frame, segment, path)
                except UnsupportedFormat as error:
                    self.facts.newer = (path, error.found)
                    break
                size += frame.end - frame.start
            segment.position = frame.end
            if size >= WINDOW_BYTES:
                self._decode(size)
                size = 0
                yield
        self._decode(size)
        segment.size = seen.size
        yield

    def _decode(self, size: int) -> None:
        """Decode what was taken; size: of the frames it lay in."""
        self._bytes += size
        for src in sorted(self.touched):
            self.streams[src].flush()

    def _take(self, frame: Frame | Damage, segment: SegmentFacts, path: str) -> None:
        """Take damage or a frame of the writer's own; raise UnsupportedFormat where a newer disttrack wrote it."""
        if isinstance(frame, Damage):
            self.facts.saw_damage(segment.number, *frame)
            return
        try:
            self._say(frame, segment, path)
        except ValueError as error:  # it is whole, but says nothing
            self.facts.saw_damage(segment.number, frame.start, frame.end, str(error))

    def _take_entries(self, frame: Frame) -> None:
        """Take the entries of a DATA frame: at a row each, half a million of them a second."""
        streams, touched = self._streams, self.touched
        data = frame.payload  # a slice of bytes is a copy, and yet made sooner than one of a memoryview
        size = len(data)
        table, start = entry_table(frame)
        for rank, length, incarnation, last in table:
            end = start + length
            if end > size:
                break
            stream = streams.get(incarnation)
            if stream is None:
                stream = self._stream(Incarnation(incarnation))
            if stream.hinted:
                stream.facts.rank_hint = rank
            if last - length == stream.next:  # nearly always
                waiting = stream.waiting
                if not waiting:
                    touched.add(stream.src)
                waiting.append(data[start:end])
                stream.next = last
            else:
                touched.add(stream.src)
                stream.take(last, data[start:end])
            start = end

    def _say(self, frame: Frame, segment: SegmentFacts, path: str) -> None:
        """Take a frame of the writer's own."""
        facts = self.facts
        if frame.kind == FrameKind.HEADER:
            header = frame.value(RunHeader)
            if facts.header is None or segment.number < facts.header_in:
                facts.header, facts.header_in = header, segment.number
            check_version(header, path)
        elif frame.kind == FrameKind.ADMISSION:
            segment.over_us = None
            admission = frame.value(Admission)
            self._stream(admission.join.incarnation).admit(admission, segment.number)
        elif frame.kind == FrameKind.SIGHTING:
            sighting = frame.value(Sighting)
            if sighting.seen != "ended":
                segment.over_us = None
            seen = Sighted(
                sighting.seen,
                sighting.exit_code,
                sighting.signal,
                sighting.time_us,
                segment.number,
                frame.start,
                sighting.exception,
            )
            self._stream(sighting.incarnation).facts.saw(seen)
        elif frame.kind == FrameKind.EDIT:
            facts.edits.append((segment.number, frame.value(Edit)))
            return
        elif frame.kind == FrameKind.BLOB:
            blob = frame.value(Blob)
            self._stream(blob.incarnation).facts.saw_blob(blob)
            return  # it says nothing of ranks
        elif frame.kind == FrameKind.ALIAS:
            facts.alias_of = frame.value(Alias).of
        elif frame.kind == FrameKind.END:
            segment.over_us = frame.value(RunEnd).time_us
        segment.by_writer |= frame.kind != FrameKind.HEADER


def _check_head(path: str, segment: SegmentFacts, content: bytes | None) -> None:
    """Raise Replaced where another file has taken this one's place, inode and all."""
    if content is not None:
        head = content[:HEAD_BYTES]
    else:
        with os.fdopen(open_plain(path), "rb") as file:
            head = os.pread(file.fileno(), HEAD_BYTES, 0)
    if segment.head and head != segment.head:
        raise Replaced(path)
    segment.head = head if len(head) == HEAD_BYTES else b""


def _frames(path: str, position: int, content: bytes | None) -> Iterator[Frame | Damage]:
    if content is None:
        return read_frames(Path(path), position)
    return frames(lambda size, at: content[at : at + size], position)
