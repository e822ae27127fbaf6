"""What a run's ranks printed, line by line."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from disttrack.errors import UsageError
from disttrack.index.console import StoredConsole
from disttrack.index.printed import Printed
from disttrack.index.snapshots import Snapshot
from disttrack.query.members import Member, members
from disttrack.query.reader import Reader

__all__ = ["STREAMS", "ConsoleLine", "Lines", "console_lines", "console_of", "printed_by", "read_console"]

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class ConsoleLine:
    """A line that a rank printed, or where lost_bytes is not 0 a place where more was printed than is kept."""

    rank: int
    attempt: int
    stream: str
    time: float  # unix seconds, of the moment when it was complete
    text: str  # without its end
    lost_bytes: int = 0
    cell: int | None = None  # of the notebook, by its number


def read_console(
    root: Path, run_id: str, rank: int | None = None, stream: str | None = None, tail: int | None = None
) -> list[ConsoleLine]:
    """Return what console_of says of a run; raise RunNotFound, UnsupportedFormat where a newer disttrack wrote it."""
    with Reader(root) as reader:
        return reader.asked(run_id, lambda snapshot: console_of(snapshot, rank, stream, tail))


def console_of(
    snapshot: Snapshot, rank: int | None = None, stream: str | None = None, tail: int | None = None
) -> list[ConsoleLine]:
    """Return what ranks printed, in the order of time; of one rank and stream, of its calls.

    rank, stream: only that of this rank, or of "stdout" or "stderr"; tail: only the last lines, so many.
    Raises UsageError where an argument cannot be used.
    """
    if stream is not None and stream not in STREAMS:
        raise UsageError(f"stream={stream!r:.80} cannot be used", "there is none", f"Use one of {', '.join(STREAMS)}.")
    if tail is not None and tail < 0:
        raise UsageError(f"tail={tail} cannot be used", "it is negative", "Pass zero or more.")
    found = console_lines(snapshot, None if rank is None else {rank}, stream, tail)
    return found if tail is None else found[len(found) - min(tail, len(found)) :]


def console_lines(
    snapshot: Snapshot, ranks: Collection[int] | None, stream: str | None, tail: int | None
) -> list[ConsoleLine]:
    """Return what ranks (None: all) printed, in the order of time; tail: at least so many of the last lines of each."""
    found: list[ConsoleLine] = []
    for member in members(snapshot.record):
        if ranks is None or member.rank in ranks:
            lines = Lines()
            found += lines.whole(member, printed_by(snapshot.console, member.src, stream, tail))
            found += lines.rest(member)
    found.sort(key=lambda line: line.time)  # stable: lines of one rank keep their order
    return found


def printed_by(console: StoredConsole, src: int, stream: str | None, tail: int | None) -> list[Printed]:
    """Return what a source printed; where only its last lines are wanted, from a piece on that has them."""
    found: deque[Sequence[Printed]] = deque()
    ends = 0
    for piece in console.newest_first(src):
        mine = [text for text in piece if stream is None or text.stream == stream]
        found.appendleft(mine)
        ends += sum(text.text.count("\n") for text in mine)
        if tail is not None and ends > tail:
            break
    return sorted(text for piece in found for text in piece)


class Lines:
    """Makes lines of what one source printed, however it comes in pieces: a line is told once it is complete."""

    def __init__(self) -> None:
        self._parts: dict[str, Printed] = {}  # by stream: a line that is not complete

    def whole(self, member: Member, texts: Iterable[Printed]) -> Iterator[ConsoleLine]:
        """Yield the lines that these texts, behind those before, complete.

        A text that begins with a carriage return replaces the line that was not complete.
        """
        for text in texts:
            before = self._parts.pop(text.stream, None)
            part = before.text if before is not None else ""
            if before is not None and (text.lost_bytes or text.cell != before.cell):
                yield _line(member, before, part)
                part = ""
            if text.lost_bytes:
                yield _line(member, text, "", text.lost_bytes)
            if text.text.startswith("\r"):
                part = ""
            *whole, rest = (part + text.text.removeprefix("\r")).split("\n")
            yield from (_line(member, text, each) for each in whole)
            if rest:
                self._parts[text.stream] = text._replace(text=rest)

    def rest(self, member: Member) -> Iterator[ConsoleLine]:
        """Yield what is not complete as lines, and forget it: nothing more is to come, or is waited for."""
        for printed in self._parts.values():
            yield _line(member, printed, printed.text)
        self._parts.clear()


def _line(member: Member, printed: Printed, text: str, lost_bytes: int = 0) -> ConsoleLine:
    time = printed.time_us / 1e6
    return ConsoleLine(member.rank, member.attempt, printed.stream, time, text, lost_bytes, printed.cell)
