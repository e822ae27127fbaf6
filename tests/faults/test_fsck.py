"""disttrack fsck names every loss and writes nothing; disttrack recover brings home what journals hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from disttrack.doctor.verification import verify
from disttrack.environments.host import runtime_directory
from disttrack.journal.files import FILE_NAME
from disttrack.journal.segment import read_frames
from disttrack.records.types import changed
from disttrack.settings import load
from tests.faults.logs import answer, cli, data_frames, journal_of, listing, long_run
from tests.index.logs import process_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "disttrack-runs"


def test_fsck_of_a_whole_run_says_so_and_writes_nothing(root: Path) -> None:
    long_run(root, frames=5)
    before = list(listing(root.parent))
    found = answer("fsck")
    assert (found["ok"], found["whole"]) == (True, True)
    assert [(run["run"], run["damage"], run["holes"], run["unfinished"]) for run in found["runs"]] == [
        ("run1", [], [], [])
    ]
    assert "Nothing is damaged" in cli("fsck", "run1")
    assert list(listing(root.parent)) == before


def test_fsck_of_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "disttrack", "fsck", "--dir", str(tmp_path / "typo")], capture_output=True, timeout=300
    )
    assert done.returncode == 2
    assert f"{tmp_path / 'typo' / 'disttrack-runs'} cannot be verified: it does not exist".encode() in done.stderr


@pytest.mark.real(timeout_s=120)
def test_fsck_names_what_a_damaged_frame_held_and_writes_nothing(root: Path) -> None:
    log, process = long_run(root, frames=5)
    segment = log.log / "000001.dtl"
    frame = data_frames(segment)[2]
    data = bytearray(segment.read_bytes())
    data[frame.start + 40] ^= 1
    segment.write_bytes(data)
    before = list(listing(root.parent))
    found = answer("fsck", "demo/run1", code=1)
    assert list(listing(root.parent)) == before
    [run] = found["runs"]
    [damage] = run["damage"]
    held = {
        "rank": 0,
        "incarnation": f"{process.join.incarnation:016x}",
        "start": process.bounds[240],
        "end": process.bounds[360],
    }
    assert (damage["path"], damage["start"], damage["end"]) == (str(segment), frame.start, frame.end)
    assert damage["held"] == [held]
    lost_bytes = process.bounds[360] - process.bounds[240]
    assert [run["missing_bytes"] for run in answer("ls")] == [lost_bytes]
    shown = answer("show", "run1")
    assert shown["receipt"] == {"logged": 600, "stored": 480, "pending": 0, "dropped": 120, "unreachable": 0}
    assert [(drop["reason"], drop["count"]) for drop in shown["drops"]] == [("damaged", 120)]
    assert f"{lost_bytes:,} bytes of what its ranks logged are missing" in cli("show", "run1")
    assert (damage["kind"], damage["lost"]) == ("data", "records")
    assert (found["ok"], found["whole"]) == (False, False)
    assert run["holes"] == [{**held, "journal": None}]
    text = cli("fsck", code=1)
    assert "lost" in text
    assert f"{frame.start:,} to {frame.end:,}" in text


def test_fsck_names_a_missing_segment_and_a_missing_end(root: Path) -> None:
    log, _ = long_run(root, frames=2)
    segment = log.log / "000001.dtl"
    os.truncate(segment, data_frames(segment)[-1].end)
    found = answer("fsck")  # the rank's own End is there, and all before it
    [run] = found["runs"]
    assert "no END" in run["damage"][0]["why"]
    assert (run["damage"][0]["lost"], found["ok"], found["whole"]) == ("nothing", True, False)
    segment.rename(log.log / "000002.dtl")
    [run] = answer("fsck", code=1)["runs"]
    assert "000001.dtl is missing" in run["damage"][0]["why"]
    assert run["damage"][0]["lost"] == "unknown"


def test_fsck_of_no_such_run_ends_with_1_and_of_a_wrong_option_with_2(root: Path) -> None:
    cli("fsck", "nobody", code=1)
    cli("fsck", "--wrong", code=2)


@pytest.mark.real(timeout_s=120)
def test_recover_fills_the_hole_of_a_damaged_log_from_its_journal(root: Path, tmp_path: Path) -> None:
    log, process = long_run(root, frames=5)
    whole = cli("export", "run1")
    segment = log.log / "000001.dtl"
    frame = data_frames(segment)[2]
    data = bytearray(segment.read_bytes())
    data[frame.start + 40] ^= 1
    segment.write_bytes(data)
    process.join = changed(
        process.join, run_id="run1", journal=str(tmp_path / "journals" / f"{process.join.incarnation:016x}")
    )
    directory = journal_of(process, runtime_directory(load().runtime_dir), tmp_path / "journals")
    found = answer("fsck")
    assert (found["ok"], found["whole"]) == (True, False)
    [run] = found["runs"]
    assert [hole["journal"] for hole in run["holes"]] == [str(directory)]
    assert [damage["lost"] for damage in run["damage"]] == ["pending"]
    assert "`disttrack recover`" in cli("fsck")
    copy = tmp_path / "copy" / "journals"
    shutil.copytree(directory.parent, copy)
    shutil.rmtree(directory)
    found = answer("recover", copy)
    assert found["ok"]
    assert found["journals"][0]["records"] > 0
    [run] = answer("fsck")["runs"]
    assert (run["holes"], [damage["lost"] for damage in run["damage"]]) == ([], ["nothing"])
    assert "1 damaged place, nothing is lost." in cli("fsck")
    shown = answer("show", "run1")
    assert (shown["receipt"]["stored"], shown["receipt"]["logged"], shown["missing_bytes"]) == (600, 600, 0)
    assert cli("export", "run1") == whole
    before = list(listing(root / "demo"))
    assert answer("recover", copy)["journals"][0]["records"] == 0
    assert list(listing(root / "demo")) == before


@pytest.mark.real(timeout_s=120)
def test_recover_brings_home_journals_copied_from_another_machine(root: Path, tmp_path: Path) -> None:
    process = process_of(root="/gone/disttrack-runs", boot_id="another", run_id="other")
    for step in range(20):
        process.row({"loss": float(step)}, step)
    process.end()
    directory = journal_of(process, tmp_path / "runtime", tmp_path / "copied")
    remains = answer("recover", directory.parent, code=1)
    assert "--dir" in remains["journals"][0]["why"]
    assert answer("recover", directory.parent, "--dir", tmp_path)["journals"][0]["records"] == 20
    again = answer("recover", directory, "--dir", tmp_path)
    assert [(one["records"], one["why"]) for one in again["journals"]] == [(0, None)]
    assert len(cli("export", "other").splitlines()) == 20
    assert answer("fsck")["ok"]


def tell_nobody(runs: int, of_runs: int, size_bytes: int, of_bytes: int) -> None:
    """Takes how far a verification is."""


@pytest.mark.parametrize("at", [5, 30], ids=["header", "payload"])
def test_fsck_says_of_each_frame_whether_its_damage_cost_anything(root: Path, at: int) -> None:
    log, _ = long_run(root, frames=3)
    segment = log.log / "000001.dtl"
    whole = segment.read_bytes()
    cost: list[set[str]] = []
    for frame in list(read_frames(segment)):
        data = bytearray(whole)
        data[frame.start + at] ^= 1
        segment.write_bytes(data)
        found = verify(root, "run1", tell_nobody)
        assert not found.whole
        cost.append({damage.lost for damage in found.runs[0].damage})
        assert found.ok == (cost[-1] == {"nothing"})
    # The header and the admission are nowhere else; what followed the rows of the last DATA frame, nobody knows.
    assert cost == [{"unknown"}, {"unknown"}, *[{"records"}] * 3, {"unknown"}, {"nothing"}, {"nothing"}]


@pytest.mark.real(timeout_s=120)
def test_fsck_doctor_and_recover_name_a_journal_that_cannot_be_read(root: Path, tmp_path: Path) -> None:
    long_run(root, frames=1)
    process = process_of(root=str(root), launch_key="another", run_id="other")
    place = tmp_path / "journals"
    process.join = changed(process.join, journal=str(place / f"{process.join.incarnation:016x}"))
    for step in range(20):
        process.row({"loss": float(step)}, step)
    directory = journal_of(process, runtime_directory(load().runtime_dir), place)
    journal = directory / FILE_NAME
    data = journal.read_bytes()
    journal.write_bytes(data[:40] + bytes(60) + data[100:])
    os.utime(directory, (0, 0))
    found = answer("fsck", code=1)
    assert [(each["journal"], each["bytes"]) for each in found["unreadable"]] == [(str(directory), len(data))]
    assert "is torn" in found["unreadable"][0]["why"]
    assert str(directory) in cli("fsck", code=1)
    assert answer("fsck", "run1")["unreadable"] == []
    assert [one["why"] for one in answer("recover", code=1)["journals"]] == [found["unreadable"][0]["why"]]
    named = subprocess.run([sys.executable, "-m", "disttrack", "doctor"], capture_output=True, timeout=300)
    assert str(directory) in named.stdout.decode()
    journal.write_bytes(data[:40] + bytes([data[40] ^ 0xFF]) + data[41:])  # one byte: mended
    assert answer("recover")["journals"][0]["records"] == 20
    assert len(cli("export", "other").splitlines()) == 20


def test_recover_says_what_is_no_journal(tmp_path: Path) -> None:
    broken = tmp_path / "journals" / "0123456789abcdef"
    broken.mkdir(parents=True)
    (broken / "000000.dtj").write_bytes(b"nothing")
    assert "ends within its header" in answer("recover", broken, code=1)["journals"][0]["why"]
