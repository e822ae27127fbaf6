"""Runs things side by side and waits so long and no longer: a dead file server or name server answers nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

__all__ = ["Gathered", "gather"]

_Item = TypeVar("_Item")


class Gathered(Generic[_Item]):
    """What one of several sources gave within the time it had. error: what ended it; done: it came to its end."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.error: Exception | None = None
        self.done = False

    def fill(self, source: Callable[[], Iterable[_Item]]) -> None:
        """Take all that a source gives."""
        try:
            for item in source():
                self.items.append(item)
        except Exception as error:  # handed to whoever gathers; raised in this thread, nobody would see it
            self.error = error
        self.done = True


def gather(sources: Sequence[Callable[[], Iterable[_Item]]], limit_s: float) -> list[Gathered[_Item]]:
    """Return what each source gave within limit_s. Who is not done by then is left behind, and holds up no exit."""
    gathered: list[Gathered[_Item]] = [Gathered() for _ in sources]
    threads = [
        threading.Thread(target=one.fill, args=(source,), daemon=True)
        for one, source in zip(gathered, sources, strict=True)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return gathered
