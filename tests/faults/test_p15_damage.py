"""P15: a flipped bit or a cut tail loses only the frames it touches; readers end, name it, and never over-allocate.

The frame reader is what tells whole frames from damaged ones, for the index, fsck and the writer alike: it reads the
log at every position of the plan, in the neighbourhood of the damage. The others read that neighbourhood, and now and
then the whole log, as often as there is time for; --soak takes every byte and every length.
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from disttrack.doctor.damage import LogCheck
from disttrack.doctor.logs import check_log
from disttrack.index.indexer import Index
from disttrack.index.queries import damage_of
from disttrack.journal.segment import HEADER_BYTES, Damage, Frame, FrameKind, frames
from disttrack.writer.history import read_history
from tests.faults.large import LargeLog, Neighbourhood, Placed, decoded, large_log, rows_of
from tests.faults.logs import answer, cli

EVERY = 97
MAX_ALLOCATED_BYTES = 24 << 20  # of a log of 1 MB: a window, a frame, and what the index piles up

Place = tuple[Placed, int]  # a frame, and a byte of its segment within it


@pytest.fixture
def large(tmp_path: Path) -> LargeLog:
    large = large_log(tmp_path / "disttrack-runs")
    assert large.size >= 1_000_000
    return large


def places(large: LargeLog, every: int = 1, offset: int = 0) -> Iterator[Place]:
    """Yields every so many bytes of all segments, frame by frame."""
    for frame in large.frames:
        first = frame.start + (offset - frame.start) % every
        yield from ((frame, position) for position in range(first, frame.end, every))


def chosen_places(large: LargeLog, every: int = 1) -> Iterator[Place]:
    """Yields the bytes of the three frames: all of their headers, and every so many of their payloads."""
    for frame in large.chosen():
        body = frame.start + HEADER_BYTES
        yield from ((frame, position) for position in [*range(frame.start, body), *range(body, frame.end, every)])


def flipped(data: bytes, position: int) -> bytes:
    """Returns data with one byte changed, each time in other bits of it."""
    wrong = bytearray(data)
    wrong[position] ^= 1 + position % 255
    return bytes(wrong)


def reader_of(data: bytes) -> Callable[[int, int], bytes]:
    """Returns how the frame reader asks for bytes."""
    return lambda size, at: data[at : at + size]


def check_log_of(log: Path) -> LogCheck:
    return check_log(log, live=False, reached=lambda _: None)


@contextmanager
def file_of(directory: Path, data: bytes) -> Generator[tuple[Path, int]]:
    """Makes a log of one segment; gives its directory, and the segment opened."""
    log = directory / "neighbourhood" / "log"
    log.mkdir(parents=True, exist_ok=True)
    fd = os.open(log / "000001.dtl", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, data)
        yield log, fd
    finally:
        os.close(fd)


# Around the damage


def check_frames(near: Neighbourhood, data: bytes, position: int) -> None:
    """Has the frame reader find every frame but the damaged one, and name the byte that was flipped."""
    end, starts, named = 0, list[int](), False
    for found in frames(reader_of(data)):
        end = found.end
        if isinstance(found, Frame):
            assert data[found.start : found.end] == near.data[found.start : found.end]
            starts.append(found.start)
        else:
            named |= found.start <= position < found.end
    assert starts == [frame.start for number, frame in enumerate(near.frames) if number != near.at], position
    assert named or end <= position, position  # beyond the end: as if it were being written; fsck tells


def check_fsck(near: Neighbourhood, log: Path, position: int) -> None:
    """Has fsck name the byte that was flipped, and whose bytes were lost, where bytes of the same rank follow."""
    found = check_log_of(log)
    named = [damage for damage in found.damage if damage.start <= position < damage.end]
    assert len(named) == 1, position
    assert (named[0].start, named[0].end) == (near.frame.start, near.frame.end), position
    assert found.frames == len(near.frames) - 1
    if near.frame.kind == FrameKind.DATA == near.frames[-1].kind and near.frame is not near.frames[-1]:
        assert {held.rank for held in named[0].held} == {0, 1, 2, 3}


def check_decoder(near: Neighbourhood, data: bytes, position: int) -> None:
    """Has the index's decoder find every row but those of the damaged frame, and name it."""
    rows, decoder = decoded(data)
    assert np.array_equal(rows, near.rows_without()), position
    if decoder.facts.segments[0].position > position:
        assert [(place.start, place.end) for place in decoder.facts.damaged] == [(near.frame.start, near.frame.end)]


