"""A journal of many files: read as one, pruned where its quota needs the room, and never in doubt about what went."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.journal.directories import is_held
from disttrack.journal.files import FILE_NAME
from disttrack.journal.outbox import MIN_QUOTA_BYTES, Outbox
from disttrack.journal.stored import StoredOutbox, newest_join
from disttrack.records.codec import HEADER, RowEncoder, encode, is_removed, records
from disttrack.records.payloads import End, RecordKind
from tests.journal.joins import make_join
from tests.journal.processes import QUOTA, run

QUOTA_BYTES = 256 << 10  # so files of 32 KiB


def row(step: int, size_bytes: int = 900) -> bytes:
    return RowEncoder().encode({"text": "x" * size_bytes}, step, 0, 0, [])


def fill(outbox: Outbox, count: int, first: int = 0) -> bytes:
    data = [row(first + number) for number in range(count)]
    for record in data:
        outbox.append(record, 1)
    return b"".join(data)


def pieces(reader: Outbox | StoredOutbox, limit: int = 1 << 20, offset: int = 0) -> Iterator[bytes]:
    end = reader.end if isinstance(reader, Outbox) else None
    while offset != end and (data := reader.read(offset, limit)):
        yield data
        offset += len(data)


def files(directory: Path) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob("*.dtj"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def outbox(directory: Path) -> Iterator[Outbox]:
    outbox = Outbox(directory, make_join(), QUOTA_BYTES)
    yield outbox
    outbox.close()


def test_many_files_read_as_one_journal(outbox: Outbox, directory: Path) -> None:
    data = fill(outbox, 150)
    assert len(files(directory)) == 4
    for limit in (1 << 20, 5_000, HEADER.size):
        assert b"".join(pieces(outbox, limit)) == b"".join(pieces(StoredOutbox(directory), limit)) == data
    for at, record in enumerate(records(data)):
        assert outbox.counted(record.end) == at + 1
    assert outbox.read(outbox.end, 100) == StoredOutbox(directory).read(outbox.end, 100) == b""
    assert is_held(directory)


def test_schemas_are_asked_for_at_the_start_of_every_file(outbox: Outbox, directory: Path) -> None:
    asked: list[int] = []
    for number in range(150):
        outbox.append(row(number), 1)
        if outbox.announcement_due:
            outbox.announcement_due = False
            asked.append(outbox.end)
    assert asked == files(directory)[1:]


def test_acknowledged_files_are_kept_until_half_the_quota_is_used_and_go_oldest_first(
    outbox: Outbox, directory: Path
) -> None:
    data = fill(outbox, 100)
    outbox.settle(outbox.end)
    assert outbox.first == 0
    assert b"".join(pieces(outbox)) == data
    data += fill(outbox, 150)
    before = files(directory)
    outbox.settle(outbox.end)
    assert files(directory) == [0, *(start for start in before if start >= outbox.first)]
    assert QUOTA_BYTES // 4 < outbox.end - outbox.first <= QUOTA_BYTES // 2
    assert b"".join(pieces(outbox, offset=outbox.first)) == data[outbox.first :]
    assert (directory / FILE_NAME).stat().st_size < 2_000


def test_what_was_not_acknowledged_is_never_removed(outbox: Outbox, directory: Path) -> None:
    data = fill(outbox, 250)
    acked = files(directory)[2] + 1
    outbox.settle(acked - 1)
    assert outbox.first == acked - 1
    assert outbox.filled > 0.5
    assert b"".join(pieces(outbox, offset=outbox.first)) == data[outbox.first :]


@pytest.mark.parametrize("limit", [1 << 20, 1_001])
def test_what_was_removed_is_no_damage_to_who_reads_from_the_start(outbox: Outbox, directory: Path, limit: int) -> None:
    data = fill(outbox, 250)
    outbox.settle(outbox.end)
    first = outbox.first
    for reader in (outbox, StoredOutbox(directory)):
        found = list(pieces(reader, limit))
        gone, kept = b"", b""
        for piece in found:
            if is_removed(piece) and not kept:
                gone += piece
            else:
                kept += piece
        assert (len(gone), kept) == (first, data[first:])
        assert not list(records(gone))
    join = newest_join(directory)
    assert join is not None
    assert join.project == "demo"
    assert is_held(directory)


def test_records_that_a_writer_asks_for_again_after_they_were_removed_are_counted(outbox: Outbox) -> None:
    data = fill(outbox, 250)
    outbox.settle(outbox.end)
    assert not outbox.asked_again(outbox.end)
    assert outbox.lost == 0
    assert outbox.asked_again(0)
    assert outbox.lost == 250 - sum(1 for _ in records(data[outbox.first :]))
    assert not outbox.asked_again(outbox.first)


def test_a_full_disk_takes_what_is_acknowledged_whatever_the_quota(outbox: Outbox) -> None:
    fill(outbox, 100)
    outbox.cramped = True
    outbox.settle(outbox.end)
    assert outbox.end - outbox.first < 40_000
    assert not outbox.cramped


def test_no_descriptor_is_held_of_files_that_are_acknowledged(outbox: Outbox) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        fill(outbox, 50)
        outbox.settle(outbox.end)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    fill(outbox, 10)
    outbox.sync()


def test_a_damaged_file_costs_what_is_in_it_and_keeps_the_others(outbox: Outbox, directory: Path) -> None:
    data = fill(outbox, 150)
    starts = files(directory)
    middle = directory / f"{starts[2]:06d}.dtj"
    os.truncate(middle, middle.stat().st_size - 10_000)
    found = b"".join(pieces(StoredOutbox(directory)))
    assert len(found) == len(data)
    assert found[: starts[2]] == data[: starts[2]]
    assert found[starts[3] :] == data[starts[3] :]
    middle.unlink()
    found = b"".join(pieces(StoredOutbox(directory)))
    assert len(found) == len(data)
    assert found[: starts[2]] == data[: starts[2]]
    assert found[starts[3] :] == data[starts[3] :]
    assert not is_removed(found[starts[2] : starts[3]])


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3_000) | st.sampled_from([9_000, 40_000]), min_size=1, max_size=60),
    limit=st.integers(HEADER.size, 100_000),
)
def test_any_sizes_read_back_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int
) -> None:
    directory = tmp_path_factory.mktemp("outbox") / "journal"
    outbox = Outbox(directory, make_join(), MIN_QUOTA_BYTES)
    data = b""
    for number, size in enumerate(sizes):
        record = row(number, size)
        outbox.append(record, 1)
        data += record
    assert b"".join(pieces(outbox, limit)) == b"".join(pieces(StoredOutbox(directory), limit)) == data
    assert outbox.counted(outbox.end) == len(sizes)
    outbox.close()


def test_reading_beside_rotation_and_removal_never_sees_another_files_bytes(outbox: Outbox) -> None:
    wrong: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            offset = outbox.first
            for piece in pieces(outbox, 10_000, offset):
                if not is_removed(piece) and sum(1 for _ in records(piece)) * len(row(0)) != len(piece):
                    wrong.append(offset)
                offset += len(piece)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(60):
        fill(outbox, 50)
        outbox.settle(outbox.end)
    done.set()
    reader.join()
    assert wrong == []


LIMITED_FILES = """
import resource
from pathlib import Path
from disttrack.journal.outbox import Outbox
from disttrack.journal.stored import StoredOutbox
from disttrack.records.codec import RowEncoder, records
from tests.journal.joins import make_join

