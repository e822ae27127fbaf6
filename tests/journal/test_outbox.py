"""The rank's journal: what was appended is read back whole, whatever died, tore or filled up in between."""

from __future__ import annotations

import itertools
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.environments.host import private_directory
from disttrack.errors import UnsafeDirectory, UnsupportedFormat
from disttrack.journal.directories import is_good_place, note_place, outbox_directory, remove
from disttrack.journal.files import FILE_NAME
from disttrack.journal.heads import write_join
from disttrack.journal.outbox import RESERVE_NAME, Outbox
from disttrack.journal.stored import StoredOutbox, newest_join, stored_outboxes
from disttrack.records.codec import HEADER, MAX_RECORD_BYTES, RowEncoder, decode, encode, records
from disttrack.records.payloads import ConfigUpdate, End, RecordKind, SummaryUpdate
from disttrack.records.types import Join
from tests.journal.damage import each_cut, each_flip
from tests.journal.joins import make_join
from tests.journal.processes import QUOTA, killed_after, run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def outbox(directory: Path) -> Iterator[Outbox]:
    outbox = Outbox(directory, make_join())
    yield outbox
    outbox.close()


def text_record(size_bytes: int) -> bytes:
    """Returns a row of about so many bytes."""
    return RowEncoder().encode({"text": "x" * size_bytes}, 0, 0, 0, [])


def chunks(stored: StoredOutbox, limit: int = 1 << 20) -> Iterator[bytes]:
    offset = 0
    while data := stored.read(offset, limit):
        yield data
        offset += len(data)


def everything(stored: StoredOutbox) -> bytes:
    return b"".join(chunks(stored))


def each_record(data: bytes) -> list[bytes]:
    """Returns the whole records at the beginning of data."""
    return [data[record.start - HEADER.size : record.end] for record in records(data)]


def boundaries(data: bytes) -> list[int]:
    return [0, *(record.end for record in records(data))]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Appending and reading