def check_flips(
    large: LargeLog, where: Iterable[Place], directory: Path, *, fsck_every: int = 1, decoder_every: int = 1
) -> int:
    """Flips each of these bytes in turn; returns how many. Headers are read by all readers, payloads every so often."""
    count = 0
    for frame, group in groupby(where, key=lambda place: place[0]):
        near = large.neighbourhood(frame)
        shift = near.frame.start - frame.start
        with file_of(directory, near.data) as (log, fd):
            for _, place in group:
                position = place + shift
                data = flipped(near.data, position)
                check_frames(near, data, position)
                in_header = place - frame.start < HEADER_BYTES
                if in_header or count % fsck_every == 0:
                    os.pwrite(fd, data[position : position + 1], position)
                    check_fsck(near, log, position)
                    os.pwrite(fd, near.data[position : position + 1], position)
                if in_header or count % decoder_every == 0:
                    check_decoder(near, data, position)
                count += 1
    return count


def check_cuts(large: LargeLog, where: Iterable[Place], directory: Path, *, fsck_every: int = 1) -> int:
    """Cuts the neighbourhood before each of these bytes: frames before are found, and fsck names the rest."""
    count = 0
    for frame, group in groupby(where, key=lambda place: place[0]):
        near = large.neighbourhood(frame)
        shift = near.frame.start - frame.start
        before = [each.start for each in near.frames if each.end <= near.frame.start]
        with file_of(directory, near.data) as (log, fd):
            for _, place in group:
                length = place + shift
                data = near.data[:length]
                found = list(frames(reader_of(data)))
                assert not any(isinstance(each, Damage) for each in found), length
                assert [each.start for each in found] == before, length
                if count % fsck_every == 0:
                    os.ftruncate(fd, length)
                    check = check_log_of(log)
                    assert check.frames == len(before)
                    if length > near.frames[0].end:  # else it is a log in which nobody has said anything yet
                        [damage] = check.damage
                        assert damage.start == (near.frame.start if place > frame.start else length), length
                        assert damage.end == length
                    os.pwrite(fd, near.data[length:], length)
                count += 1
    return count


@pytest.mark.real(timeout_s=180)
def test_each_flipped_byte_of_three_frames_costs_the_frame_and_is_named(large: LargeLog, tmp_path: Path) -> None:
    assert check_flips(large, chosen_places(large), tmp_path, fsck_every=7, decoder_every=EVERY) > 10_000


@pytest.mark.real(timeout_s=180)
def test_every_97th_byte_flipped_costs_the_frame_it_is_in_and_is_named(large: LargeLog, tmp_path: Path) -> None:
    assert check_flips(large, places(large, EVERY), tmp_path, decoder_every=7) > 10_000


@pytest.mark.real(timeout_s=180)
def test_every_97th_length_keeps_every_frame_before_the_cut(large: LargeLog, tmp_path: Path) -> None:
    assert check_cuts(large, places(large, EVERY), tmp_path) > 10_000


# The whole log