outbox = Outbox(Path(sys.argv[1]), make_join())
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
encoder = RowEncoder()
for step in range(200):
    outbox.append(encoder.encode({"text": "x" * 1_000}, step, 0, 0, []), 1)
stored, offset, count = StoredOutbox(Path(sys.argv[1])), 0, 0
while data := stored.read(offset, 1 << 20):
    offset, count = offset + len(data), count + sum(1 for _ in records(data))
print(json.dumps([count, len(list(outbox.directory.glob("*.dtj")))]))
"""


def test_a_limit_on_the_size_of_files_costs_nothing(directory: Path) -> None:
    assert run(QUOTA + LIMITED_FILES, directory) == [200, 8]


END = encode(RecordKind.END, End(exit_code=3, logged=1, dropped=0, time_us=1))


@pytest.mark.parametrize("rows", [0, 20, 36, 150, 700], ids=lambda rows: f"{rows} rows")
@pytest.mark.parametrize("after", [b"", bytes(HEADER.size + 40), row(0)], ids=["", "damage", "a row"])
def test_the_end_that_a_process_said_last_is_found_whatever_follows(
    outbox: Outbox, directory: Path, rows: int, after: bytes
) -> None:
    fill(outbox, rows)
    stored = StoredOutbox(directory)
    assert stored.said() is None
    outbox.append(END, 0)
    if after:
        outbox.append(after, 0)
    said = StoredOutbox(directory).said()
    assert said is not None
    assert said.exit_code == 3


def test_the_end_is_found_behind_a_record_larger_than_what_is_looked_through(directory: Path) -> None:
    big = Outbox(directory, make_join())
    big.append(row(0, 3 << 20), 1)
    assert StoredOutbox(big.directory).said() is None
    big.append(END, 0)
    said = StoredOutbox(big.directory).said()
    assert said is not None
    assert said.exit_code == 3
    big.close()
