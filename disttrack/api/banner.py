"""What a run says for people when it begins and when it ends: a line each, by its first rank, on standard error."""

from __future__ import annotations

import io
import os
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from disttrack.api.receipt import Receipt
from disttrack.settings import ROOT_NAME

__all__ = ["Greeting", "begun", "ended"]

JOIN_S = 1.0  # that the last line waits for the first one, which is a write to standard error


class Greeting:
    """Says the first line as soon as the run's id is known, which init does not wait for."""

    def __init__(self, known: threading.Event, line: Callable[[], str | None]) -> None:
        """known: set once the line can be made; line: returns it, or None where this process is not to say it."""
        self._known, self._line = known, line
        self._closed = False
        # Of its own: whoever carries the records must not wait for a standard error that nobody reads.
        self._thread = threading.Thread(target=self._say, name="disttrack-greeting", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say it now or never: the run ends."""
        if not self._known.is_set():
            self._closed = True
        self._thread.join(JOIN_S if not self._closed else 0)

    def _say(self) -> None:
        self._known.wait()
        line = None if self._closed else self._line()
        if line is not None:
            _write(line)


def begun(where: str, name: str, ranks: int, nodes: int, attempt: int, root: Path) -> str:
    """Return the line of a run's beginning; where: project/id."""
    who = f"{ranks:,} ranks" + (f" on {nodes} nodes" if nodes > 1 else "") if ranks > 1 else "1 rank"
    again = f", attempt {attempt}" if attempt else ""
    directory = root.parent
    elsewhere = (
        ""
        if directory == Path(os.environ.get("DISTTRACK_DIR") or ".").absolute()
        else f" --dir {shlex.quote(str(directory))}"
    )
    follow = _plain(f"disttrack watch {shlex.quote(where.rpartition('/')[2])}{elsewhere}")
    return f'disttrack: "{_plain(name)}", {_plain(where)}, {who}{again}, in {_shown(root)}; to follow it: {follow}'


def ended(where: str, exit_code: int, seconds: float, receipt: Receipt) -> str:
    """Return the line of a run's end as its first rank knows it, which waits for no other."""
    how = "finished" if exit_code == 0 else f"failed (exit {exit_code})"
    return f"disttrack: {_plain(where)} {how} after {_duration(seconds)}: {receipt}"


def _plain(text: str) -> str:
    """Return text without what would move a terminal's cursor."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _shown(root: Path) -> str:
    """Return where runs lie as a person here would write it."""
    return f"./{ROOT_NAME}" if root == Path.cwd() / ROOT_NAME else _plain(str(root))


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{seconds:.1f}s"


def _write(line: str) -> None:
    """Write a line from a thread: past Python's stream and its lock, which a fork at this moment would leave held."""
    if sys.stderr is None:
        return
    try:
        fd = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):  # a notebook's, a test's
        print(line, file=sys.stderr)
        return
    try:
        os.write(fd, f"{line}\n".encode(errors="backslashreplace"))
    except OSError:
        pass  # nobody reads it any more, and training need not know
