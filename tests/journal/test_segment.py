"""The run log: a cut, a flip, a full disk or a kill costs the frames it touches, and never another one."""

from __future__ import annotations

import os
import random
import stat
import struct
import threading
import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from disttrack.errors import UnsupportedFormat
from disttrack.journal.segment import (
    FORMAT_VERSION,
    Damage,
    Entry,
    Frame,
    FrameKind,
    Segment,
    check_version,
    entries,
    read_frames,
    segment_paths,
)
from disttrack.records.types import Admission, Alias, Incarnation, RunEnd, RunHeader, RunId, Sighting
from tests.journal.damage import each_cut, each_flip
from tests.journal.joins import make_join
from tests.journal.processes import QUOTA, killed_after, run

HEADER_BYTES = 24
NOISE = random.Random(1).randbytes(3 << 20)

run_headers = st.builds(
    RunHeader,
    format_version=st.just(FORMAT_VERSION),
    run_id=st.text(max_size=9).map(RunId),
    project=st.text(max_size=9),
    name=st.text(max_size=9),
    group=st.none() | st.text(max_size=9),
    launch_key=st.text(max_size=9),
    ordinal=st.integers(0, 9),
    nonce=st.text(max_size=9),
    time_us=st.integers(0, 2**60),
)


def make_header(**changes: int) -> RunHeader:
    fields: dict[str, Any] = {"format_version": FORMAT_VERSION, "ordinal": 0, "time_us": 7} | changes
    return RunHeader(run_id=RunId("r"), project="p", name="n", group=None, launch_key="k", nonce="x", **fields)


def make_entry(data: bytes, incarnation: int = 5, end: int | None = None) -> Entry:
    return Entry(3, Incarnation(incarnation), len(data) if end is None else end, data)


def frame(payload: bytes, *, kind: int = 3, flags: int = 0, count: int = 0, stored: int = -1, raw: int = -1) -> bytes:
    """Returns a frame made by hand, with lengths that may lie."""
    lengths = len(payload) if stored < 0 else stored, len(payload) if raw < 0 else raw
    tail = struct.pack("<IIIBBH", zlib.crc32(payload), *lengths, kind, flags, count)
    return b"DTF1" + struct.pack("<I", zlib.crc32(tail)) + tail + payload


def small_segment(directory: Path) -> tuple[Path, list[Frame]]:
    """Makes a segment of a few small frames, one of them compressed, and returns it with its frames."""
    segment = Segment(directory)
    segment.append(FrameKind.HEADER, make_header())
    segment.append_batch([make_entry(b"abc"), make_entry(NOISE[:10], 6)])
    segment.append_batch([make_entry(b"repeated " * 20)])
    segment.append(FrameKind.END, RunEnd(time_us=9))
    segment.close()
    return segment.path, frames(segment.path)


def found_in(path: Path, position: int = 0) -> tuple[list[Frame], list[Damage]]:
    found = list(read_frames(path, position))
    return [item for item in found if isinstance(item, Frame)], [item for item in found if isinstance(item, Damage)]


def frames(path: Path, position: int = 0) -> list[Frame]:
    whole, damage = found_in(path, position)
    assert damage == []
    return whole


# Round trips


def test_every_kind_of_frame_comes_back_as_it_was(tmp_path: Path) -> None:
    join = make_join(group="fold 1")
    values: dict[FrameKind, RunHeader | Admission | Sighting | Alias | RunEnd] = {
        FrameKind.HEADER: make_header(),
        FrameKind.ADMISSION: Admission(join=join, attempt=2, role="helper", orphan=True),
        FrameKind.SIGHTING: Sighting(incarnation=join.incarnation, seen="crashed", time_us=5, exit_code=-9),
        FrameKind.ALIAS: Alias(of=RunId("other")),
        FrameKind.END: RunEnd(time_us=9),
    }
    segment = Segment(tmp_path)
    for kind, value in values.items():
        segment.append(kind, value)
    segment.sync()
    segment.close()
    whole = frames(segment.path)
    assert [item.kind for item in whole] == list(values)
    assert [item.value(type(value)) for item, value in zip(whole, values.values(), strict=True)] == list(
        values.values()
    )
    assert [item.start for item in whole] == [0, *(item.end for item in whole[:-1])]
    assert whole[-1].end == segment.path.stat().st_size


