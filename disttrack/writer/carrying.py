"""An agent's side of blobs: encoded and hashed here, then sent to the writer piece by piece, one blob at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from disttrack.journal.spool import Spooled
from disttrack.records.blobs import Blob
from disttrack.records.types import Incarnation, Join
from disttrack.transport.protocol import Kept, Message, Offer, Piece, Waiting, Wanted
from disttrack.writer.blobs import has_left, left_in, told
from disttrack.writer.encoding import Content, Unreadable, content_of, read_piece

__all__ = ["Carrier"]

PIECE_BYTES = 256 << 10  # one is under way at a time, so a record waits for no more than this
AGAIN_S = 4.0  # without an answer: what was said is lost, or the disk takes nothing
LOOK_S = 0.02  # whether the thread is done
BEAT_S = 0.5


class _Load:
    """The blob that is under way."""

    def __init__(self, join: Join, blob: Spooled, content: Future[Content]) -> None:
        self.join = join
        self.blob = blob
        self.content = content
        self.offer: Offer | None = None  # once it is encoded
        self.said = 0.0  # when we said something of it last, or were answered


class Carrier:
    """Takes the blobs of this node's incarnations to the writer, while there is a link."""

    def __init__(self, send: Callable[[Message], bool]) -> None:
        """send: says a message to the writer, and whether it was taken."""
        self._send = send
        self._to_do: dict[Incarnation, Join] = {}
        self._welcomed: set[Incarnation] = set()  # on this link
        self._load: _Load | None = None
        self._next: deque[tuple[Join, Spooled]] = deque()
        self._not_before = 0.0
        self._thread: ThreadPoolExecutor | None = None

    def look(self, join: Join) -> None:
        """Note that there may be something in the spool of an incarnation."""
        self._to_do[join.incarnation] = join
        if join.incarnation in self._welcomed:
            self._tell(join)

    def welcome(self, join: Join) -> None:
        """Note that the writer knows an incarnation on this link; tell it what waits here."""
        self._welcomed.add(join.incarnation)
        self.look(join)

    def broke(self) -> None:
        """Forget the link: all is said again on the next."""
        self._welcomed.clear()
        if self._load is not None:
            self._load.said = 0.0

    def _tell(self, join: Join) -> None:
        self._send(Waiting(incarnation=join.incarnation, blobs=int(has_left(join.journal))))

    @property
    def busy(self) -> bool:
        """Whether something waits here; looks at the disk."""
        return self._load is not None or any(has_left(join.journal) for join in self._to_do.values())

    @property
    def due_s(self) -> float:
        """The seconds until work is to be called."""
        if self._load is None:
            return BEAT_S if self._to_do else 60.0
        return BEAT_S if self._load.offer is not None else LOOK_S

    def work(self, now: float) -> None:
        """Begin with the next blob, offer it once it is encoded, and again where nobody answered."""
        if self._load is None and now >= self._not_before:
            self._begin()
        load = self._load
        if load is None or load.join.incarnation not in self._welcomed:
            return
        if load.offer is None and load.content.done():
            try:
                load.offer = Offer(incarnation=load.join.incarnation, blob=_told(load))
            except OSError:
                self._load, self._not_before = None, now + AGAIN_S
                self._next.clear()
                raise
        if load.offer is not None and now - load.said > AGAIN_S and self._send(load.offer):
            load.said = now

    def _begin(self) -> None:
        for incarnation, join in list(self._to_do.items()):
            if self._next:
                break
            if incarnation in self._welcomed:
                self._next.extend((join, blob) for blob in left_in(join.journal))
                if not self._next:
                    del self._to_do[incarnation]
                    self._tell(join)
        if self._next:
            join, blob = self._next.popleft()
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "disttrack-blobs")
            self._load = _Load(join, blob, self._thread.submit(content_of, blob))

    def take(self, message: Wanted | Kept) -> None:
        """Take the writer's word on the blob that is under way."""
        load = self._load
        if load is None or load.offer is None:
            return
        if (message.incarnation, message.blob) != (load.join.incarnation, load.blob.number):
            return
        load.said = time.monotonic()
        if isinstance(message, Wanted):
            piece = read_piece(load.content.result(), message.offset, PIECE_BYTES)
            if not piece or not self._send(Piece(message.incarnation, message.blob, message.offset, piece)):
                load.said = 0.0  # offered again at once
            return
        load.blob.remove()
        self._load = None
        self._begin()

    def close(self) -> None:
        """Stop; what was not kept stays in its spool."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)


def _told(load: _Load) -> Blob:
    try:
        return told(load.join.incarnation, load.blob, load.content.result())
    except Unreadable as why:
        note = load.blob.note
        return Blob(incarnation=load.join.incarnation, blob=load.blob.number, path=note.path, lost=str(why))
