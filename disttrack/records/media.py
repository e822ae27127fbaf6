"""What a value in log() is whose bytes are kept beside its row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

from disttrack.records.blobs import Note

__all__ = ["AddBlob", "Media"]


class AddBlob(Protocol):
    """Puts bytes, or a file as it is now, where blobs wait for their run; returns the number of the new blob."""

    def __call__(self, content: bytes | memoryview | Path, note: Note) -> int: ...


class Media(ABC):
    """A value that a row tells of by a plain dict with a `_type`; its bytes, if there are any, are blobs."""

    @abstractmethod
    def kept(self, add: AddBlob) -> dict[str, object]:
        """Return that dict, once all bytes it speaks of were added; raise Unloggable where this is no such value."""