@settings(max_examples=30)
@given(header=run_headers, end=st.integers(0, 2**63 - 1))
def test_any_header_comes_back(tmp_path_factory: pytest.TempPathFactory, header: RunHeader, end: int) -> None:
    segment = Segment(tmp_path_factory.mktemp("log"))
    segment.append(FrameKind.HEADER, header)
    segment.append(FrameKind.END, RunEnd(time_us=end))
    segment.close()
    first, second = frames(segment.path)
    assert (first.value(RunHeader), second.value(RunEnd)) == (header, RunEnd(time_us=end))


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(
            st.builds(
                Entry,
                st.integers(0, 2**32 - 1),
                st.integers(1, 2**64 - 1).map(Incarnation),
                st.integers(0, 2**64 - 1),
                st.binary(max_size=60) | st.sampled_from([b"x" * 5_000, NOISE[:5_000]]),
            ),
            min_size=1,
            max_size=6,
        ),
        max_size=6,
    )
)
def test_a_batch_is_one_frame_with_all_its_bytes(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Entry]]
) -> None:
    segment = Segment(tmp_path_factory.mktemp("log"))
    for batch in batches:
        segment.append_batch(batch)
    segment.close()
    whole = frames(segment.path)
    assert [item.kind for item in whole] == [FrameKind.DATA] * len(batches)
    assert [[entry._replace(data=bytes(entry.data)) for entry in entries(item)] for item in whole] == batches


def test_large_batches_come_back_and_repetitive_ones_take_less_room(tmp_path: Path) -> None:
    segment = Segment(tmp_path)
    for data in (NOISE, b"ab" * len(NOISE), b"", NOISE[: 2 << 20]):
        segment.append_batch([make_entry(data)])
    segment.close()
    whole = frames(segment.path)
    assert [sum(len(entry.data) for entry in entries(item)) for item in whole] == [3 << 20, 6 << 20, 0, 2 << 20]
    assert [bytes(next(entries(item)).data) for item in whole[::3]] == [NOISE, NOISE[: 2 << 20]]
    assert whole[1].end - whole[1].start < 10_000


def test_a_table_that_does_not_add_up_yields_what_of_it_does() -> None:
    entry = struct.pack("<IIQQ", 1, 2, 3, 4)
    for payload, count, expected in (
        (b"", 5, 0),
        (entry + b"ab", 1, 1),
        (entry[:-1], 1, 0),
        (entry * 2 + b"abab", 2, 2),
        (entry * 2 + b"abc", 2, 1),
        (entry * 2 + b"abab", 3, 0),
    ):
        assert len(list(entries(Frame(FrameKind.DATA, payload, count, 0, 0)))) == expected


# Files


def test_each_writer_life_gets_the_next_number(tmp_path: Path) -> None:
    assert [Segment(tmp_path).path.name for _ in range(3)] == ["000001.dtl", "000002.dtl", "000003.dtl"]
    (tmp_path / "000041.dtl").touch()
    (tmp_path / "notes.dtl").touch()
    (tmp_path / "000099.tmp").touch()
    assert Segment(tmp_path).path.name == "000042.dtl"
    assert [path.name for path in segment_paths(tmp_path)] == [
        *("000001.dtl", "000002.dtl", "000003.dtl", "000041.dtl", "000042.dtl"),
    ]


def test_writers_that_begin_at_once_never_share_a_file(tmp_path: Path) -> None:
    barrier, made = threading.Barrier(8), list[Segment]()

    def begin() -> None:
        barrier.wait()
        made.append(Segment(tmp_path))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for segment in made:
        segment.append(FrameKind.HEADER, make_header())
        segment.close()
    assert len({segment.path for segment in made}) == 8
    assert all(len(frames(path)) == 1 for path in segment_paths(tmp_path))


