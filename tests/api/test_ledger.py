"""What a journal has no room for: dropped by worth, counted, written down, and never in the way of the end."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from disttrack.api.intake import Intake
from disttrack.api.recorder import Recorder
from disttrack.journal.ledger import Ledger
from disttrack.journal.outbox import MIN_QUOTA_BYTES, Outbox
from disttrack.journal.stored import StoredOutbox
from disttrack.records.classes import CLASS_OF, Dropped, RecordClass, share
from disttrack.records.codec import decode, records
from disttrack.records.payloads import USER_KINDS, ConfigUpdate, Drop, End, RecordKind
from tests.journal.joins import make_join
from tests.journal.processes import run

TEXT = "x" * 500


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "journal", make_join(), MIN_QUOTA_BYTES)
    yield outbox
    outbox.close()


@pytest.fixture
def recorder(outbox: Outbox) -> Recorder:
    return Recorder(outbox, None, strict=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yields a disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def found(directory: Path) -> tuple[int, list[Drop], End | None]:
    """Returns how many of the script's records are in a journal, its drops, and its end."""
    stored = StoredOutbox(directory)
    count, drops, end, offset = 0, list[Drop](), None, 0
    while data := stored.read(offset, 1 << 20):
        for record in records(data):
            body = data[record.start : record.end]
            count += record.kind in USER_KINDS
            if record.kind == RecordKind.DROP:
                drops.append(decode(body, Drop))
            elif record.kind == RecordKind.END:
                end = decode(body, End)
        offset += len(data)
    return count, drops, end


def kinds_of(outbox: Outbox) -> list[int]:
    """Returns the kinds of all records that were not removed."""
    kinds: list[int] = []
    offset = outbox.first
    while offset < outbox.end:
        data = outbox.read(offset, 1 << 20)
        kinds += [record.kind for record in records(data)]
        offset += len(data)
    return kinds


def fill(recorder: Recorder) -> int:
    """Logs until nothing more is taken; returns how many rows were."""
    count = 0
    while not recorder.counts.dropped:
        recorder.row({"text": TEXT}, count, None)
        count += 1
    return count - 1


def test_every_kind_that_a_receipt_counts_has_a_class() -> None:
    assert CLASS_OF.keys() >= USER_KINDS


def test_what_is_of_less_worth_is_refused_first() -> None:
    order = [RecordClass.SYSTEM, RecordClass.CONSOLE, RecordClass.MEDIA, RecordClass.METRICS]
    assert [share(record_class) for record_class in order] == [0.6, 0.7, 0.8, 1.0]


def test_each_class_is_refused_from_its_own_share_of_the_quota_on(outbox: Outbox) -> None:
    intake = Intake(outbox, lambda _: None, lambda: None)
    refused: dict[RecordClass, float] = {}
    while len(refused) < len(RecordClass):
        for record_class in RecordClass:
            before = intake.drops + intake.captured_drops
            filled = outbox.filled
            intake.append(b"x" * 100, record_class)
            if intake.drops + intake.captured_drops != before:
                refused.setdefault(record_class, filled)
    for record_class, filled in refused.items():
        assert abs(filled - share(record_class)) < 0.03


