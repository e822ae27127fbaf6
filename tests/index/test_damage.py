"""Damage costs what it touches and nothing else; nothing crashes, nothing loops."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from disttrack.index.decoder import RunDecoder
from disttrack.index.facts import MAX_NAMED
from disttrack.index.indexer import Index
from disttrack.index.queries import damage_of
from disttrack.index.survey import segments
from tests.index.logs import Process, RunLog, process_of

Row = tuple[int, int, str, object]  # source, step, key, value


def rows_of(decoder: RunDecoder) -> set[Row]:
    rows: set[Row] = set()
    for _, block in decoder.tail():
        sources: list[int] = block.places().src.tolist()
        steps: list[int] = block.places().step.tolist()
        for key in block.keys:
            for src, step, value in zip(sources, steps, list(block.column(key)), strict=True):
                facts = decoder.streams[src].facts
                rows.add((facts.join.rank.rank if facts.join else facts.rank_hint, step, key, value))
    return rows


def read(log: Path) -> RunDecoder:
    decoder = RunDecoder()
    for _ in decoder.read(log, segments(log)):
        pass
    return decoder


@pytest.fixture
def ranks() -> list[Process]:
    """Two ranks; each row brings its schema with it, as the rows of each frame here must not need another frame."""
    ranks = [process_of(rank, 2) for rank in range(2)]
    for step in range(4):
        for process in ranks:
            process.encoder.announce_again()
            process.row({"loss": 10.0 * process.join.rank.rank + step, "n": step}, step)
            process.row({"text": f"t{step}"}, step)
    return ranks


def of_frame(ranks: list[Process], number: int) -> set[Row]:
    return {
        (rank, number, key, value)
        for rank in range(len(ranks))
        for key, value in (("loss", 10.0 * rank + number), ("n", number), ("text", f"t{number}"))
    }


def frames_of(ranks: list[Process], root: Path) -> tuple[RunLog, list[tuple[int, int, set[Row]]]]:
    """Writes a frame a step; returns where each begins and ends, and what is in it."""
    log = RunLog(root)
    for process in ranks:
        log.admit(process)
    frames: list[tuple[int, int, set[Row]]] = []
    for step in range(4):
        begin = log.open().path.stat().st_size
        log.commit(*[(process, 2 * step, 2 * step + 2) for process in ranks])
        frames.append((begin, log.open().path.stat().st_size, of_frame(ranks, step)))
    log.close()
    return log, frames


def damaged(path: Path, stride: int = 1) -> Iterator[int]:
    """Yields each byte's position with one of its bits flipped in the file; mends it again afterwards."""
    content = path.read_bytes()
    for position in range(0, len(content), stride):
        wrong = bytearray(content)
        wrong[position] ^= 1 << position % 8
        path.write_bytes(wrong)
        yield position
    path.write_bytes(content)


def test_a_flipped_bit_anywhere_in_a_log_loses_only_the_frame_it_touches(ranks: list[Process], tmp_path: Path) -> None:
    log, frames = frames_of(ranks, tmp_path)
    everything = set[Row]().union(*(rows for _, _, rows in frames))
    path = log.log / "000001.dtl"
    assert rows_of(read(log.log)) == everything
    for position in damaged(path):
        kept = set[Row]().union(*(rows for begin, end, rows in frames if not begin <= position < end))
        decoder = read(log.log)
        assert kept <= rows_of(decoder) <= everything, position
        last = frames[-1][0] <= position  # a damaged header there may be one that is being written
        assert last or any(place.start <= position < place.end for place in decoder.facts.damaged), position