def test_what_was_appended_is_read_by_its_process_and_by_others(outbox: Outbox, directory: Path) -> None:
    written = b""
    for size in (0, 10, 1_000):
        written += text_record(size)
        assert outbox.append(text_record(size), 1) is False
        assert outbox.end == len(written)
        assert outbox.read(0, 1 << 20) == StoredOutbox(directory).read(0, 1 << 20) == written
    outbox.sync()
    assert outbox.count == 3
    assert outbox.read(outbox.end, 1 << 20) == StoredOutbox(directory).read(outbox.end, 1 << 20) == b""


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 300) | st.sampled_from([40_000, 70_000, 200_000]), min_size=1, max_size=25),
    limit=st.integers(HEADER.size, 400) | st.sampled_from([1 << 12, 1 << 16, 100_000, 1 << 17]),
)
def test_any_limit_cuts_at_records_and_leaves_none_out(sizes: list[int], limit: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        outbox = Outbox(Path(temporary) / "journal", make_join())
        for size in sizes:
            outbox.append(text_record(size), 1)
        whole = outbox.read(0, 1 << 30)
        ends = boundaries(whole)
        for reader in (outbox, StoredOutbox(outbox.directory)):
            offset = 0
            while piece := reader.read(offset, limit):
                assert piece == whole[offset : offset + len(piece)]
                assert offset + len(piece) in ends
                assert len(piece) <= limit or len(boundaries(piece)) == 2
                offset += len(piece)
            assert offset == outbox.end == len(whole)
        for number, offset in enumerate(ends):
            assert outbox.counted(offset) == number
        outbox.close()


def test_only_what_the_user_said_is_counted(outbox: Outbox) -> None:
    said = [
        (RowEncoder().encode({"loss": 1.0}, 0, 0, 0, []), 1),  # a schema and a row
        (encode(RecordKind.CONFIG, ConfigUpdate(values={"lr": 0.1})), 1),
        (encode(RecordKind.SUMMARY, SummaryUpdate(values={"best": 1})), 1),
        (encode(RecordKind.END, End(exit_code=0, logged=3, dropped=0, time_us=0)), 0),
    ]
    ends = [0]
    for data, count in said:
        outbox.append(data, count)
        ends.append(outbox.end)
    assert [outbox.counted(end) for end in ends] == [0, 1, 2, 3, 3]
    assert outbox.count == outbox.counted(outbox.end + 1_000) == 3


def test_schemas_are_due_again_every_mebibyte(outbox: Outbox) -> None:
    record = text_record(100_000)
    due: list[int] = []
    for number in range(1, 34):
        assert outbox.append(record, 1) == outbox.announcement_due
        if outbox.announcement_due:
            outbox.announcement_due = False
            due.append(number)
    assert due == [11, 22, 33]


# Who may read it, and who may not write it


def test_a_journal_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        outbox = Outbox(tmp_path / "journal", make_join())
        write_join(outbox.directory, make_join())
    finally:
        os.umask(before)
    outbox.close()
    assert mode(outbox.directory) == 0o700
    assert {path.name: mode(path) for path in outbox.directory.iterdir()} == {
        FILE_NAME: 0o600,
        RESERVE_NAME: 0o600,
        "join": 0o600,
    }


def test_a_second_journal_in_the_same_place_is_refused_and_harms_nothing(outbox: Outbox, directory: Path) -> None:
    outbox.append(text_record(10), 1)
    with pytest.raises(FileExistsError):
        Outbox(directory, make_join())
    assert StoredOutbox(directory).read(0, 1 << 20) == outbox.read(0, 1 << 20) == text_record(10)


def test_a_planted_link_is_not_followed(tmp_path: Path, directory: Path) -> None:
    directory.mkdir()
    (directory / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        Outbox(directory, make_join())
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeDirectory, match="it is a link"):
        Outbox(directory, make_join())


# The join in it, and beside it


def test_the_header_says_whose_journal_it_is(directory: Path) -> None:
    join = make_join(group="fold 1", tags=("a", "ü"), notes="x" * 2_000_000, hints=(("RESTART", "0"),))
    Outbox(directory, join).close()
    assert StoredOutbox(directory).join == newest_join(directory) == join


def test_a_newer_join_beside_the_journal_counts(outbox: Outbox, directory: Path) -> None:
    outbox.append(text_record(10), 1)
    for project in ("one", "two"):
        join = make_join(project=project)
        write_join(directory, join)
        assert newest_join(directory) == join
        assert StoredOutbox(directory).read(0, 1 << 20) == text_record(10)


def test_a_join_torn_by_a_power_cut_leaves_the_first_one_in_force(directory: Path) -> None:
    first, second = make_join(project="one"), make_join(project="two")
    Outbox(directory, first).close()
    write_join(directory, second)
    size = (directory / "join").stat().st_size
    for length in each_cut(directory / "join"):
        assert newest_join(directory) == (second if length == size else first)


def test_where_no_journal_is_no_join_is_known(directory: Path) -> None:
    assert newest_join(directory) is None
    directory.mkdir()
    assert newest_join(directory) is None
    (directory / FILE_NAME).write_bytes(b"")
    assert newest_join(directory) is None


def test_journals_are_found_again_through_the_places_that_were_noted(tmp_path: Path) -> None:
    runtime, places = (
        private_directory(tmp_path / "runtime"),
        [tmp_path / "a place", tmp_path / "büro", tmp_path / "gone"],
    )
    assert list(stored_outboxes(runtime)) == []
    joins = [make_join(project=place.name) for place in places for _ in range(2)]
    for number, join in enumerate(joins):
        place = places[number // 2]
        note_place(runtime, place)
        Outbox(outbox_directory(private_directory(place), join), join).close()
    (places[0] / "no-journal").mkdir()
    (places[0] / "no-directory").write_bytes(b"x")
    newer = outbox_directory(places[1], joins[3]) / FILE_NAME
    newer.write_bytes(b"DTJ1\xff\0\0\0" + newer.read_bytes()[8:])
    remove(places[2])
    found = {stored.join.incarnation for stored in stored_outboxes(runtime)}
    assert found == {join.incarnation for join in joins[:3]}


def test_a_place_that_is_a_file_or_anothers_is_no_place_for_journals(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_good_place(tmp_path / "new" / "deep")
    assert not is_good_place(tmp_path / "file")
    assert not is_good_place(tmp_path / "file" / "below")
    assert not is_good_place(tmp_path / "link")
    assert not is_good_place(Path("/proc/journals"))


# Damage


def test_every_cut_leaves_a_journal_that_ends_at_its_last_whole_record(outbox: Outbox, directory: Path) -> None:
    encoder = RowEncoder()
    for step in range(4):
        outbox.append(encoder.encode({"loss": step / 3, "ok": True}, step, 0, 0, []), 1)
    outbox.append(text_record(30), 1)
    whole = outbox.read(0, 1 << 20)
    ends = boundaries(whole)
    header = (directory / FILE_NAME).stat().st_size - len(whole)
    for cut in each_cut(directory / FILE_NAME, shortest=header):
        length = cut - header
        kept = max(end for end in ends if end <= length)
        stored = StoredOutbox(directory)
        for limit in (1 << 20, length, 60):
            if limit >= HEADER.size:
                assert whole[:kept].startswith(stored.read(0, limit))
        assert stored.read(0, 1 << 20) == whole[:kept]
        assert stored.read(kept, 1 << 20) == b""


def test_a_flipped_bit_costs_no_record_but_the_one_it_is_in(outbox: Outbox, directory: Path) -> None:
    encoder = RowEncoder()
    for step in range(3):
        outbox.append(encoder.encode({"loss": step / 3}, step, 0, 0, []), 1)
    whole = outbox.read(0, 1 << 20)
    ends = boundaries(whole)
    path = directory / FILE_NAME
    header = path.stat().st_size - len(whole)
    stored = StoredOutbox(directory)
    for position in each_flip(path, range(header, header + len(whole))):
        damaged = next(at for at, end in enumerate(ends[1:]) if position - header < end)
        last = damaged == len(ends) - 2
        others = [whole[a:b] for at, (a, b) in enumerate(itertools.pairwise(ends)) if at != damaged]
        for limit in (1 << 20, 100, HEADER.size):
            pieces = list(chunks(stored, limit))
            kept = [record for piece in pieces for record in each_record(piece)]
            assert kept == others
            assert sum(map(len, pieces)) == len(whole) or last  # whose length says more than there is


def test_where_many_records_are_damaged_reading_goes_on_at_the_next_whole_one(outbox: Outbox, directory: Path) -> None:
    for size in (100, 600_000, 100, 100):
        outbox.append(text_record(size), 1)
    whole = outbox.read(0, 1 << 20)
    starts = boundaries(whole)
    with open(directory / FILE_NAME, "r+b") as file:
        file.seek(len(whole) - starts[1], os.SEEK_END)
        header = file.seek(0, os.SEEK_END) - len(whole)
        file.seek(header + starts[1])
        file.write(os.urandom(starts[3] - starts[1] - 20))
    for limit in (1 << 20, 50_000):  # each piece looks for the end of the damage anew
        pieces = list(chunks(StoredOutbox(directory), limit))
        assert sum(map(len, pieces)) == len(whole)
        assert max(map(len, pieces)) <= limit
        kept = [record for piece in pieces for record in each_record(piece)]
        assert kept == [whole[: starts[1]], whole[starts[3] :]]


def test_a_torn_header_is_no_journal(directory: Path) -> None:
    Outbox(directory, make_join()).close()
    whole = (directory / FILE_NAME).stat().st_size
    for length in each_cut(directory / FILE_NAME):
        if length == whole:
            continue
        with pytest.raises(ValueError, match=r"ends within its header|is torn"):
            StoredOutbox(directory)


@pytest.mark.parametrize("after", [b"", text_record(30)], ids=["no record", "a record"])
def test_a_flipped_bit_in_the_header_never_makes_another_journal_of_it(directory: Path, after: bytes) -> None:
    Outbox(directory, make_join()).close()
    path = directory / FILE_NAME
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(after)
    for positions in (range(4), range(8, size)):  # between lies the version
        for _ in each_flip(path, positions):
            with pytest.raises(ValueError, match=r"is not a journal|is torn"):
                StoredOutbox(directory)


def test_a_record_that_claims_more_than_a_record_may_have_is_the_end(outbox: Outbox, directory: Path) -> None:
    outbox.append(text_record(30), 1)
    whole = outbox.read(0, 1 << 20)
    for length in (MAX_RECORD_BYTES + 1, 1 << 31, (1 << 32) - 1):
        with open(directory / FILE_NAME, "r+b") as file:
            file.seek(-len(whole), os.SEEK_END)
            file.write(struct.pack("<I", length))
        for limit in (HEADER.size, len(whole), 1 << 20):
            assert StoredOutbox(directory).read(0, limit) == b""


def test_a_newer_version_is_refused_with_its_path_and_left_as_it_is(directory: Path) -> None:
    Outbox(directory, make_join()).close()
    path = directory / FILE_NAME
    newer = b"DTJ1" + struct.pack("<I", 2) + path.read_bytes()[8:] + b"what this version does not know"
    path.write_bytes(newer)
    with pytest.raises(UnsupportedFormat, match="pip install -U disttrack") as refused:
        StoredOutbox(directory)
    assert (refused.value.path, refused.value.found, refused.value.known) == (path, 2, 1)
    assert newest_join(directory) is None
    assert path.read_bytes() == newer
    assert {each.name for each in directory.iterdir()} == {FILE_NAME, RESERVE_NAME}


# A full disk


FULL_DISK = """
from pathlib import Path
from disttrack.journal.files import FILE_NAME
from disttrack.journal.outbox import Outbox
from disttrack.records.codec import RowEncoder
from tests.journal.joins import make_join

outbox = Outbox(Path(sys.argv[1]), make_join())
encoder = RowEncoder()
row = lambda text: encoder.encode({"text": text}, 0, 0, 0, [])
outbox.append(row("before"), 1)
disk_takes(outbox.directory / FILE_NAME, 2_000)
report = []
for text in ("x" * 5_000, "small", "y" * 4_000, "z" * 5_000, "", "also small"):
    before = outbox.end, outbox.count
    report.append([tried(lambda: outbox.append(row(text), 1)), before == (outbox.end, outbox.count), outbox.count])
print(json.dumps(report))
"""


def test_what_does_not_fit_is_not_appended_and_smaller_rows_still_are(directory: Path) -> None:
    report = run(QUOTA + FULL_DISK, directory)
    failed = ["OSError", 27]  # EFBIG, as a full disk would give ENOSPC: both after a part was taken
    assert report == [
        [failed, True, 1],
        [None, False, 2],
        [failed, True, 2],
        [failed, True, 2],
        [None, False, 3],
        [None, False, 4],
    ]
    data = everything(StoredOutbox(directory))
    rows = [msgspec.msgpack.decode(data[record.start : record.end]) for record in records(data)]
    assert [row[2]["text"] for row in rows] == ["before", "small", "", "also small"]


NO_ROOM_FOR_HEADER = """
from pathlib import Path
from disttrack.journal.outbox import Outbox
from tests.journal.joins import make_join

directory = Path(sys.argv[1])
disk_takes(directory, 100)
first = tried(lambda: Outbox(directory, make_join()))
left = directory.exists()
disk_takes(directory, 100_000)
Outbox(directory, make_join(project="second"))
print(json.dumps([first, left]))
"""


def test_a_journal_whose_header_does_not_fit_is_not_left_half_made(directory: Path) -> None:
    assert run(QUOTA + NO_ROOM_FOR_HEADER, directory) == [["OSError", 27], False]
    join = newest_join(directory)
    assert join is not None
    assert join.project == "second"


# Death


def test_a_killed_process_loses_no_record_whose_append_returned(tmp_path: Path) -> None:
    code = """
    from itertools import count
    from pathlib import Path
    from disttrack.journal.outbox import Outbox
    from disttrack.records.codec import RowEncoder
    from tests.journal.joins import make_join

    outbox, encoder = Outbox(Path(sys.argv[1]) / "journal", make_join()), RowEncoder()
    for number in count(1):
        if outbox.append(encoder.encode({"number": number, "text": "x" * (number % 50)}, number, 0, 0, []), 1):
            encoder.announce_again()
        appended(number)
    """
    appended = killed_after(code, tmp_path)
    assert appended >= 1_000
    stored, offset, steps = StoredOutbox(tmp_path / "journal"), 0, list[int]()
    while data := stored.read(offset, 10_000):
        steps += [msgspec.msgpack.decode(data[record.start : record.end])[0] for record in records(data)]
        offset += len(data)
    assert steps in (list(range(1, appended + 1)), list(range(1, appended + 2)))


def test_a_join_reads_back_with_fields_a_newer_version_may_add() -> None:
    join = make_join()
    assert decode(msgspec.msgpack.encode({**msgspec.to_builtins(join), "new_field": 1}), Join) == join


def test_a_place_for_journals_and_its_parent_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "disttrack-1" / "journals"
    assert is_good_place(place)
    assert [path.stat().st_mode & 0o777 for path in (place, place.parent)] == [0o700, 0o700]
