"""P15: a flipped bit or a cut tail loses only the frames it touches; readers end, name it, and never over-allocate."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from disttrack.doctor.logs import check_log
from disttrack.index.decoder import RunDecoder
from disttrack.index.survey import segments
from disttrack.journal.segment import Damage, Frame, frames, read_frames
from tests.faults.logs import answer, cli, data_frames, long_run

EVERY = 97
MAX_ALLOCATED_BYTES = 24 << 20  # of a log of about 1 MB: a window, a frame, and what the index piles up


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """The only segment, of about 1 MB, of a finished run."""
    log, _ = long_run(tmp_path / "disttrack-runs", frames=40, rows=200)
    path = log.log / "000001.dtl"
    assert 0.2e6 < path.stat().st_size < 2e6
    return path


def whole_frames(data: bytes | bytearray) -> tuple[dict[int, int], list[Damage], int]:
    """Returns the checksums of whole frames by where they begin, the damage, and where reading ended."""
    found: dict[int, int] = {}
    damage: list[Damage] = []
    end = 0
    for each in frames(lambda size, at: bytes(data[at : at + size])):
        end = each.end
        if isinstance(each, Frame):
            found[each.start] = hash(each.payload)
        else:
            damage.append(each)
    return found, damage, end


def check_flips(segment: Path, positions: Iterable[int]) -> None:
    """Flips each byte in turn within its neighbourhood of frames: each frame but its own is found, and damage named."""
    data = segment.read_bytes()
    spans = [(each.start, each.end) for each in read_frames(segment)]
    owner = [number for number, (start, end) in enumerate(spans) for _ in range(start, end)]
    for position in positions:
        number = owner[position]
        first, last = max(0, number - 1), min(len(spans) - 1, number + 1)
        base, stop = spans[first][0], spans[last][1]
        part = bytearray(data[base:stop])
        untouched = {start - base for start, _ in spans[first : last + 1]} - {spans[number][0] - base}
        part[position - base] ^= 1 + position % 255
        found, damage, end = whole_frames(part)
        assert untouched <= found.keys(), position
        assert spans[number][0] - base not in found, position
        named = [(each.start, each.end) for each in damage] + ([(end, len(part))] if end < len(part) else [])
        assert any(start <= position - base < finish for start, finish in named), position


def check_cuts(segment: Path, lengths: Iterable[int]) -> None:
    """Cuts the log at each length, from the frame before on: whole frames before it are found, and the rest named."""
    data = segment.read_bytes()
    starts = [(each.start, each.end) for each in read_frames(segment)]
    owner = [start for start, end in starts for _ in range(start, end)]
    for length in lengths:
        start = owner[length]
        before = owner[start - 1] if start else 0
        found, damage, end = whole_frames(data[before:length])
        assert sorted(found) == ([0] if before < start else []), length
        assert damage == []
        assert end == start - before


def check_readers(segment: Path, position: int | None, length: int) -> None:
    """Has fsck and the index read a log that is damaged there, and cut to this length."""
    log = segment.parent
    tracemalloc.start()
    found = check_log(log, live=False, reached=lambda _: None)
    decoder = RunDecoder()
    for _ in decoder.read(log, segments(log)):
        decoder.drain()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MAX_ALLOCATED_BYTES
    assert found.damage
    if position is not None:
        assert any(each.start <= position < each.end for each in found.damage), position
        assert len(found.holes) <= 1
    assert all(each.end <= length for each in found.damage)


@pytest.mark.real(timeout_s=120)
def test_flipped_bytes_cost_the_frame_they_are_in_and_are_named(segment: Path) -> None:
    chosen = data_frames(segment)[1], data_frames(segment)[20], data_frames(segment)[-1]
    size = segment.stat().st_size
    check_flips(
        segment, [position for frame in chosen for position in range(frame.start, min(frame.end, frame.start + 4_096))]
    )
    check_flips(segment, range(0, size, EVERY))


@pytest.mark.real(timeout_s=120)
def test_cut_logs_keep_every_frame_before_the_cut(segment: Path) -> None:
    check_cuts(segment, range(1, segment.stat().st_size, EVERY))


@pytest.mark.real(timeout_s=120)
def test_fsck_and_the_index_read_damaged_and_cut_logs_in_bounded_memory(segment: Path) -> None:
    size = segment.stat().st_size
    data = segment.read_bytes()
    for position in range(0, size, max(1, size // 6)):
        wrong = bytearray(data)
        wrong[position] ^= 0xFF
        segment.write_bytes(wrong)
        check_readers(segment, position, size)
    for length in range(size - 1, 0, -(size // 4)):
        segment.write_bytes(data[:length])
        check_readers(segment, None, length)


@pytest.mark.real(timeout_s=120)
def test_export_of_a_damaged_log_lacks_the_rows_of_one_frame(segment: Path) -> None:
    frame = data_frames(segment)[20]
    data = bytearray(segment.read_bytes())
    data[frame.start + 100] ^= 0x10
    segment.write_bytes(data)
    rows = cli("export", "run1", "--keys", "loss").splitlines()
    assert len(rows) == 39 * 200
    [run] = answer("fsck", code=1)["runs"]
    assert [(damage["start"], damage["end"]) for damage in run["damage"]] == [(frame.start, frame.end)]
    assert os.listdir(segment.parent) == [segment.name]


@pytest.mark.soak
def test_every_flipped_byte_and_every_length(segment: Path) -> None:
    check_flips(segment, range(segment.stat().st_size))
    check_cuts(segment, range(1, segment.stat().st_size))
