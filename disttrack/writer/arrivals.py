"""The writer's side of blobs that come from other nodes: pieces in, one file each, and a word when it is stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from disttrack.records.types import Incarnation
from disttrack.transport.protocol import Kept, Offer, Piece, Wanted
from disttrack.transport.receiver import Peer, Receiver
from disttrack.writer.blobs import Arrival
from disttrack.writer.ingest import RunIngest
from disttrack.writer.roster import Source

__all__ = ["Arrivals"]

LOOK_S = 0.02  # whether a file is on the disk
SILENT_S = 60.0  # without a piece: its agent has gone, and offers it again if it comes back


class _Coming(NamedTuple):
    """A blob of which pieces come."""

    run: RunIngest
    source: Source
    arrival: Arrival


class _Whole(NamedTuple):
    """A blob that is here and is being brought to the disk."""

    peer: Peer
    coming: _Coming
    stored: Future[bool]


class Arrivals:
    """What comes from other nodes, one blob at a time from each of their agents."""

    def __init__(self, receiver: Receiver, complain: Callable[[str], None]) -> None:
        """complain: says once what goes wrong."""
        self._receiver = receiver
        self._complain = complain
        self._coming: dict[Incarnation, _Coming] = {}
        self._heard: dict[Incarnation, float] = {}
        self._whole: dict[Incarnation, _Whole] = {}
        self._thread: ThreadPoolExecutor | None = None

    def take(self, peer: Peer, message: Offer | Piece, run: RunIngest, source: Source) -> None:
        """Take what an agent says of a blob; where the disk takes nothing, it says it again after a while."""
        incarnation = message.incarnation
        self._heard[incarnation] = time.monotonic()
        if incarnation in self._whole:
            return  # said twice: the answer comes
        try:
            coming = self._offered(message, run, source) if isinstance(message, Offer) else self._piece(message)
        except OSError as error:
            self._complain(f"blobs of run {run.header.run_id} cannot be stored now, and wait: {error}")
            self._drop(incarnation)
            return
        if coming is None:
            return
        arrival = coming.arrival
        if arrival.is_whole:
            del self._coming[incarnation]
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "disttrack-arrivals")
            self._whole[incarnation] = _Whole(peer, coming, self._thread.submit(arrival.store))
        else:
            self._receiver.send(peer, Wanted(incarnation, arrival.blob.blob, arrival.offset))

    def _offered(self, offer: Offer, run: RunIngest, source: Source) -> _Coming:
        known = self._coming.get(offer.incarnation)
        if known is not None and known.arrival.blob == offer.blob and known.run is run:
            return known  # offered again: it goes on where it was
        self._drop(offer.incarnation)
        coming = self._coming[offer.incarnation] = _Coming(run, source, Arrival(run.directory, offer.blob))
        return coming

    def _piece(self, piece: Piece) -> _Coming | None:
        coming = self._coming.get(piece.incarnation)
        if coming is None or coming.arrival.blob.blob != piece.blob:
            return None  # of another writer's time: its agent offers it again
        coming.arrival.take(piece.offset, piece.data)
        return coming

    def _drop(self, incarnation: Incarnation) -> None:
        coming = self._coming.pop(incarnation, None)
        if coming is not None:
            coming.arrival.give_up()

    def waits_for(self, run: RunIngest) -> bool:
        """Say whether a blob of a run is on its way."""
        return any(whole.coming.run is run for whole in self._whole.values())

    @property
    def due_s(self) -> float:
        """The seconds until work is to be called."""
        return LOOK_S if self._whole else 60.0

    def work(self) -> bool:
        """Say what is on the disk, and tell their agents; return whether there was something."""
        done = [incarnation for incarnation, whole in self._whole.items() if whole.stored.done()]
        for incarnation in done:
            self._say(incarnation, self._whole.pop(incarnation))
        now = time.monotonic()
        for incarnation in [each for each in self._coming if now - self._heard[each] > SILENT_S]:
            self._drop(incarnation)
        return bool(done)

    def _say(self, incarnation: Incarnation, whole: _Whole) -> None:
        run, source, arrival = whole.coming
        try:
            if not whole.stored.result():
                self._complain(f"a blob of run {run.header.run_id} came damaged, and comes again")
                return
            run.say_blobs(source, [arrival.blob])
        except OSError as error:
            self._complain(f"blobs of run {run.header.run_id} cannot be stored now, and wait: {error}")
            return
        self._receiver.send(whole.peer, Kept(incarnation, arrival.blob.blob))

    def close(self) -> None:
        """Forget what has not come whole."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        for incarnation in list(self._coming):
            self._drop(incarnation)