def test_a_segment_has_the_mode_of_its_directory_whatever_the_umask(tmp_path: Path) -> None:
    for mode, umask in ((0o750, 0o077), (0o2770, 0o022), (0o700, 0o000)):
        log = tmp_path / f"{mode:o}"
        log.mkdir()
        log.chmod(mode)
        before = os.umask(umask)
        try:
            segment = Segment(log)
        finally:
            os.umask(before)
        segment.close()
        assert stat.S_IMODE(segment.path.stat().st_mode) == mode & 0o666


def test_a_newer_version_is_refused_with_the_segments_path() -> None:
    path = Path("/data/log/000001.dtl")
    check_version(make_header(), path)
    check_version(make_header(format_version=0), path)
    with pytest.raises(UnsupportedFormat, match="format version 2") as refused:
        check_version(make_header(format_version=2), path)
    assert refused.value.path == path


# Damage


def test_a_flipped_bit_costs_at_most_the_frame_it_is_in(tmp_path: Path) -> None:
    path, whole = small_segment(tmp_path)
    assert whole[-1].end == path.stat().st_size
    for position in each_flip(path, range(whole[-1].end)):
        touched = next(item for item in whole if position < item.end)
        kept, damage = found_in(path)
        assert kept == [item for item in whole if item is not touched]
        # A frame at the end whose header is damaged may still be being written: it is not named yet.
        assert damage or (touched is whole[-1] and position < touched.start + HEADER_BYTES)
        assert all((item.start, item.end) == (touched.start, touched.end) for item in damage)


def test_every_cut_keeps_all_whole_frames(tmp_path: Path) -> None:
    path, whole = small_segment(tmp_path)
    for length in each_cut(path):
        assert frames(path) == [item for item in whole if item.end <= length]


@settings(max_examples=60)
@given(garbage=st.lists(st.binary(max_size=80), min_size=4, max_size=4))
@example(garbage=[b"DTF1", b"DTF1" * 9, b"", bytes(60)])
@example(garbage=[frame(b"x")[:20], b"x" + frame(b"x" * 40)[:23], b"", b"D"])
def test_garbage_between_frames_is_skipped_and_named(
    tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes]
) -> None:
    path, whole = small_segment(tmp_path_factory.mktemp("log"))
    data = path.read_bytes()
    pieces = [data[item.start : item.end] for item in whole]
    path.write_bytes(b"".join(junk + piece for junk, piece in zip(garbage, pieces, strict=True)))
    kept, damage = found_in(path)
    assert [item.payload for item in kept] == [item.payload for item in whole]
    assert [item.end - item.start for item in damage] == [len(junk) for junk in garbage if junk]


@pytest.mark.parametrize("size", [(2 << 20) - 25, (2 << 20) - 24, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 3 << 20])
def test_garbage_of_any_length_is_skipped(tmp_path: Path, size: int) -> None:
    path = tmp_path / "000001.dtl"
    path.write_bytes(frame(b"first") + NOISE[:size] + frame(b"second") + NOISE[:100])
    kept, damage = found_in(path)
    assert [item.payload for item in kept] == [b"first", b"second"]
    assert damage == [Damage(29, 29 + size, "no frame begins here (damaged header)")]


