"""Journals that killed writers left are removed once all is stored and nobody may need them; nothing else ever is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from disttrack.environments.host import try_lock
from disttrack.journal.directories import journal_directories, remove, remove_rests
from disttrack.journal.spool import Spool
from disttrack.records.blobs import Note
from disttrack.records.codec import RowEncoder
from disttrack.records.types import Join, RunId
from disttrack.transport.rendezvous import Claim
from disttrack.writer.ingest import RunIngest
from disttrack.writer.launch import Launch
from disttrack.writer.sweeping import may_sweep, sweep
from tests.writer.test_launch import KEY, dead_pid, join, journal, launch

OTHER = "parent:elsewhere:1:1"


def left(tmp_path: Path, end: Callable[[Launch, RunIngest], None] = Launch.end_run) -> Join:
    """Returns whose journal is left of a run that was stored, and ended; a writer was killed before it removed it."""
    who = join(tmp_path, dead_pid())
    journal(tmp_path, who, rows=10).close()
    before = launch(tmp_path)
    ((run, _, _),) = before.adopt()
    shutil.copytree(who.journal, tmp_path / "copy")
    end(before, run)
    before.close()
    if not Path(who.journal).exists():
        shutil.copytree(tmp_path / "copy", who.journal)
    return who


def swept(tmp_path: Path) -> list[Path]:
    return [directory for directory, _ in sweep(tmp_path / "runtime", tmp_path / "root")]


def in_a_process(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "disttrack.writer.sweeping", str(tmp_path / "runtime")], check=True)


def not_ended(_: Launch, run: RunIngest) -> None:
    run.close()


def test_a_journal_that_is_all_stored_is_removed_once_its_run_has_ended(tmp_path: Path) -> None:
    who = left(tmp_path)
    assert sweep(tmp_path / "runtime", tmp_path / "elsewhere") == []
    assert swept(tmp_path) == [Path(who.journal)]
    assert not Path(who.journal).exists()
    assert swept(tmp_path) == []


def test_a_process_of_another_launch_has_it_removed(tmp_path: Path) -> None:
    who = left(tmp_path)
    assert not may_sweep(tmp_path / "runtime", KEY)  # it is the next writer's of its own launch
    assert may_sweep(tmp_path / "runtime", OTHER)
    in_a_process(tmp_path)
    assert not Path(who.journal).exists()
    assert not may_sweep(tmp_path / "runtime", OTHER)


def test_the_next_writer_of_its_own_launch_removes_it(tmp_path: Path) -> None:
    who = left(tmp_path)
    here = launch(tmp_path)
    assert here.adopt() == []
    assert not Path(who.journal).exists()
    here.close()


def one_more_row(who: Join) -> None:
    with open(Path(who.journal) / "000000.dtj", "ab") as file:
        file.write(RowEncoder().encode({"a": 10}, 10, 1, 1, []))


def damage_behind_its_end(who: Join) -> None:
    one_more_row(who)
    path = Path(who.journal) / "000000.dtj"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    one_more_row(who)


def an_image(who: Join) -> None:
    Spool(Path(who.journal)).add(b"pixels", Note(form="file", size=6))


def a_log_that_is_gone(who: Join) -> None:
    for path in Path(who.root).glob("*/*/log/*.dtl"):
        path.unlink()


def a_damaged_log(who: Join) -> None:
    for path in Path(who.root).glob("*/*/log/*.dtl"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)


@pytest.mark.parametrize("what", [one_more_row, damage_behind_its_end, an_image, a_log_that_is_gone, a_damaged_log])
def test_a_journal_that_holds_what_its_run_has_not_stays(tmp_path: Path, what: Callable[[Join], None]) -> None:
    who = left(tmp_path)
    what(who)
    assert may_sweep(tmp_path / "runtime", OTHER)
    assert swept(tmp_path) == []
    in_a_process(tmp_path)
    assert Path(who.journal).exists()
    assert not may_sweep(tmp_path / "runtime", OTHER)  # not every launch looks at it again


def test_a_journal_that_somebody_uses_stays(tmp_path: Path) -> None:
    who = left(tmp_path)
    claim = Claim(tmp_path / "runtime", KEY)
    assert claim.take()  # a process of its launch
    assert swept(tmp_path) == []
    claim.release()
    fd = os.open(Path(who.journal) / "000000.dtj", os.O_RDWR)
    assert try_lock(fd)  # a child that inherited it
    assert swept(tmp_path) == []
    os.close(fd)
    assert swept(tmp_path) == [Path(who.journal)]


def test_a_journal_of_a_run_that_has_not_ended_stays_while_it_may_have_a_writer_elsewhere(tmp_path: Path) -> None:
    who = left(tmp_path, not_ended)
    assert swept(tmp_path) == []
    (marker,) = (tmp_path / "root").glob("*/.live/*")
    os.utime(marker, (0, 0))
    assert swept(tmp_path) == [Path(who.journal)]


def test_a_journal_that_another_run_has_taken_over_stays(tmp_path: Path) -> None:
    def moved(before: Launch, run: RunIngest) -> None:
        run.become_alias(RunId("another"))
        before.end_run(run)

    left(tmp_path, moved)
    assert swept(tmp_path) == []


def test_a_journal_whose_ranks_end_is_not_in_the_log_stays(tmp_path: Path) -> None:
    who = join(tmp_path, dead_pid())
    outbox = journal(tmp_path, who, rows=10)
    before = launch(tmp_path)
    run, source = before.admit(who)
    run.receive(source, 0, outbox.read(0, 1 << 20))
    run.commit()
    before.close()
    outbox.close()
    run.marker.unlink()
    assert swept(tmp_path) == []


def test_what_is_left_of_a_journal_that_was_being_removed_is_no_journal_and_goes(tmp_path: Path) -> None:
    who = left(tmp_path)
    directory = Path(who.journal)
    half = directory.with_name(f".removed-{directory.name}")
    directory.rename(half)  # as remove() does first
    (half / "home").touch()
    assert list(journal_directories(tmp_path / "runtime")) == []
    assert remove_rests(tmp_path / "runtime") == [directory]
    assert list((tmp_path / "journals").iterdir()) == []
    remove(directory)  # nothing there: nothing happens
