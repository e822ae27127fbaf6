"""A pseudo-terminal with a program on it, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from tests.conftest import PATIENCE

_LINE = re.compile(r"\x1b\[(\d+);1H(.*?)\x1b\[K", re.DOTALL)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def size_of(lines: int, columns: int) -> bytes:
    return struct.pack("HHHH", lines, columns, 0, 0)


class Terminal:
    """Starts a command on a terminal of its own; keys is what it reads, and said all that it wrote."""

    def __init__(self, command: Sequence[str], columns: int = 80, lines: int = 24, **environ: str) -> None:
        self._here, self.there = pty.openpty()
        fcntl.ioctl(self.there, termios.TIOCSWINSZ, size_of(lines, columns))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        self.process = subprocess.Popen(
            command,
            stdin=self.there,
            stdout=self.there,
            stderr=self.there,
            env=environment | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | environ,
            start_new_session=True,
        )
        self._data = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._here)
        os.close(self.there)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.there, termios.TIOCSWINSZ, size_of(lines, columns))

    def press(self, keys: str) -> None:
        os.write(self._here, keys.encode())

    @property
    def said(self) -> str:
        return self._data.decode(errors="replace")

    def screen(self) -> list[str]:
        """Returns the lines that stand there now, without colours."""
        found: dict[int, str] = {}
        for part in self.said.split("\x1b[2J"):
            found = {int(line[1]): _STYLE.sub("", line[2]) for line in _LINE.finditer(part)} or found
        return [found.get(number, "") for number in range(1, max(found, default=0) + 1)]

    def until(self, condition: Callable[[list[str]], bool], what: str, limit_s: float = 60) -> list[str]:
        """Reads what is written until the screen is as it is to be, and returns it."""
        deadline = time.monotonic() + PATIENCE * limit_s
        while not condition(self.screen()):
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE * limit_s:g} s:\n" + "\n".join(
                self.screen()
            )
            self._read(1.0)
        return self.screen()

    def end(self, limit_s: float = 30) -> int:
        """Reads to the end of the program, and returns its exit code."""
        deadline = time.monotonic() + PATIENCE * limit_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.said[-2_000:]
            self._read(0.2)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._here], [], [], wait_s)[0]:
            return False
        self._data += os.read(self._here, 65_536)
        return True
