"""disttrack fsck names every loss and writes nothing; disttrack recover brings home what journals hold."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from disttrack.environments.host import runtime_directory
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
    assert found["ok"]
    assert [(run["run"], run["damage"], run["holes"], run["unfinished"]) for run in found["runs"]] == [
        ("run1", [], [], [])
    ]
    assert "Nothing is damaged" in cli("fsck", "run1")
    assert list(listing(root.parent)) == before


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
    assert run["holes"] == [{**held, "journal": None}]
    text = cli("fsck", code=1)
    assert "lost" in text
    assert f"{frame.start:,} to {frame.end:,}" in text


def test_fsck_names_a_missing_segment_and_a_missing_end(root: Path) -> None:
    log, _ = long_run(root, frames=2)
    segment = log.log / "000001.dtl"
    os.truncate(segment, data_frames(segment)[-1].end)
    [run] = answer("fsck", code=1)["runs"]
    assert "no END" in run["damage"][0]["why"]
    segment.rename(log.log / "000002.dtl")
    [run] = answer("fsck", code=1)["runs"]
    assert "000001.dtl is missing" in run["damage"][0]["why"]


def test_fsck_of_no_such_run_ends_with_1_and_of_a_wrong_option_with_2(root: Path) -> None:
    cli("fsck", "nobody", code=1)
    cli("fsck", "--wrong", code=2)


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
    [run] = answer("fsck", code=1)["runs"]
    assert [hole["journal"] for hole in run["holes"]] == [str(directory)]
    copy = tmp_path / "copy" / "journals"
    shutil.copytree(directory.parent, copy)
    shutil.rmtree(directory)
    found = answer("recover", copy)
    assert found["ok"]
    assert found["journals"][0]["records"] > 0
    assert answer("fsck", code=1)["runs"][0]["holes"] == []
    assert cli("export", "run1") == whole
    before = list(listing(root / "demo"))
    assert answer("recover", copy)["journals"][0]["records"] == 0
    assert list(listing(root / "demo")) == before


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


def test_recover_says_what_is_no_journal(tmp_path: Path) -> None:
    broken = tmp_path / "journals" / "0123456789abcdef"
    broken.mkdir(parents=True)
    (broken / "000000.dtj").write_bytes(b"nothing")
    assert "ends within its header" in answer("recover", broken, code=1)["journals"][0]["why"]
