"""P6: whatever brought a record twice - two writers, a journal replayed, a segment copied - it is there once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from disttrack.environments.host import runtime_directory
from disttrack.journal.segment import Segment
from disttrack.records.types import changed
from disttrack.settings import load
from tests.faults.logs import answer, cli, journal_of
from tests.index.logs import Process, RunLog, process_of


def processes() -> list[Process]:
    """Returns two ranks that logged 30 rows each and ended."""
    found = [process_of(rank, 2) for rank in range(2)]
    for process in found:
        process.config(lr=0.1)
        for step in range(30):
            process.row({"loss": step / 7, "text": f"row {step}"}, step)
        process.end()
    return found


def single(root: Path, ranks: list[Process]) -> RunLog:
    log = RunLog(root)
    for first in range(0, 32, 4):
        log.commit(*[(rank, first, first + 4) for rank in ranks])
    for rank in ranks:
        log.see(rank, "ended", exit_code=0)
    log.end()
    log.close()
    return log


def answers(directory: Path) -> tuple[Any, ...]:
    """Returns what every query, count and export says of run1."""
    show = answer("show", "run1", "--dir", directory)
    for rank in show["ranks"]:
        del rank["last_seen_s"]
    ranks = answer("ranks", "run1", "--dir", directory)
    for rank in ranks["ranks"]:
        del rank["last_seen_s"]
    export = cli("export", "run1", "--format", "csv", "--dir", directory)
    return show, ranks, export, answer("ls", "--dir", directory), answer("fsck", "--dir", directory)["ok"]


@pytest.mark.real(timeout_s=120)
def test_frames_of_two_live_writers_and_copied_segments_count_once(tmp_path: Path) -> None:
    ranks = processes()
    single(tmp_path / "one" / "disttrack-runs", ranks)
    expected = answers(tmp_path / "one")
    assert len(expected[2].splitlines()) == 1 + 2 * 30 * 2
    root = tmp_path / "two" / "disttrack-runs"
    logs = [RunLog(root), RunLog(root)]
    for first in range(0, 32, 4):
        for log in logs if first % 8 else reversed(logs):
            log.commit(*[(rank, first, first + 4) for rank in ranks])
    for log in logs:
        for rank in ranks:
            log.see(rank, "ended", exit_code=0)
        log.end()
        log.close()
    assert answers(tmp_path / "two") == expected
    for number in (1, 2):
        shutil.copy(logs[0].log / f"{number:06d}.dtl", logs[0].log / f"{number + 2:06d}.dtl")
        assert answers(tmp_path / "two") == expected
    assert Segment(logs[0].log).path.name == "000005.dtl"


@pytest.mark.real(timeout_s=120)
def test_a_journal_replayed_three_times_counts_once(tmp_path: Path) -> None:
    ranks = processes()
    root = tmp_path / "two" / "disttrack-runs"
    single(tmp_path / "one" / "disttrack-runs", ranks)
    single(root, ranks)
    expected = answers(tmp_path / "one")
    ranks[0].join = changed(ranks[0].join, root=str(root), run_id="run1")
    directory = journal_of(ranks[0], runtime_directory(load().runtime_dir), tmp_path / "journals")
    for _ in range(3):
        assert answer("recover", directory, "--dir", tmp_path / "two")["ok"]
        assert answers(tmp_path / "two") == expected
