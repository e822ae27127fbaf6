"""One incarnation's way from a call to its journal: validate, encode, append. Nothing else happens in log()."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from disttrack.api.images import check_file, file_note
from disttrack.api.intake import Intake
from disttrack.api.media import media_of
from disttrack.journal.outbox import Outbox
from disttrack.records.blobs import Note
from disttrack.records.classes import CLASS_OF, Dropped, DropReason, RecordClass
from disttrack.records.codec import COMMIT, EXPLICIT_STEP, RowEncoder, encode
from disttrack.records.media import Media
from disttrack.records.payloads import KIND_OF, USER_KINDS, FileRef, Payload
from disttrack.records.values import Aside, Unloggable, text
from disttrack.transport.sender import Sender

__all__ = ["Counts", "OtherStep", "Recorder"]

_log = logging.getLogger("disttrack")
_now_ns = time.time_ns

MAX_STEP = 2**63 - 1
_METRICS = RecordClass.METRICS


class OtherStep(int):
    """A step that somebody else counts, a SummaryWriter or an optimizer: rows at it leave the script's count alone."""


class _NoRoom(Exception):
    """A blob is not kept; the reason is the first argument."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason)
        self.reason: DropReason = reason


class Counts(NamedTuple):
    """logged = records the script made, dropped = those of them that are lost, values = values left out."""

    logged: int
    dropped: int
    values: int


class Recorder:
    """Writes one incarnation's journal. Every method may be called from any thread, a signal handler or __del__."""

    def __init__(self, outbox: Outbox | None, sender: Sender | None, *, strict: bool) -> None:
        """outbox is None where no journal could be made: then everything is counted as dropped."""
        self.sender = sender
        self.step = 0  # of the next row without one
        self._known_step = 0  # EXPLICIT_STEP once that is final: readers add nothing to it
        self._strict = strict
        self._encoder = RowEncoder()
        self._aside = Aside(media_of)  # one for all rows: to make it anew for each takes a tenth of log()'s time
        self._lock = threading.RLock()
        self._busy = False
        self._later: deque[Callable[[], None]] = deque()  # calls made from within a call
        self._intake = Intake(outbox, self._warn, self._encoder.announce_again)
        self._rejected_values = 0
        self._ended = False
        self._said: set[str] = set()

    @property
    def outbox(self) -> Outbox | None:
        """The journal; None where none could be made."""
        return self._intake.outbox

    @property
    def counts(self) -> Counts:
        """What was logged so far, and what of it is lost."""
        return Counts(self._intake.logged, self._intake.dropped, self._rejected_values)

    @property
    def drops(self) -> tuple[Dropped, ...]:
        """What of it is lost, by class and reason."""
        return self._intake.drops

    @property
    def captured_drops(self) -> tuple[Dropped, ...]:
        """What is lost of that which disttrack made by itself, by class and reason."""
        return self._intake.captured_drops

    def begin_at(self, step: int) -> None:
        """Count rows without a step from this one on; it is final. For a recorder that has written no row."""
        self.step, self._known_step = step, EXPLICIT_STEP

    def row(self, data: Any, step: Any, commit: bool | None) -> None:
        """Append one row; see Run.log."""
        with self._lock:
            if self._busy:  # called from within itself: by a signal handler, or a value's __del__
                self._later.append(partial(self._row_later, data, step, commit))
                return
            try:
                self._busy = True
                media = self._row(data, step, commit)
                while self._later:
                    self._later.popleft()()
            except BaseException:  # of a signal handler, or strict
                self._encoder.announce_again()  # a schema may count as announced that was never written
                raise
            finally:
                self._busy = False
        if media:  # their bytes are written while other threads log
            refs, problems = self._keep(media)
            self._in_turn(partial(self._row_told, data, step, commit, refs, problems))

    def _row_later(self, data: Any, step: Any, commit: bool | None) -> None:
        media = self._row(data, step, commit)
        if media:
            self._row_told(data, step, commit, *self._keep(media))

    def _row_told(
        self, data: Any, step: Any, commit: bool | None, refs: Mapping[str, Any], problems: list[tuple[str, str]]
    ) -> None:
        self._row(data, step, commit, refs)
        if problems:
            self.leave_out(problems)

    def _keep(self, media: Mapping[str, Media | list[Media]]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Put the bytes of media where they wait for their run; return what tells of them, and what is wrong.

        What finds no room is counted as dropped.
        """
        refs: dict[str, Any] = {}
        problems: list[tuple[str, str]] = []
        for key, value in media.items():
            try:
                if isinstance(value, Media):
                    refs[key] = value.kept(self._add_blob)
                else:
                    refs[key] = [each.kept(self._add_blob) for each in value]
            except Unloggable as why:
                problems.append((key, str(why)))
            except _NoRoom as why:
                self._in_turn(partial(self._intake.drop, RecordClass.MEDIA, why.reason))
            except Exception as error:  # of another library's value
                problems.append((key, f"reading the value raised {type(error).__name__}: {error}"))
        return refs, problems

    def keep_file(self, path: Path, within: str, policy: Literal["now", "live", "end"]) -> bool:
        """Append a file as it is now, under a path in its run; say whether it is kept. What is not is counted."""
        try:
            check_file(path)
            note = file_note(path, text(within))
            blob = self._add_blob(path, note)
        except Unloggable as why:
            self._in_turn(partial(self._refuse, f"save() left out {within}: {why}", RecordClass.MEDIA))
            return False
        except _NoRoom as why:
            self._in_turn(partial(self._intake.drop, RecordClass.MEDIA, why.reason))
            return False
        size, now_us = path.stat().st_size, _now_ns() // 1000
        self.say(FileRef(path=text(within), size=size, blob=blob, time_us=now_us, policy=policy))
        return True

    def _add_blob(self, content: bytes | memoryview | Path, note: Note) -> int:
        """Put a blob into the spool; raise _NoRoom."""
        size = content.stat().st_size if isinstance(content, Path) else memoryview(content).nbytes
        with self._lock:
            refusal = self._intake.refusal(RecordClass.MEDIA, size)
        outbox = self.outbox
        if outbox is None or refusal is not None:
            raise _NoRoom(refusal or "no journal")
        try:
            return outbox.spool.add(content, note)
        except OSError as error:
            with self._lock:
                raise _NoRoom(self._intake.fail(error)) from error

    def _in_turn(self, action: Callable[[], None]) -> None:
        """Run what appends records as row does: one at a time, and after the call of this thread that it interrupts."""
        with self._lock:
            if self._busy:
                self._later.append(action)
                return
            try:
                self._busy = True
                action()
                while self._later:
                    self._later.popleft()()
            except BaseException:
                self._encoder.announce_again()
                raise
            finally:
                self._busy = False

    def _row(self, data: Any, step: Any, commit: bool | None, refs: Mapping[str, Any] | None = None) -> Aside | None:
        """Append a row, and before it one with what tells of its media, refs.

        Without refs, a row with media is not appended, and these are returned.
        """
        if self._ended:
            self._refuse("log() after finish() is ignored: this run has ended. Call disttrack.init() for another one")
            return None
        flags = 0
        if step is None:
            flags = COMMIT | self._known_step if commit or commit is None else self._known_step
            row_step = self.step
        else:
            try:
                row_step = step if type(step) is int else _whole(step)
            except Exception:
                self._refuse(f"log(step={_shown(step)}) needs a whole number, not {type(step).__name__}")
                return None
            flags = EXPLICIT_STEP | COMMIT if commit else EXPLICIT_STEP
        problems: list[tuple[str, str]] = []
        aside = self._aside if refs is None else Aside(media_of, kept=True)
        told = b""
        try:
            time_us = _now_ns() // 1000
            record = self._encoder.encode(data, row_step, time_us, flags, problems, aside)
            if aside and refs is None:
                self._aside = Aside(media_of)
                return aside
            if refs:
                told = self._encoder.encode_plain(refs, row_step, time_us, flags & ~COMMIT if record else flags)
        except Exception as error:
            self._encoder.announce_again()
            self._aside = Aside(media_of)
            if not isinstance(data, Mapping):
                self._refuse(f"log() takes a dict of names and values, not {type(data).__name__}")
            else:
                self._refuse(f"log() could not keep a row ({type(error).__name__}: {error})")
            return None
        if step is None or type(step) is not OtherStep:
            self._known_step = flags & EXPLICIT_STEP
            if row_step >= self.step:
                self.step = min(row_step + 1, MAX_STEP) if flags & COMMIT else row_step
        if told:  # rows of one step are merged when they are read
            self._intake.append(told, RecordClass.MEDIA, row_step)
        if record:
            self._intake.append(record, _METRICS, row_step)
        if problems:
            self.leave_out(problems)
        return None

    def _refuse(self, why: str, record_class: RecordClass = _METRICS) -> None:
        self._intake.drop(record_class, "invalid")
        if self._strict:
            raise ValueError(why)
        self._warn(why)

    def refuse(self, why: str, record_class: RecordClass) -> None:
        """Count as dropped what can be in no record, and say why; raise ValueError if the settings are strict."""
        self._in_turn(partial(self._refuse, why, record_class))

    def leave_out(self, problems: list[tuple[str, str]]) -> None:
        """Count values that were left out of a record, and say why; raise ValueError if the settings are strict."""
        self._rejected_values += len(problems)
        if self._strict:
            key, why = problems[0]
            raise ValueError(f"{key}: {why}")
        for key, why in problems[:20]:
            self._warn(f"log() left out {key!r}: {why}")

    def _warn(self, text: str) -> None:
        """Say each thing once."""
        if text not in self._said and len(self._said) < 1000:
            self._said.add(text)
            _log.warning("disttrack: %s", text)

    def complain(self, why: str) -> None:
        """Say once what is wrong with a call that costs no record; raise ValueError if the settings are strict."""
        if self._strict:
            raise ValueError(why)
        self._warn(why)

    def say(self, value: Payload) -> None:
        """Append one record that is no row; what its values hold is plain."""
        self._in_turn(partial(self._append_payload, value))

    def _append_payload(self, value: Payload) -> None:
        kind = KIND_OF[type(value)]
        if self._ended:
            if kind in USER_KINDS:
                self._refuse(f"a {type(value).__name__} after finish() is ignored: this run has ended", CLASS_OF[kind])
            return
        try:
            record = encode(kind, value)
        except Exception as error:  # larger than a record may be
            self._refuse(f"a {type(value).__name__} could not be kept ({error})", CLASS_OF[kind])
            return
        self._intake.append(record, CLASS_OF[kind], counts=kind in USER_KINDS)

    def end(self, exit_code: int, exception: str | None, *, stopped: bool = False) -> None:
        """Append the End record and let the sender hurry; nothing is accepted after it. stopped: see End."""
        with self._lock:
            if self._busy:  # for finish() waits, and the call below it cannot go on meanwhile
                self._end(exit_code, exception, stopped=stopped)
            else:
                self._in_turn(partial(self._end, exit_code, exception, stopped=stopped))

    def _end(self, exit_code: int, exception: str | None, *, stopped: bool) -> None:
        if self._ended:
            return
        self._ended = True
        place = self._intake.end(exit_code, exception, stopped=stopped)
        if place is not None and self.sender is not None:
            self.sender.finish(*place)

    def abandon(self) -> None:
        """Forget journal and thread without touching them: this is a forked child, and they are its parent's."""
        if self.sender is not None:
            self.sender.abandon()
        self._lock = threading.RLock()
        self._busy = False
        self._ended = True


def _shown(step: Any) -> str:
    try:
        return f"{step!r:.40}"
    except Exception:  # a tensor on a failed device cannot even be shown
        return "..."


def _whole(step: Any) -> int:
    """Return a step that is a whole number in some other type: numpy's, torch's, or a float without a fraction."""
    number = int(step)
    if number != step:
        raise ValueError(step)
    return number