@pytest.mark.parametrize(
    "lie",
    [
        frame(b"x", stored=1 << 31),
        frame(b"x", raw=1 << 31),
        frame(b"x", stored=(1 << 32) - 1, raw=(1 << 32) - 1),
        frame(b"x", raw=3, flags=0),
        frame(b"x", flags=1),
        frame(b"x", flags=1, raw=1 << 26),
    ],
    ids=["stored", "raw", "both", "raw differs", "not compressed", "not so long"],
)
def test_lengths_that_lie_cost_one_frame_and_no_memory(tmp_path: Path, lie: bytes) -> None:
    path = tmp_path / "000001.dtl"
    path.write_bytes(frame(b"first") + lie + frame(b"second"))
    tracemalloc.start()
    try:
        kept, damage = found_in(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [item.payload for item in kept] == [b"first", b"second"]
    assert [(item.start, item.end) for item in damage] == [(29, 29 + len(lie))]
    assert peak < 16 << 20


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_a_file_of_anything_is_read_without_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "000001.dtl"
    path.write_bytes(data)
    for position in (0, 7, len(data), len(data) + 5):
        assert all(isinstance(item, Damage | Frame) for item in read_frames(path, position))


# A segment that is being written


def test_a_reader_follows_a_segment_while_it_grows(tmp_path: Path) -> None:
    segment, position, seen = Segment(tmp_path), 0, list[bytes]()
    for number in range(50):
        segment.append_batch([make_entry(b"%d" % number)])
        for item in frames(segment.path, position):
            seen += [bytes(entry.data) for entry in entries(item)]
            position = item.end
    segment.close()
    assert seen == [b"%d" % number for number in range(50)]


def test_an_incomplete_frame_is_found_again_from_the_same_position(tmp_path: Path) -> None:
    path, whole = small_segment(tmp_path)
    data = path.read_bytes()
    os.truncate(path, 0)
    position = 0
    seen: list[Frame] = []
    with open(path, "ab", buffering=0) as file:
        for byte in data:
            file.write(bytes([byte]))
            for item in frames(path, position):
                seen.append(item)
                position = item.end
    assert seen == whole


def test_a_damaged_header_at_the_end_is_waited_for_until_a_frame_follows(tmp_path: Path) -> None:
    path, whole = small_segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[whole[-1].start + 10] ^= 1
    path.write_bytes(data)
    kept, damage = found_in(path)
    assert (kept, damage) == (whole[:-1], [])
    path.write_bytes(data + frame(b"next"))
    kept, damage = found_in(path, whole[-1].start)
    assert [item.payload for item in kept] == [b"next"]
    assert [(item.start, item.end) for item in damage] == [(whole[-1].start, whole[-1].end)]


# A full disk, and death


FULL_DISK = """
from pathlib import Path
from disttrack.journal.segment import Entry, Segment

segment = Segment(Path(sys.argv[1]))
segment.append_batch([Entry(0, 1, 6, b"before")])
disk_takes(segment.path, 2_000)
report = []
for size in (5_000, 100, 3_000, 9_000, 100):
    before = segment.path.stat().st_size
    failed = tried(lambda: segment.append_batch([Entry(0, 1, size, os.urandom(size))]))
    report.append([failed, segment.path.stat().st_size - before])
    segment.sync()
print(json.dumps(report))
"""


def test_what_does_not_fit_leaves_no_trace_and_smaller_frames_still_fit(tmp_path: Path) -> None:
    failed = ["OSError", 27]  # EFBIG, as a full disk would give ENOSPC: both after a part was taken
    assert run(QUOTA + FULL_DISK, tmp_path) == [[failed, 0], [None, 148], [failed, 0], [failed, 0], [None, 148]]
    assert [entry.end for item in frames(tmp_path / "000001.dtl") for entry in entries(item)] == [6, 100, 100]


def test_a_killed_writer_loses_no_frame_whose_append_returned(tmp_path: Path) -> None:
    code = """
    from itertools import count
    from pathlib import Path
    from disttrack.journal.segment import Entry, Segment

    segment = Segment(Path(sys.argv[1]))
    for number in count(1):
        segment.append_batch([Entry(rank, 7, number, os.urandom(number % 100)) for rank in range(3)])
        appended(number)
    """
    appended = killed_after(code, tmp_path)
    assert appended >= 1_000
    whole = frames(tmp_path / "000001.dtl")
    ends = [[entry.end for entry in entries(item)] for item in whole]
    assert len(ends) in (appended, appended + 1)
    assert ends == [[number] * 3 for number in range(1, len(ends) + 1)]
    assert all(earlier.end == later.start for earlier, later in pairwise(whole))
