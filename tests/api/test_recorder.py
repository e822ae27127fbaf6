"""The recorder: every call is journaled or counted, and none of them raises into a training."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from disttrack.api.recorder import Recorder
from disttrack.journal.outbox import Outbox
from disttrack.records.codec import COMMIT, EXPLICIT_STEP, MAX_RECORD_BYTES, decode, decode_row, records
from disttrack.records.payloads import ConfigUpdate, End, RecordKind, SummaryUpdate
from tests.journal.joins import make_join


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")


def str_of_type(value: object) -> str:
    return type(value).__name__


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "journal", make_join())
    yield outbox
    outbox.close()


@pytest.fixture
def recorder(outbox: Outbox) -> Recorder:
    return Recorder(outbox, None, strict=False)


def rows(outbox: Outbox) -> list[tuple[int, int, object]]:
    """Returns step, flags and text of each row in the journal."""
    data = outbox.read(0, 1 << 30)
    found: list[tuple[int, int, object]] = []
    for record in records(data):
        if record.kind == RecordKind.MSGPACK_ROW:
            step, _, values = decode_row(data[record.start : record.end])
            found.append((step, record.flags, values["text"]))
    return found


def test_rows_have_the_step_that_was_given_or_the_next_one(recorder: Recorder, outbox: Outbox) -> None:
    calls: list[tuple[Any, bool | None]] = [
        *((None, None), (None, False), (None, True), (7, None), (7, True), (None, None)),
        *((np.int64(20), None), (3.0, None), (-5, True), (None, None)),
    ]
    for step, commit in calls:
        recorder.row({"text": "x"}, step, commit)
    given = EXPLICIT_STEP
    assert [row[:2] for row in rows(outbox)] == [
        *((0, COMMIT), (1, 0), (1, COMMIT), (7, given), (7, given | COMMIT), (8, given | COMMIT)),
        *((20, given), (3, given), (-5, given | COMMIT), (20, given | COMMIT)),
    ]  # what is counted from a step that was given is as final as that


def test_rows_of_a_run_that_goes_on_are_counted_from_its_last_step(recorder: Recorder, outbox: Outbox) -> None:
    recorder.begin_at(57)
    recorder.row({"text": "x"}, None, None)
    recorder.row({"text": "x"}, None, False)
    assert [row[:2] for row in rows(outbox)] == [(57, EXPLICIT_STEP | COMMIT), (58, EXPLICIT_STEP)]
    assert recorder.step == 58


@pytest.mark.parametrize("step", [1.5, "x", 2**63, -(2**63) - 1, float("nan"), [1], Unshowable()], ids=str_of_type)
def test_a_step_that_is_none_costs_only_its_row(
    recorder: Recorder, outbox: Outbox, caplog: pytest.LogCaptureFixture, step: object
) -> None:
    for text in ("first", "second"):
        recorder.row({"text": "lost"}, step, None)
        recorder.row({"text": text}, None, None)
    assert rows(outbox) == [(0, COMMIT, "first"), (1, COMMIT, "second")]
    assert recorder.counts[:2] == (4, 2)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("data", [5, None, "text", ["a"], [("a", 1)], Unshowable()], ids=str_of_type)
def test_data_that_is_no_dict_costs_only_its_call(
    recorder: Recorder, outbox: Outbox, caplog: pytest.LogCaptureFixture, data: object
) -> None:
    recorder.row(data, None, None)
    recorder.row({"text": "kept"}, None, None)
    assert rows(outbox) == [(0, COMMIT, "kept")]
    assert recorder.counts[:2] == (2, 1)
    assert "log() takes a dict" in caplog.text


def test_a_row_too_large_for_a_record_costs_only_itself(
    recorder: Recorder, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.row({"text": "x" * MAX_RECORD_BYTES}, None, None)
    recorder.row({"text": "kept"}, None, None)
    assert rows(outbox) == [(0, COMMIT, "kept")]
    assert recorder.counts[:2] == (2, 1)
    assert "save it as a file" in caplog.text


def test_strict_settings_raise_at_the_call(outbox: Outbox) -> None:
    recorder = Recorder(outbox, None, strict=True)
    recorder.row({"text": "kept"}, None, None)
    with pytest.raises(ValueError, match=r"log\(\) takes a dict"):
        recorder.row(5, None, None)
    with pytest.raises(ValueError, match="needs a whole number"):
        recorder.row({"text": "lost"}, 1.5, None)
    with pytest.raises(ValueError, match="save it as a file"):
        recorder.say(ConfigUpdate(values={"blob": "x" * MAX_RECORD_BYTES}))
    assert rows(outbox) == [(0, COMMIT, "kept")]


def test_a_value_that_logs_while_it_is_read_is_journaled_after_its_row(recorder: Recorder, outbox: Outbox) -> None:
    class Chatty:
        def tolist(self) -> str:
            recorder.row({"text": "from within"}, None, None)
            return "outer"

    recorder.row({"text": Chatty()}, None, None)
    recorder.row({"text": "after"}, None, None)
    assert [text for *_, text in rows(outbox)] == ["outer", "from within", "after"]


def test_threads_that_log_at_once_keep_every_row_and_the_order_of_their_calls(
    recorder: Recorder, outbox: Outbox
) -> None:
    count = 2_000

    def log(name: str) -> None:
        for number in range(count):
            recorder.row({"text": f"{name}{number}"}, None, None)
            if number % 100 == 0:
                recorder.say(SummaryUpdate(values={name: number}))

    threads = [threading.Thread(target=log, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rows(outbox)
    assert [step for step, *_ in found] == list(range(3 * count))
    for name in "abc":
        texts = [str(text) for *_, text in found if str(text).startswith(name)]
        assert texts == [f"{name}{number}" for number in range(count)]


class Interrupted(BaseException):
    pass


class Interruptions:
    """Has a second thread interrupt this one with signals, the next one whenever the one before was handled."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._handled: SimpleQueue[None] = SimpleQueue()  # its put may be interrupted by itself
        self._over = False
        self._thread = threading.Thread(target=self._interrupt, args=(threading.get_ident(),))

    def _handle(self, *_: object) -> None:
        try:
            if not self._over:
                self._action()
        finally:
            self._handled.put(None)

    def _interrupt(self, thread: int) -> None:
        while not self._over:
            signal.pthread_kill(thread, signal.SIGUSR1)
            self._handled.get()

    def __enter__(self) -> Interruptions:
        self._before = signal.signal(signal.SIGUSR1, self._handle)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._handled.put(None)
        self._thread.join()
        signal.signal(signal.SIGUSR1, self._before)