def test_the_ledger_and_the_journal_make_up_all_that_was_logged(
    recorder: Recorder, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    kept = fill(recorder)
    for step in range(kept + 1, kept + 10):
        recorder.row({"text": TEXT}, step, None)
    recorder.say(ConfigUpdate(values={"lr": 0.1, "text": TEXT}))
    recorder.row([], None, None)
    recorder.end(0, None)
    count, drops, end = found(outbox.directory)
    assert count == kept
    assert [(drop.record_class, drop.reason, drop.count, drop.first_step, drop.last_step) for drop in drops] == [
        ("metrics", "quota", 10, kept, kept + 9),
        ("config", "quota", 1, None, None),
        ("metrics", "invalid", 1, None, None),
    ]
    assert all(drop.first_us <= drop.last_us for drop in drops)
    assert end is not None
    assert (end.logged, end.dropped) == (kept + 12, 12) == recorder.counts[:2]
    assert recorder.drops == (
        Dropped("metrics", "quota", 10),
        Dropped("config", "quota", 1),
        Dropped("metrics", "invalid", 1),
    )
    assert sum("is full" in record.message for record in caplog.records) == 2  # one for each class
    assert outbox.end - outbox.first <= MIN_QUOTA_BYTES


def test_drops_are_written_down_before_the_next_record_that_is_kept(recorder: Recorder, outbox: Outbox) -> None:
    kept = fill(recorder)
    outbox.settle(outbox.end)
    recorder.row({"text": TEXT}, 1_000, None)
    recorder.row({"text": TEXT}, 1_001, None)
    kinds = kinds_of(outbox)
    assert kinds[-3:] == [RecordKind.DROP, RecordKind.MSGPACK_ROW, RecordKind.MSGPACK_ROW]
    recorder.end(0, None)
    _, drops, end = found(outbox.directory)
    assert [(drop.reason, drop.count) for drop in drops] == [("quota", 1)]
    assert end is not None
    assert (end.logged, end.dropped) == (kept + 3, 1)


def test_rows_with_a_schema_can_be_read_after_a_gap(recorder: Recorder, outbox: Outbox) -> None:
    recorder.row({"loss": 1.0}, 0, None)
    fill(recorder)
    outbox.settle(outbox.end)
    recorder.row({"loss": 2.0}, 1, None)
    kinds = kinds_of(outbox)
    assert kinds[-3:] == [RecordKind.DROP, RecordKind.SCHEMA, RecordKind.ROW]


def test_one_record_larger_than_all_the_room_is_refused(recorder: Recorder, outbox: Outbox) -> None:
    recorder.row({"text": "x" * 2 * MIN_QUOTA_BYTES}, 0, None)
    recorder.row({"text": "small"}, 1, None)
    assert recorder.counts[:2] == (2, 1)
    assert outbox.end < 1_000


def test_what_was_removed_and_then_asked_for_again_counts_as_dropped(recorder: Recorder, outbox: Outbox) -> None:
    kept = fill(recorder)
    outbox.settle(outbox.end)
    outbox.asked_again(0)
    recorder.end(0, None)
    count, drops, end = found(outbox.directory)
    assert end is not None
    assert (end.logged, end.dropped) == (kept + 1, kept + 1 - count)
    assert {drop.reason: drop.count for drop in drops} == {"quota": 1, "removed": kept - count}
    assert recorder.counts[:2] == (end.logged, end.dropped)
    assert sum(drop.count for drop in recorder.drops) == end.dropped


def test_where_there_is_no_journal_all_is_counted() -> None:
    recorder = Recorder(None, None, strict=False)
    recorder.row({"a": 1}, None, None)
    recorder.say(ConfigUpdate(values={"a": 1}))
    recorder.end(0, None)
    assert recorder.counts[:2] == (2, 2)
    assert recorder.drops == (Dropped("metrics", "no journal", 1), Dropped("config", "no journal", 1))


def test_drops_of_one_class_and_reason_are_one_line_of_the_ledger() -> None:
    ledger = Ledger()
    for step in (5, None, 3):
        ledger.add(RecordClass.METRICS, "quota", step)
    ledger.add(RecordClass.CONSOLE, "quota", count=4)
    first, second = drops = ledger.take()
    assert (first.count, first.first_step, first.last_step, second.count) == (3, 5, 3, 4)
    assert not ledger.untold
    ledger.put_back(drops)
    assert ledger.take() == drops
    assert (ledger.total, ledger.captured) == (3, 4)
    assert ledger.counts() == (Dropped("metrics", "quota", 3), Dropped("console", "quota", 4))


FULL_DISK = """
import json, logging, sys
from pathlib import Path
from disttrack.api.intake import Intake
from disttrack.api.recorder import Recorder
from disttrack.journal.outbox import Outbox
from tests.journal.joins import make_join

logging.disable()
outbox = Outbox(Path(sys.argv[1]) / "journal", make_join())
recorder = Recorder(outbox, None, strict=False)
"""


def test_a_full_disk_costs_what_does_not_fit_and_the_end_still_does(small_disk: Path) -> None:
    script = """
logging.disable()
step = 0
while recorder.counts.dropped < 100:
    recorder.row({"text": "x" * 300}, step, None)
    step += 1
recorder.end(0, None)
print(json.dumps([step, *recorder.counts[:2]]))
"""
    step, logged, dropped = run(FULL_DISK + script, small_disk)
    count, drops, end = found(small_disk / "journal")
    assert end is not None
    assert (end.logged, end.dropped) == (logged, dropped) == (step, 100)
    assert count == step - 100
    assert {drop.reason for drop in drops} == {"disk full"}
    assert sum(drop.count for drop in drops) == 100


def test_journaling_goes_on_when_space_returns(small_disk: Path) -> None:
    script = """
ballast = Path(sys.argv[1]) / "ballast"
ballast.write_bytes(bytes(700_000))
step = 0
while not recorder.counts.dropped:
    recorder.row({"text": "x" * 300}, step, None)
    step += 1
ballast.unlink()
dropped = step
while recorder.counts.logged - recorder.counts.dropped < dropped:
    recorder.row({"text": "x" * 300}, step, None)
    step += 1
recorder.end(0, None)
print(json.dumps([step, *recorder.counts[:2]]))
"""
    step, logged, dropped = run(FULL_DISK + script, small_disk)
    count, drops, end = found(small_disk / "journal")
    assert end is not None
    assert (end.logged, end.dropped) == (logged, dropped)
    assert logged == step
    assert count == logged - dropped
    assert sum(drop.count for drop in drops) == dropped


def test_a_recorder_says_each_thing_once(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        fill(recorder)
        for _ in range(100):
            recorder.row({"text": TEXT}, None, None)
    assert len(caplog.records) == 1