def check_all_readers(large: LargeLog, lost: Iterable[Placed], position: Place | None) -> None:
    """Has every reader go through the whole log, whose damage cost these frames."""
    lost = list(lost)
    found = check_log_of(large.log)
    assert found.frames == len(large.frames) - len(lost)
    history = read_history(large.log)
    assert {admission.join.rank.rank for admission in history.admissions} == {0, 1, 2, 3}
    root = large.log.parents[2]
    index = Index(root, {})
    try:
        assert index.catch_up()
        [record] = index.runs()
        assert (record.project, record.run_id) == ("demo", "run1")
        ranks = [source.join.rank.rank for source in record.sources if source.join is not None]
        assert np.array_equal(rows_of(index.snapshot(record).blocks, ranks), large.rows_without(lost))
        _, named = damage_of(record)
    finally:
        index.close()
        for path in root.glob("index-*"):
            path.unlink()
    if position is None:
        assert found.damage or found.holes
        return
    frame, byte = position
    path = large.path(frame.segment)
    assert [(each.path, each.start, each.end) for each in found.damage] == [(str(path), frame.start, frame.end)], byte
    if large.segments[frame.segment][frame.end :] or named:  # else as if it were being written
        assert [(place.path, place.start, place.end) for place in named] == [
            (f"log/{path.name}", frame.start, frame.end)
        ]


def check_whole_flips(large: LargeLog, where: Iterable[Place]) -> int:
    count = 0
    for frame, position in where:
        data = large.segments[frame.segment]
        large.path(frame.segment).write_bytes(flipped(data, position))
        check_all_readers(large, [frame], (frame, position))
        large.path(frame.segment).write_bytes(data)
        count += 1
    return count


def check_whole_cuts(large: LargeLog, where: Iterable[Place]) -> int:
    count = 0
    for frame, length in where:
        if length == 0:
            continue
        data = large.segments[frame.segment]
        large.path(frame.segment).write_bytes(data[:length])
        lost = [each for each in large.frames if each.segment == frame.segment and each.end > length]
        check_all_readers(large, lost, None)
        large.path(frame.segment).write_bytes(data)
        count += 1
    return count


@pytest.mark.real(timeout_s=180)
def test_whole_logs_with_a_flipped_byte_are_read_but_for_one_frame(large: LargeLog) -> None:
    assert check_whole_flips(large, chosen_places(large, 16 * EVERY)) > 72
    assert check_whole_flips(large, places(large, 397 * EVERY)) > 20


@pytest.mark.real(timeout_s=180)
def test_whole_logs_that_were_cut_are_read_up_to_there(large: LargeLog) -> None:
    assert check_whole_cuts(large, places(large, 397 * EVERY)) > 20


@pytest.mark.real(timeout_s=180)
def test_fsck_and_the_index_read_damaged_and_cut_logs_in_bounded_memory(large: LargeLog) -> None:
    tracemalloc.start()
    try:
        check_whole_flips(large, places(large, large.size // 6))
        check_whole_flips(large, [(large.chosen()[1], large.chosen()[1].start + 12)])  # the length it says it has
        check_whole_cuts(large, places(large, large.size // 4))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MAX_ALLOCATED_BYTES


@pytest.mark.real(timeout_s=120)
def test_export_of_a_damaged_log_lacks_the_rows_of_one_frame(large: LargeLog) -> None:
    frame = large.chosen()[1]
    path = large.path(frame.segment)
    path.write_bytes(flipped(large.segments[frame.segment], frame.start + 100))
    rows = cli("export", "run1", "--keys", "metric_0").splitlines()
    assert len(rows) == len(large.rows_without([frame]))
    [run] = answer("fsck", code=1)["runs"]
    assert [(damage["path"], damage["start"], damage["end"]) for damage in run["damage"]] == [
        (str(path), frame.start, frame.end)
    ]
    assert len(os.listdir(large.log)) == len(large.segments)


# Everything


@pytest.mark.soak(timeout_s=4 * 3_600)
def test_every_flipped_byte(large: LargeLog, tmp_path: Path) -> None:
    assert check_flips(large, places(large), tmp_path, decoder_every=7) == large.size


@pytest.mark.soak(timeout_s=4 * 3_600)
def test_every_length(large: LargeLog, tmp_path: Path) -> None:
    assert check_cuts(large, places(large), tmp_path) == large.size


@pytest.mark.soak(timeout_s=4 * 3_600)
def test_every_997th_byte_and_length_of_whole_logs(large: LargeLog) -> None:
    assert check_whole_flips(large, places(large, 997)) > 1_000
    assert check_whole_cuts(large, places(large, 997)) > 1_000