def test_damage_is_counted_and_its_first_places_are_named(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of(1, 2, host="node7")
    for step in range(50):
        process.row({"loss": 0.5}, step)
        process.encoder.announce_again()
    log.commit_all(process)
    begins: list[int] = []
    for step in range(50):
        first = len(process.bounds) - 1
        process.row({"loss": 0.5}, 100 + step)
        begins.append(log.open().path.stat().st_size)
        log.commit((process, first, None))
    log.commit((process, 49, 50))  # a copy: what it repeats is whole
    torn = process.entry(50, 51)
    log.open().append_batch([torn._replace(end=torn.end + 1_000_000)])
    log.close()
    path = log.log / "000001.dtl"
    content = bytearray(path.read_bytes())
    for begin in begins:
        content[begin + 30] ^= 1
    path.write_bytes(content)
    index = Index(tmp_path, {})
    assert index.catch_up()
    count, places = damage_of(index.runs()[0])
    assert count == 50
    assert [place.start for place in places] == begins[: len(places)]
    assert len(places) == MAX_NAMED
    assert places[0].path == "log/000001.dtl"
    assert places[0].why == "the payload's checksum is wrong"
    index.close()


def test_a_damaged_journal_is_named_with_its_rank(tmp_path: Path) -> None:
    process = process_of(1, 2, host="node7")
    for step in range(3):
        process.row({"loss": 0.5}, step)
    first, last = process.bounds[1:3]
    good = process.journal
    process.journal = good[: first + 20] + b"?" + good[first + 21 :]
    log = RunLog(tmp_path)
    log.commit_all(process)
    index = Index(tmp_path, {})
    assert index.catch_up()
    (place,) = damage_of(index.runs()[0])[1]
    assert place[:3] == ("journal of rank 1 (node7)", first, last)
    process.journal = good
    log.commit((process, 1, 2))  # a better copy comes
    assert index.catch_up()
    assert damage_of(index.runs()[0]) == (1, [])
    index.close()
    log.close()


def test_a_log_cut_anywhere_gives_its_whole_frames(ranks: list[Process], tmp_path: Path) -> None:
    log, frames = frames_of(ranks, tmp_path)
    path = log.log / "000001.dtl"
    content = path.read_bytes()
    for size in range(0, len(content), 3):
        path.write_bytes(content[:size])
        assert rows_of(read(log.log)) == set[Row]().union(*(rows for _, end, rows in frames if end <= size))


def test_a_reader_goes_on_where_a_half_written_frame_is_completed(ranks: list[Process], tmp_path: Path) -> None:
    log, frames = frames_of(ranks, tmp_path)
    path = log.log / "000001.dtl"
    content = path.read_bytes()
    decoder, path_of_copy = RunDecoder(), tmp_path / "demo" / "run2" / "log" / "000001.dtl"
    path_of_copy.parent.mkdir(parents=True)
    for size in range(0, len(content) + 7, 7):
        with path_of_copy.open("ab") as file:  # the same file goes on growing
            file.write(content[file.tell() : size])
        for _ in decoder.read(path_of_copy.parent, segments(path_of_copy.parent)):
            pass
        assert rows_of(decoder) == set[Row]().union(*(rows for _, end, rows in frames if end <= size))


@pytest.mark.parametrize(("batch", "text_every"), [(1, 5), (30, 5), (30, 100)])
def test_a_flipped_bit_in_a_journal_costs_only_its_record(batch: int, text_every: int, tmp_path: Path) -> None:
    """A journal damaged on its way to the writer: frames are whole, a record in them is not."""
    process = process_of()
    for step in range(30):
        if step % batch == 0:
            process.encoder.announce_again()
        process.row({"loss": float(step)} if step % text_every else {"loss": float(step), "text": "t"}, step)
    everything = {(0, step, "loss", float(step)) for step in range(30)}
    whole = process.journal
    bounds = process.bounds
    for position in range(0, len(whole), 7):
        wrong = bytearray(whole)
        wrong[position] ^= 1 << position % 8
        process.journal = bytes(wrong)
        log = RunLog(tmp_path / str(position))
        log.commit(*[(process, first, min(first + 11, 30)) for first in range(0, 30, 11)])
        log.close()
        decoder = read(log.log)
        lost = everything - {row for row in rows_of(decoder) if row[2] == "loss"}
        touched = next(number for number in range(30) if position < bounds[number + 1])
        announced = touched % batch == 0 or (batch == 30 and touched == 1)
        assert len(lost) <= (batch if announced else 1), position
        assert (0, touched, "loss", float(touched)) in lost or announced
        assert decoder.streams[0].facts.damage == 1
        assert decoder.streams[0].facts.cover.gaps or decoder.streams[0].facts.cover.end < len(whole)


def test_a_damaged_record_is_taken_from_the_better_copy(tmp_path: Path) -> None:
    process = process_of()
    for step in range(20):
        process.row({"loss": float(step)}, step)
    whole = process.journal
    log = RunLog(tmp_path)
    for at in (process.bounds[7] + 20, None):  # first damaged, then as it was
        wrong = bytearray(whole)
        if at is not None:
            wrong[at] ^= 1
        process.journal = bytes(wrong)
        log.commit_all(process)
    log.close()
    decoder = read(log.log)
    assert rows_of(decoder) == {(0, step, "loss", float(step)) for step in range(20)}
    assert decoder.streams[0].facts.cover.gaps == []
    assert decoder.streams[0].facts.stored == 20


def test_rows_wait_for_a_schema_that_was_lost_until_it_is_repeated(tmp_path: Path) -> None:
    process = process_of()
    process.row({"loss": 0.0, "n": 0}, 0)
    for step in range(1, 6):
        process.row({"loss": float(step), "n": step}, step)
    log = RunLog(tmp_path)
    log.commit((process, 1, 6))  # all but the record with the schema
    decoder = RunDecoder()
    for _ in decoder.read(log.log, segments(log.log)):
        pass
    assert rows_of(decoder) == set()
    assert decoder.streams[0].facts.stored == 5
    process.encoder.announce_again()
    process.row({"loss": 6.0, "n": 6}, 6)
    log.commit((process, 6, 7))
    for _ in decoder.read(log.log, segments(log.log)):
        pass
    assert rows_of(decoder) == {
        (0, step, key, value) for step in range(1, 7) for key, value in (("loss", float(step)), ("n", step))
    }
    log.close()


def test_records_of_kinds_unknown_and_records_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    process = process_of()
    process.row({"loss": 1.0}, 1)
    whole = process.journal
    for kind, body in (
        (99, b"from the future"),
        (5, b"\x93"),
        (2, b"\x92\x91\xa1a\xa1x"),
        (4, b"\xc1" * 3),
        (3, b"short"),
    ):
        process.append(framed(kind, body))
    process.row({"loss": 2.0}, 2)
    log = RunLog(tmp_path)
    log.commit_all(process)
    log.close()
    decoder = read(log.log)
    assert rows_of(decoder) == {(0, 1, "loss", 1.0), (0, 2, "loss", 2.0)}
    assert decoder.streams[0].facts.cover.end == len(process.journal) > len(whole)
    assert decoder.streams[0].facts.damage == 4


def framed(kind: int, body: bytes) -> bytes:
    """Returns a record of any kind with a right checksum."""
    seed = zlib.crc32(struct.pack("<IBBH", len(body), kind, 0, 7))
    return struct.pack("<IIBBH", len(body), zlib.crc32(body, seed), kind, 0, 7) + body
