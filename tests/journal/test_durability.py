"""A journal that its disk refused for a moment: what copies of its bytes are worth to those who read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from disttrack.journal.durability import SYNC_S, Durability
from disttrack.journal.files import FILE_NAME, copy_name
from disttrack.journal.outbox import Outbox
from disttrack.journal.stored import StoredOutbox
from disttrack.records.codec import encode
from disttrack.records.payloads import RecordKind, SummaryUpdate
from tests.journal.joins import make_join


def record(number: int) -> bytes:
    return encode(RecordKind.SUMMARY, SummaryUpdate(values={"number": number, "text": os.urandom(40).hex()}))


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """Returns a journal of ten records."""
    outbox = Outbox(tmp_path / "journal", make_join())
    for number in range(10):
        outbox.append(record(number), 1)
    return outbox


def all_of(directory: Path) -> bytes:
    stored, data = StoredOutbox(directory), b""
    while piece := stored.read(len(data), 300):
        data += piece
    return data


def copy(outbox: Outbox, start: int, end: int, data: bytes) -> Path:
    path = outbox.directory / copy_name(start, end)
    path.write_bytes(outbox.head + data)
    return path


def wipe(outbox: Outbox, start: int, end: int) -> None:
    """Leave zeros where the kernel dropped what it could not write."""
    with open(outbox.directory / FILE_NAME, "r+b") as file:
        file.seek(start)
        file.write(bytes(end - start))


@pytest.mark.parametrize(("first", "last"), [(0, 4), (3, 7), (3, 10), (0, 10)])
def test_a_copy_stands_in_for_what_its_file_has_lost(outbox: Outbox, first: int, last: int) -> None:
    whole = outbox.read(0, 1 << 20)
    size = len(whole) // 10
    start, end = first * size, last * size
    copy(outbox, start, end, whole[start:end])
    head = len(outbox.head)
    wipe(outbox, head + start if start else 0, head + end)  # with the head, where it was not on the disk before
    assert all_of(outbox.directory) == whole
    assert StoredOutbox(outbox.directory).size == len(whole)
    more = record(10)
    outbox.append(more, 1)
    assert all_of(outbox.directory) == whole + more


def test_a_copy_holds_what_its_file_was_too_short_for(outbox: Outbox) -> None:
    whole = outbox.read(0, 1 << 20)
    size = len(whole) // 10
    copy(outbox, 4 * size, 10 * size, whole[4 * size :])
    os.truncate(outbox.directory / FILE_NAME, len(outbox.head) + 6 * size)
    assert all_of(outbox.directory) == whole


@pytest.mark.parametrize("damage", ["torn", "zeros", "empty"])
def test_a_copy_that_was_not_finished_is_passed_over(outbox: Outbox, damage: str) -> None:
    whole = outbox.read(0, 1 << 20)
    size = len(whole) // 10
    data = {"torn": whole[: 3 * size - 5], "zeros": whole[: 2 * size] + bytes(size), "empty": b""}[damage]
    path = copy(outbox, 0, 3 * size, data)
    assert all_of(outbox.directory) == whole
    path.write_bytes(b"")
    assert all_of(outbox.directory) == whole


class Watched(Outbox):
    """A journal that notes how far it was at each sync."""

    synced = 0
    syncs = 0

    def sync(self) -> None:
        end = self.end
        super().sync()
        self.synced, self.syncs = end, self.syncs + 1


@pytest.mark.parametrize("rows_a_look", [1, 20])
def test_what_nobody_acknowledges_is_on_the_disk_after_two_waits_and_a_look(tmp_path: Path, rows_a_look: int) -> None:
    """As often as the sender looks, P3 grants 1.5 s."""
    outbox = Watched(tmp_path / "journal", make_join())
    durability = Durability(outbox, pytest.fail)
    written: list[tuple[float, int]] = []
    look_s = 0.1
    for look in range(100):
        now = look * look_s
        for number in range(rows_a_look):
            outbox.append(record(number), 1)
        written.append((now, outbox.end))
        durability.look(now, 0)
        oldest = min((when for when, end in written if end > outbox.synced), default=now)
        assert now - oldest <= 2 * SYNC_S + 1.5 * look_s
    assert outbox.syncs >= 100 * look_s / (2 * SYNC_S + 1.5 * look_s) - 1


def test_what_the_writer_acknowledges_is_not_brought_to_this_disk_too(tmp_path: Path) -> None:
    outbox = Watched(tmp_path / "journal", make_join())
    durability = Durability(outbox, pytest.fail)
    for look in range(100):
        acked = outbox.end
        outbox.append(record(look), 1)
        durability.look(look * 0.1, acked)
    assert outbox.syncs == 0


def test_nothing_is_written_twice_on_a_disk_that_takes_it(outbox: Outbox) -> None:
    said: list[str] = []
    durability = Durability(outbox, said.append)
    for now in range(5):
        durability.look(float(now), 0)
    assert said == []
    assert [path.name for path in outbox.directory.glob("*.dtj")] == [FILE_NAME]
