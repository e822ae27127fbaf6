"""Copies of what a process prints: a write goes to the real sys.stdout or sys.stderr first, and never waits for us."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Literal

__all__ = ["StreamName", "Taker", "tap", "untap"]

StreamName = Literal["stdout", "stderr"]
Taker = Callable[[StreamName, str], None]
"""Takes a copy of a text. It is called by whoever prints, at any time: it must not wait, print or raise."""

_takers: list[Taker] = []  # the last one gets the text: of several runs in one process, that is the latest


def tap(taker: Taker) -> list[StreamName]:
    """Have a taker get what is printed from here on; return the streams of which that is possible.

    The streams stay the objects they are, so that whoever holds one of them already (a logging handler) is heard, too,
    and isatty, fileno, encoding, buffer and all else are their own: only their `write` is another one.
    """
    _takers.append(taker)
    names: tuple[StreamName, ...] = ("stdout", "stderr")
    return [name for name in names if _tap_stream(name)]


def untap(taker: Taker) -> None:
    """Let a taker go; without any left the streams get back their own `write`, where nobody has wrapped it since."""
    if taker in _takers:
        _takers.remove(taker)
    if not _takers:
        for stream in (sys.stdout, sys.stderr):
            mine = getattr(stream, "__dict__", {}).get("write")
            if isinstance(mine, _Write):
                mine.let_go(stream)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_takers.clear)  # they are the parent's, and their threads are not here


class _Write:
    """Stands for a stream's `write`."""

    def __init__(self, name: StreamName, stream: Any) -> None:  # noqa: ANN401 - anything that has a write
        self._name: StreamName = name
        self._had = stream.__dict__.get("write")  # somebody else's, on this very object
        self._real = stream.write

    def __call__(self, text: str, /) -> int:
        written: int = self._real(text)  # what this raises is for who prints
        if _takers:
            _takers[-1](self._name, text)
        return written

    def let_go(self, stream: Any) -> None:  # noqa: ANN401
        if self._had is None:
            del stream.write
        else:
            stream.write = self._had


def _tap_stream(name: StreamName) -> bool:
    stream = getattr(sys, name)
    if stream is None or not hasattr(stream, "write"):  # a process without a console
        return False
    if isinstance(getattr(stream, "__dict__", {}).get("write"), _Write):
        return True
    try:
        stream.write = _Write(name, stream)
    except (AttributeError, TypeError):  # an object that takes no attributes
        return False
    return True
