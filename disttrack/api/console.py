"""What a rank prints, into its journal: taken without waiting, and written down a moment later by a thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from disttrack.capture.console import StreamName, tap, untap
from disttrack.capture.lines import LineEditor
from disttrack.records.payloads import ConsoleText
from disttrack.records.secrets import redacted_text
from disttrack.records.values import text as plain_text

__all__ = ["Budget", "Console", "ConsoleWriter"]

FLUSH_S = 0.2
PARTIAL_S = 1.0  # after which a line without an end is shown as it is
STATE_S = 10.0  # between two states of a line that changes all the time, as a progress bar's
END_WAIT_S = 2.0
MAX_WAITING = 1 << 20  # characters that wait for the thread; then the newest TAIL_TEXTS only
TAIL_TEXTS = 256
RATE_BYTES = 64 << 10  # a second, of both streams
BURST_BYTES = 4 * RATE_BYTES
TOTAL_BYTES = 64 << 20  # of a rank
TAIL_BYTES = 16 << 10
ENDS_BYTES = 1 << 20  # of the total, kept for what is newest once the rest is used
REDACT_BYTES = 4 << 10  # searched at a time: the interpreter is not let go meanwhile (1 ms)
RECORD_BYTES = 16 << 10  # of one record: whoever logs meanwhile waits no longer than it takes to append that

_log = logging.getLogger("disttrack")


class Budget:
    """How much of what is printed is kept: RATE_BYTES a second, TOTAL_BYTES in all, then the newest part at times."""

    def __init__(self, now_s: float) -> None:
        self._tokens, self._at_s = float(BURST_BYTES), now_s
        self._kept = 0
        self._tail_at_s, self._tail_every_s = 0.0, 60.0

    def room(self, now_s: float, *, final: bool = False) -> int:
        """Return how many bytes may be kept now."""
        self._tokens = min(BURST_BYTES, self._tokens + (now_s - self._at_s) * RATE_BYTES)
        self._at_s = now_s
        left = TOTAL_BYTES - ENDS_BYTES - self._kept
        if left > 0:
            return int(min(self._tokens, left))
        if not final and (now_s < self._tail_at_s or self._kept + 2 * TAIL_BYTES > TOTAL_BYTES):
            return 0
        self._tail_at_s = now_s + self._tail_every_s
        self._tail_every_s = min(2 * self._tail_every_s, 3600.0)
        return min(TAIL_BYTES, TOTAL_BYTES - self._kept)

    def spend(self, size: int) -> None:
        """Note that so many bytes are kept."""
        self._tokens -= size
        self._kept += size


class ConsoleWriter:
    """Edits and limits one stream's text, and says it as records. Used by one thread."""

    def __init__(self, stream: StreamName, say: Callable[[ConsoleText], None], budget: Budget, *, redact: bool) -> None:
        self._stream: StreamName = stream
        self._say, self._budget, self._redact = say, budget, redact
        self._editor = LineEditor()
        self._changed_s = self._shown_s = 0.0
        self._is_shown = True  # the line without an end
        self._tail, self._lost = b"", 0  # that there was no room for

    def feed(self, text: str, now_s: float, lost_bytes: int = 0) -> None:
        """Take text; lost_bytes: of the stream, before it."""
        self._lost += lost_bytes
        if text:
            self._changed_s, self._is_shown = now_s, False
            self._keep(self._editor.feed(plain_text(text)), now_s)

    def tick(self, now_s: float) -> bool:
        """Show a line without an end where it is time to; say whether there is something that waits for its time."""
        if not self._is_shown and (now_s - self._changed_s >= PARTIAL_S or now_s - self._shown_s >= STATE_S):
            self._is_shown, self._shown_s = True, now_s
            self._keep(self._editor.partial(), now_s)
        return not self._is_shown or bool(self._tail) or bool(self._lost)

    def finish(self, now_s: float) -> None:
        """Say what is left."""
        self._keep(self._editor.rest(), now_s, final=True)

    def _keep(self, text: str, now_s: float, *, final: bool = False) -> None:
        if not text and not ((self._tail or self._lost) and final):
            return
        data = self._tail + text.encode()
        room = self._budget.room(now_s, final=final)
        if len(data) <= room:
            self._write(data)
        elif room > RECORD_BYTES and not self._lost:
            head = _whole_lines(data[: room // 2])
            self._write(head)
            tail = _from_line(data[-(room // 2) :])
            self._lost = len(data) - len(head) - len(tail)
            self._write(tail)
        elif room:
            tail = _from_line(data[-room:])
            self._lost += len(data) - len(tail)
            self._write(tail)
        else:
            self._tail = _from_line(data[-TAIL_BYTES:])
            self._lost += len(data) - len(self._tail)

    def _write(self, data: bytes) -> None:
        self._budget.spend(len(data))
        time_us = time.time_ns() // 1000
        lost, self._lost, self._tail = self._lost, 0, b""
        for piece in _pieces(data, RECORD_BYTES) or [b""]:
            text = "".join(map(self._shown, _pieces(piece, REDACT_BYTES)))
            self._say(ConsoleText(stream=self._stream, text=text, time_us=time_us, lost_bytes=lost))
            lost = 0

    def _shown(self, data: bytes) -> str:
        text = data.decode(errors="replace")
        return redacted_text(text) if self._redact else text


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1] or data


def _from_line(data: bytes) -> bytes:
    return data[data.find(b"\n") + 1 :] if b"\n" in data[:-1] else data


def _pieces(data: bytes, size: int) -> list[bytes]:
    """Return data in pieces of at most size bytes, cut at line ends where there are some."""
    pieces: list[bytes] = []
    while data:
        pieces.append(data if len(data) <= size else _whole_lines(data[:size]))
        data = data[len(pieces[-1]) :]
    return pieces


class Console:
    """Copies sys.stdout and sys.stderr of this process from here on, until it is finished."""

    def __init__(self, say: Callable[[ConsoleText], None], *, redact: bool) -> None:
        budget = Budget(time.monotonic())
        names: tuple[StreamName, ...] = ("stdout", "stderr")
        self._writers = {name: ConsoleWriter(name, say, budget, redact=redact) for name in names}
        self._waiting: deque[tuple[StreamName, str]] = deque()
        # Characters that were printed, about: who prints adds to these without a lock.
        self._taken = self._flushed = 0
        self._over = {"stdout": 0, "stderr": 0}  # beyond MAX_WAITING; the newest of these texts are kept
        self._over_seen = dict(self._over)
        self._newest: deque[tuple[StreamName, str]] = deque(maxlen=TAIL_TEXTS)
        self._ending = threading.Event()
        self._wake = threading.Lock()  # released to wake the thread: safe in signal handlers, as no Event is
        self._wake.acquire()
        self._thread = threading.Thread(target=self._run, name="disttrack-console", daemon=True)
        self._thread.start()
        missing = {"stdout", "stderr"} - set(tap(self._take))
        if missing:
            _log.debug("disttrack: %s cannot be copied", " and ".join(sorted(missing)))

    def finish(self) -> None:
        """Let go of the streams, and wait until all that was printed is said; at most END_WAIT_S."""
        self.let_go()
        self._thread.join(END_WAIT_S)

    def let_go(self) -> None:
        """Let go of the streams without waiting: the thread says what is left, where this process has it."""
        untap(self._take)
        self._ending.set()
        self._notify()

    def _take(self, stream: StreamName, text: str) -> None:
        if self._taken - self._flushed <= MAX_WAITING:
            self._taken += len(text)
            self._waiting.append((stream, text))
        else:
            self._over[stream] += len(text)
            self._newest.append((stream, text[-TAIL_BYTES:]))
        self._notify()

    def _notify(self) -> None:
        if self._wake.locked():
            try:
                self._wake.release()
            except RuntimeError:
                pass  # another thread was first

    def _run(self) -> None:
        waits = False
        while not self._ending.is_set():
            if self._wake.acquire(timeout=FLUSH_S if waits else -1):
                self._ending.wait(FLUSH_S)  # more will come: one record for all of it
            waits = self._flush()
        self._flush()
        now_s = time.monotonic()
        for writer in self._writers.values():
            writer.finish(now_s)

    def _flush(self) -> bool:
        """Say what was printed since the last time; return whether something waits for its time."""
        now_s = time.monotonic()
        for stream, text in _joined(_drained(self._waiting)):
            self._flushed += len(text)
            self._writers[stream].feed(text, now_s)
        self._flushed = self._taken  # updates of two threads at once may have got lost
        newest = list(_drained(self._newest))
        for stream, writer in self._writers.items():
            tail = "".join(text for name, text in newest if name == stream)
            over = self._over[stream]
            if tail or over > self._over_seen[stream]:
                writer.feed(tail, now_s, max(0, over - self._over_seen[stream] - len(tail)))
                self._over_seen[stream] = over
        return sum([writer.tick(now_s) for writer in self._writers.values()]) > 0  # each of them


def _drained(texts: deque[tuple[StreamName, str]]) -> Iterator[tuple[StreamName, str]]:
    """Yield what is in a queue now, out of it; others may add to it meanwhile."""
    for _ in range(len(texts)):
        try:
            yield texts.popleft()
        except IndexError:  # its other end was let go
            return


def _joined(waiting: Iterable[tuple[StreamName, str]]) -> Iterator[tuple[StreamName, str]]:
    """Yield what was printed, what went to one stream in a row at once."""
    texts: list[str] = []
    last: StreamName = "stdout"
    for stream, text in waiting:
        if stream != last and texts:
            yield last, "".join(texts)
            texts = []
        last = stream
        texts.append(text)
    if texts:
        yield last, "".join(texts)