def test_a_signal_handler_may_log_while_a_row_is_written(recorder: Recorder, outbox: Outbox) -> None:
    handled = 0

    def handle() -> None:
        nonlocal handled
        recorder.row({"text": f"handler{handled}"}, None, None)
        recorder.say(SummaryUpdate(values={"handled": handled}))
        handled += 1

    own = 0
    with Interruptions(handle):
        while handled < 500:
            recorder.row({"text": f"own{own}"}, None, None)
            own += 1
    texts = [str(text) for *_, text in rows(outbox)]
    for name, count in (("own", own), ("handler", handled)):
        assert [text for text in texts if text.startswith(name)] == [f"{name}{number}" for number in range(count)]
    assert recorder.counts == (own + 2 * handled, 0, 0)


def test_a_signal_handler_that_raises_costs_at_most_the_row_it_interrupts(recorder: Recorder, outbox: Outbox) -> None:
    def interrupt() -> None:
        if ready:
            raise Interrupted

    returned: set[float] = set()
    interrupted = number = 0
    ready = False
    with Interruptions(interrupt):
        while interrupted < 500:
            number += 1
            try:
                ready = True
                recorder.row({"number": float(number)}, number, None)
                ready = False
                returned.add(number)
            except Interrupted:
                ready = False
                interrupted += 1
    other = threading.Thread(target=recorder.row, args=({"number": -1.0}, number, None))
    other.start()  # it is its turn as well
    other.join()
    data = outbox.read(0, 1 << 30)
    schemas: set[int] = set()
    found: list[float] = []
    for record in records(data):
        if record.kind == RecordKind.SCHEMA:
            schemas.add(record.schema)
        else:
            assert record.schema in schemas
            found.append(struct.unpack_from("<qqd", data, record.start)[2])
    assert found[-1] == -1.0
    assert returned <= set(found)
    assert len(found) == recorder.counts.logged


def test_a_signal_handler_may_end_the_run_in_the_middle_of_a_row(recorder: Recorder, outbox: Outbox) -> None:
    end = 0

    def finish() -> None:
        nonlocal end
        recorder.end(0, None)
        end = end or outbox.end

    returned = 0
    with Interruptions(finish):
        while not end:
            recorder.row({"number": 1.0}, returned, None)
            returned += not end
    data = outbox.read(0, 1 << 30)[:end]
    last = list(records(data))[-1]
    assert (last.kind, last.end) == (RecordKind.END, end)
    assert decode(data[last.start : last.end], End).logged >= returned


def test_the_end_counts_what_was_logged_and_nothing_comes_after_it(recorder: Recorder, outbox: Outbox) -> None:
    recorder.row({"text": "kept"}, None, None)
    recorder.say(ConfigUpdate(values={"lr": 0.1}))
    recorder.row(5, None, None)
    for exit_code in (3, 0):
        recorder.end(exit_code, "ValueError: x")
    end = outbox.end
    recorder.say(ConfigUpdate(values={"late": 1}))
    recorder.say(SummaryUpdate(values={"late": 1}))
    recorder.row({"text": "late"}, None, None)
    assert outbox.end == end
    data = outbox.read(0, 1 << 20)
    last = list(records(data))[-1]
    said = decode(data[last.start : last.end], End)
    assert (said.exit_code, said.logged, said.dropped, said.exception) == (3, 3, 1, "ValueError: x")


def test_without_a_journal_everything_is_counted_as_dropped() -> None:
    recorder = Recorder(None, None, strict=False)
    recorder.row({"text": "x"}, None, None)
    recorder.say(ConfigUpdate(values={"lr": 0.1}))
    recorder.say(SummaryUpdate(values={"best": 1}))
    recorder.end(0, None)
    assert recorder.counts == (3, 3, 0)


def test_finish_may_be_told_to_wait_for_ever() -> None:
    code = """if True:
        import disttrack
        run = disttrack.init(project="demo", settings={"finish_timeout_s": float("inf")})
        run.log({"loss": 0.5})
        print(run.finish())
    """
    ended = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    assert ended.stdout == "1 record logged: 1 stored, 0 pending, 0 dropped\n"
