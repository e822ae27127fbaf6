"""What became of a rank's records, in one line."""

from __future__ import annotations

import dataclasses

from disttrack.records.classes import Dropped, captured_told, receipt_told

__all__ = ["Receipt"]


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
