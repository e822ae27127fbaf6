"""`python -m disttrack.api.tailer PLAN`: copies on what a rank's descriptors 1 and 2 left in files, and journals it.

One beside each rank with console="fd". It may be killed at any moment: the rank starts another one, which goes on
from where the kernel says that the copying, and the journal that the journaling had come.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from disttrack.capture.redirect import LOOK_S, REST_S, Copy, copy_on, punch
from disttrack.environments.host import is_alive, process_start_time

__all__ = ["JOURNALED", "OVER", "Plan", "main"]

OVER = "over"  # the file that says that the rank has taken its descriptors back
JOURNALED = "journaled"  # ... and this one that all up to then is journaled and stored
READ_BYTES = 16 << 10  # one record's worth: what is journaled twice or never by a kill is then nothing
LONG_BYTES = 64 << 10  # a line so long without an end is cut
PUNCH_BYTES = 16 << 20
STORE_WAIT_S = 30.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a tailer is told."""

    directory: str  # of the files
    journal: str  # the rank's
    pid: int
    start_time: int
    copies: list[Copy]
    settings: dict[str, Any]


def main() -> None:
    """Run a tailer until nobody writes any more."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    told["copies"] = [Copy(**copy) for copy in told["copies"]]
    plan = Plan(**told)
    directory = Path(plan.directory)
    if pid := os.fork():
        _note(directory / "tailer", f"{pid} {process_start_time(pid)}")
        os._exit(0)  # the script that started it shall have nothing to reap
    if not _is_alone(directory):
        return
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # of leases
    threads = [threading.Thread(target=copy_on, args=(copy, lambda: _is_over(plan))) for copy in plan.copies]
    for thread in threads:
        thread.start()
    _Journaling(plan).run()
    for thread in threads:
        thread.join()
    _remove(directory)


def _is_alone(directory: Path) -> bool:
    """Wait until no other tailer is at work, for two would journal all twice; say whether it left something to do."""
    import fcntl  # not on Windows

    try:
        lock = os.open(directory, os.O_RDONLY)  # held by this process until it ends, however it does
    except FileNotFoundError:
        return False
    fcntl.flock(lock, fcntl.LOCK_EX)
    return directory.exists()


def _remove(directory: Path) -> None:
    """Remove the files, from their place at once: a rank that finds some of them gone would start another tailer."""
    aside = directory.with_name(f"{directory.name}.over")
    directory.rename(aside)
    shutil.rmtree(aside)


def _note(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def _is_over(plan: Plan) -> bool:
    return os.path.exists(f"{plan.directory}/{OVER}") or not is_alive(plan.pid, plan.start_time)


class _Journaling:
    """Journals what the files hold, as a helper of the rank."""

    def __init__(self, plan: Plan) -> None:
        from disttrack.api.attach import helper_recorder
        from disttrack.api.console import Budget, ConsoleWriter
        from disttrack.journal.heads import read_join
        from disttrack.settings import load

        self._plan = plan
        settings = load(plan.settings)
        done = self._done_before()
        helper = helper_recorder(Path(plan.journal), settings, read_join(Path(plan.directory)))
        self._recorder = helper[0] if helper is not None else None
        if helper is not None:
            _note(Path(plan.directory) / f"journal-{os.getpid()}", helper[1].journal)
        budget = Budget(time.monotonic())
        self._positions = {copy.stream: done.get(copy.stream, 0) for copy in plan.copies}
        self._punched = dict.fromkeys(self._positions, 0)
        self._writers = {
            copy.stream: ConsoleWriter(copy.stream, self._say, budget, redact=settings.redact_secrets)
            for copy in plan.copies
        }

    def _say(self, text: object) -> None:
        from disttrack.records.payloads import ConsoleText
        from disttrack.records.types import changed

        assert isinstance(text, ConsoleText)
        if self._recorder is not None:
            self._recorder.say(changed(text, until=self._positions[text.stream]))

    def _done_before(self) -> dict[str, int]:
        """Return up to where tailers before this one had journaled each stream."""
        from disttrack.journal.stored import StoredOutbox
        from disttrack.records.codec import decode, records
        from disttrack.records.payloads import ConsoleText, RecordKind

        done: dict[str, int] = {}
        for note in Path(self._plan.directory).glob("journal-*"):
            try:
                stored = StoredOutbox(Path(note.read_text()))
            except (OSError, ValueError):
                continue
            offset = 0
            while data := stored.read(offset, 1 << 20):
                for record in records(data):
                    if record.kind == RecordKind.CONSOLE:
                        said = decode(data[record.start : record.end], ConsoleText)
                        done[said.stream] = max(done.get(said.stream, 0), said.until)
                offset += len(data)
        return done

    def run(self) -> None:
        """Journal what comes until the rank takes its descriptors back, or dies, and then what is left."""
        wait_s = LOOK_S
        while True:
            over = _is_over(self._plan)  # before the look at the files: what was written until then is in them
            if self._step(final=False):
                wait_s = LOOK_S
                continue
            if over:
                break
            time.sleep(wait_s)
            wait_s = min(REST_S, 1.5 * wait_s)
        self._step(final=True)
        now_s = time.monotonic()
        for writer in self._writers.values():
            writer.finish(now_s)
        if self._recorder is not None:
            self._recorder.end(0, None)
            if self._recorder.sender is not None:
                self._recorder.sender.finished.wait(STORE_WAIT_S)
                self._recorder.sender.stop(timeout_s=1.0)
        _note(Path(self._plan.directory) / JOURNALED, "")

    def _step(self, *, final: bool) -> int:
        """Journal the next whole lines of each file; return how many bytes that were."""
        took = 0
        now_s = time.monotonic()
        for copy in self._plan.copies:
            writer = self._writers[copy.stream]
            while data := self._next(copy, final=final):
                self._positions[copy.stream] += len(data)
                writer.feed(data.decode(errors="replace"), now_s)
                took += len(data)
                if not final:
                    break  # the other stream's turn
            writer.tick(now_s)
            self._give_back(copy)
        return took

    def _next(self, copy: Copy, *, final: bool) -> bytes:
        at = self._positions[copy.stream]
        data = os.pread(copy.reads, READ_BYTES, at)
        end = data.rfind(b"\n") + 1
        if end or final:
            return data[:end] or data
        if len(data) < READ_BYTES:
            return b""
        data = os.pread(copy.reads, LONG_BYTES, at)
        if len(data) < LONG_BYTES and b"\n" not in data:
            return b""
        return data[: max(data.rfind(b"\n") + 1, data.rfind(b"\r"))] or data

    def _give_back(self, copy: Copy) -> None:
        """Give the disk back what has been copied and journaled, now and then."""
        stream = copy.stream
        done = min(self._positions[stream], os.lseek(copy.reads, 0, os.SEEK_CUR))
        if done - self._punched[stream] >= PUNCH_BYTES:
            self._punched[stream] = punch(copy.path, self._punched[stream], done)


if __name__ == "__main__":
    main()
