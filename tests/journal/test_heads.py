"""A damaged head hides no journal as long as something else tells what it said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from disttrack.environments.host import private_directory
from disttrack.journal.directories import outbox_directory
from disttrack.journal.files import FILE_NAME, file_name
from disttrack.journal.heads import JOIN_NAME, head_of, read_head, write_join
from disttrack.journal.outbox import MIN_QUOTA_BYTES, Outbox
from disttrack.journal.stored import StoredOutbox
from disttrack.records.codec import RowEncoder
from disttrack.records.types import Join, RunId, changed
from tests.journal.joins import make_join

ROWS = b"".join(RowEncoder().encode({"text": "x" * 30}, step, 0, 0, []) for step in range(20))


@pytest.fixture
def join() -> Join:
    return make_join(project="büro", tags=("a", "b"))


@pytest.fixture
def directory(tmp_path: Path, join: Join) -> Path:
    """A journal with a few rows."""
    directory = outbox_directory(private_directory(tmp_path / "journals"), join)
    outbox = Outbox(directory, join)
    outbox.append(ROWS, 20)
    outbox.close()
    return directory


def overwrite(path: Path, position: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(data)


def test_any_wrong_byte_of_a_head_but_those_of_its_version_is_mended(directory: Path, join: Join) -> None:
    path = directory / FILE_NAME
    whole = path.read_bytes()
    _, size = read_head(path)
    for position in [*range(4), *range(8, size)]:
        for bits in {1 << position % 8, 0xFF, 1 + position % 255}:
            overwrite(path, position, bytes([whole[position] ^ bits]))
            stored = StoredOutbox(directory)
            assert stored.join == join, position
            assert stored.read(0, 1 << 20) == ROWS, position
        overwrite(path, position, whole[position : position + 1])


def test_a_head_that_is_worse_off_is_refused_by_itself(directory: Path) -> None:
    path = directory / FILE_NAME
    _, size = read_head(path)
    overwrite(path, size // 2, os.urandom(16))
    with pytest.raises(ValueError, match="is torn"):
        StoredOutbox(directory)


@pytest.mark.parametrize("begin", [0, 8, 40], ids=["all of it", "from its length on", "the join"])
def test_the_join_beside_it_stands_in_for_a_head(directory: Path, join: Join, begin: int) -> None:
    newer = changed(join, run_id=RunId("abcd1234"))
    write_join(directory, newer)
    path = directory / FILE_NAME
    _, size = read_head(path)
    overwrite(path, begin, bytes(size - begin))
    stored = StoredOutbox(directory)
    assert stored.join == newer
    assert stored.read(0, 1 << 20) == ROWS


def test_where_the_records_begin_is_never_guessed(directory: Path, join: Join) -> None:
    write_join(directory, changed(join, launch_key="another", run_id=RunId("abcd1234")))
    path = directory / FILE_NAME
    _, size = read_head(path)
    overwrite(path, 0, bytes(size + 20))  # the first record, too: the next one would be taken for it
    with pytest.raises(ValueError, match="is not a journal"):
        StoredOutbox(directory)


def test_another_file_of_the_journal_says_the_same(tmp_path: Path, join: Join) -> None:
    directory = outbox_directory(private_directory(tmp_path / "journals"), join)
    outbox = Outbox(directory, join, MIN_QUOTA_BYTES)
    while not any(path.name != FILE_NAME for path in directory.glob("*.dtj")):
        outbox.append(ROWS, 20)
    outbox.append(ROWS, 20)
    outbox.close()
    overwrite(directory / FILE_NAME, 0, os.urandom(200))
    stored = StoredOutbox(directory)
    assert stored.join == join
    assert stored.read(0, len(ROWS)) == ROWS
    assert directory / file_name(0) == directory / FILE_NAME


def test_a_join_beside_the_journal_is_checked_and_mended_too(directory: Path, join: Join) -> None:
    newer = changed(join, run_id=RunId("abcd1234"))
    write_join(directory, newer)
    path = directory / JOIN_NAME
    for position in range(path.stat().st_size):
        whole = path.read_bytes()
        overwrite(path, position, bytes([whole[position] ^ 1]))
        assert StoredOutbox(directory).join in ((newer,) if not 4 <= position < 8 else (newer, join)), position
        overwrite(path, position, whole[position : position + 1])
    overwrite(path, 60, os.urandom(20))
    assert StoredOutbox(directory).join == join


def test_a_join_that_was_left_without_a_checksum_is_read(directory: Path, join: Join) -> None:
    newer = changed(join, run_id=RunId("abcd1234"))
    (directory / JOIN_NAME).write_bytes(head_of(newer)[16:])
    assert StoredOutbox(directory).join == newer
