"""A terminal as a screen: its other page, keys as they are pressed, and only the lines that changed are written."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["Screen", "Terminated", "screen"]

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"  # other page, no cursor, no wrapping
_CLEAR_LINE, _CLEAR = "\x1b[K", "\x1b[2J"
_KEYS = {b"\x1b[Z": "back-tab", b"\t": "tab", b"\x1b": "escape", b" ": "space"}


class Terminated(Exception):
    """Somebody wants this process to end: SIGTERM, or the terminal has gone."""


class Screen:
    """What is on a terminal, line by line: over a slow connection only what changed is sent."""

    def __init__(self, out: int, keys: int | None) -> None:
        """out, keys: descriptors to write to, and to read keys from; None: there is no keyboard."""
        self._out, self._keys = out, keys
        self._shown: list[str] = []
        self._size = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """How many columns and lines there are now."""
        found = os.get_terminal_size(self._out)
        return (found.columns or 80, found.lines or 24)

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines from the top on."""
        size = self.size
        wanted = list(lines[: size[1]])
        parts: list[str] = []
        if size != self._size:
            parts.append(_CLEAR)
            self._shown, self._size = [], size
        for number, line in enumerate(wanted + [""] * (len(self._shown) - len(wanted))):
            if number >= len(self._shown) or self._shown[number] != line:
                parts.append(f"\x1b[{number + 1};1H{line}{_CLEAR_LINE}")
        self._shown = wanted
        if parts:
            self._write("".join(parts))

    def forget(self) -> None:
        """Draw all anew next time: something else wrote to the terminal."""
        self._size = (0, 0)

    def key(self, wait_s: float) -> str | None:
        """Return the key that is pressed within so many seconds; None where none is."""
        if self._keys is None:
            select.select([], [], [], wait_s)
            return None
        ready, _, _ = select.select([self._keys], [], [], wait_s)
        if not ready:
            return None
        data = os.read(self._keys, 64)
        if not data:
            raise Terminated
        return _KEYS.get(data) or data[:1].decode("ascii", "replace")

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "utf-8", "replace")
        while data:
            data = data[os.write(self._out, data) :]


@contextmanager
def screen() -> Generator[Screen]:
    """Take this process's terminal for a screen, and give it back as it was, however that ends."""
    out = sys.stdout.fileno()
    keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    before = termios.tcgetattr(keys) if keys is not None else None
    found = Screen(out, keys)

    def enter() -> None:
        if keys is not None:
            tty.setcbreak(keys)
        os.write(out, _ENTER.encode())

    def leave() -> None:
        os.write(out, _LEAVE.encode())
        if keys is not None and before is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)

    def stop(_number: int, _frame: FrameType | None) -> None:  # Ctrl-Z
        leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        enter()
        found.forget()

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    handlers = {signal.SIGTSTP: stop, signal.SIGTERM: terminate, signal.SIGHUP: terminate}
    were = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        enter()
        yield found
    finally:
        try:
            leave()
        except OSError:
            pass  # the terminal has gone
        for number, handler in were.items():
            signal.signal(number, handler)
