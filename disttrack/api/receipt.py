"""What became of a rank's records, in one line."""

from __future__ import annotations

import dataclasses

from disttrack.api.recorder import Recorder
from disttrack.records.classes import Dropped, captured_told, receipt_told

__all__ = ["Receipt", "receipt_of"]


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What finish() returns, in records: logged = stored + pending + dropped, always.

    stored: on the writer's disk. pending: in this rank's journal, brought home by the next `disttrack ls`
    on this host. dropped: records that are lost. unreachable: the part of pending that lies
    on nodes that do not answer (a rank's own journal never does). drops: the dropped, by class and reason.
    pending_media: files and media of stored or pending records whose bytes this node has not stored yet.
    captured_drops: what is lost of that which disttrack noted by itself (console text, facts of the host).
    """

    logged: int
    stored: int
    pending: int
    dropped: int
    unreachable: int = 0
    drops: tuple[Dropped, ...] = dataclasses.field(default=(), compare=False)
    pending_media: int = dataclasses.field(default=0, compare=False)
    captured_drops: tuple[Dropped, ...] = dataclasses.field(default=(), compare=False)
    journal: str | None = dataclasses.field(default=None, compare=False)

    def __str__(self) -> str:
        line = receipt_told(self.logged, self.stored, self.pending, self.dropped, self.drops)
        if self.pending_media:
            line += f", the bytes of {self.pending_media:,} media and files pending"
        if (self.pending or self.pending_media) and self.journal:
            line += f" (pending ones are safe in {self.journal}; `disttrack ls` on this host brings them home)"
        return line + captured_told(0, self.captured_drops)


def receipt_of(recorder: Recorder, *, whole: bool) -> Receipt:
    """Return what became of the records so far; whole: the writer has them all."""
    outbox, sender = recorder.outbox, recorder.sender
    acked = sender.acked if sender is not None else None  # before the count: what is logged meanwhile is pending
    counts = recorder.counts  # a writer may have asked meanwhile for what was removed
    if outbox is None:
        return Receipt(
            counts.logged, 0, 0, counts.dropped, drops=recorder.drops, captured_drops=recorder.captured_drops
        )
    pending_media = outbox.spool.waiting
    if whole:
        stored = counts.logged - counts.dropped
    else:
        stored = max(0, outbox.counted(acked) - outbox.lost) if acked is not None else 0
        stored = min(stored, counts.logged - counts.dropped)  # another thread may log between two looks
    pending = counts.logged - counts.dropped - stored
    return Receipt(
        counts.logged,
        stored,
        pending,
        counts.dropped,
        drops=recorder.drops,
        pending_media=pending_media,
        captured_drops=recorder.captured_drops,
        journal=str(outbox.directory) if pending or pending_media else None,
    )
