"""P6: whatever brought a record twice - two writers, a journal replayed, a segment copied - it is there once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import disttrack
from disttrack.environments.host import runtime_directory
from disttrack.journal.segment import Segment, entries
from disttrack.records.types import changed
from disttrack.settings import load
from tests.conftest import writers
from tests.faults.jobs import Job, no_writer, the_writer, wait_for_steps
from tests.faults.logs import answer, cli, data_frames, journal_of
from tests.faults.store import run_directories, stored
from tests.index.logs import Process, RunLog, process_of
from tests.road.site import wait_until

#: What tells who began and closed a log, and when: a writer, or `recover` of ranks that had met none (an orphan).
OF_THE_LOG = ("name", "created_at", "last_seen_s", "ended_at", "duration_s", "tags")


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


@pytest.mark.real(timeout_s=170)
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


def figures(directory: Path, project: str) -> dict[str, Any]:
    """Returns what each query, count and export says of the one run of a project, but for OF_THE_LOG."""
    with disttrack.Api(directory) as api:
        [run] = api.runs(project)
        histories = {
            (key, rank, superseded): {name: list(map(str, column)) for name, column in found.items()}
            for key in ("loss", "rank")
            for rank in (0, 1)
            for superseded in (False, True)
            for found in [run.history(keys=[key], ranks=[rank], superseded=superseded)]
        }
        counts = [(rank.rank, rank.state, rank.rows) for rank in run.ranks], run.receipt, run.damaged, run.drops
        identifier = run.id
    listed = [run for run in answer("ls", "--dir", directory) if run["project"] == project]
    shown = answer("show", identifier, "--dir", directory)
    for seen in (*listed, shown, *shown["ranks"], *shown.get("attempts", [])):
        for name in OF_THE_LOG:
            seen.pop(name, None)
    parquet = directory / "export.parquet"
    exports = {form: cli("export", identifier, "--format", form, "--dir", directory) for form in ("csv", "jsonl")}
    cli("export", identifier, "--format", "parquet", "-o", parquet, "--dir", directory)
    pyarrow_parquet = pytest.importorskip("pyarrow.parquet")
    exports["parquet"] = str(pyarrow_parquet.read_table(parquet).to_pylist())
    checked = [(one["damage"], one["holes"]) for one in answer("fsck", "--dir", directory)["runs"]]
    return {"history": histories, "counts": counts, "ls": listed[0], "show": shown, **exports, "fsck": checked}


def differing(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Returns what is not the same, in its smallest part."""
    assert found.keys() == expected.keys()
    different: dict[str, Any] = {}
    for name, value in found.items():
        if value != expected[name]:
            is_record = name in ("ls", "show") and value.keys() == expected[name].keys()
            different[name] = differing(value, expected[name]) if is_record else (value, expected[name])
    return different


def repeated_bytes(log: Path) -> int:
    """Returns how many bytes of journals lie in more than one of a log's segments."""
    held: dict[tuple[int, int], int] = {}
    for path in sorted(log.glob("*.dtl")):
        for frame in data_frames(path):
            for entry in entries(frame):
                for offset in range(entry.end - len(entry.data), entry.end):
                    held[entry.incarnation, offset] = held.get((entry.incarnation, offset), 0) + 1
    return sum(times > 1 for times in held.values())


@pytest.mark.real(timeout_s=170)
def test_two_writer_processes_that_both_append_two_ranks_count_as_one(job: Job) -> None:
    """A stopped writer whose claim a cleaner removed finds, when it goes on, that another has stored all it has to."""
    site, runtime = job.site, runtime_directory(load().runtime_dir)
    ranks = job.start_ranks(2, rate_hz=200, settings={"finish_timeout_s": 1.0})
    wait_until(lambda: sum(map(len, stored_steps(job))) > 40, "rows of both are stored")
    first = the_writer()
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    wait_for_steps(ranks, 200)
    job.stop()
    for rank in ranks:
        rank.end()
        assert rank.receipt["pending"] > 0
    kept = site.directory / "kept"
    shutil.copytree(site.directory / "journals", kept)
    [lock] = (runtime / "claims").glob("*.lock")
    key = lock.read_text()
    lock.unlink()
    subprocess.run([sys.executable, "-m", "disttrack.writer", str(runtime), key], check=True)
    wait_until(lambda: not [one for one in writers(runtime) if one.pid != first.pid], "the second writer has gone")
    job.check_stored()
    [run] = run_directories(site.root)
    shutil.copytree(kept, site.directory / "journals", dirs_exist_ok=True)
    first.send_signal(signal.SIGCONT)
    wait_until(no_writer, "the first writer has gone")
    assert len(list((run / "log").glob("*.dtl"))) == 2
    assert repeated_bytes(run / "log") > 2 * 200 * 16
    assert job.check_stored() == sum(rank.returned for rank in ranks)
    single = site.directory / "single"
    single.mkdir()
    cli("recover", kept, "--dir", single)
    expected = figures(single, "p")
    assert len(expected["csv"].splitlines()) == 1 + 2 * job.check_stored()
    assert differing(figures(site.directory, "p"), expected) == {}
    for _ in range(3):
        shutil.copytree(kept, site.directory / "journals", dirs_exist_ok=True)
        assert answer("recover", "--dir", site.directory)["ok"]
    assert answer("recover", kept, "--dir", site.directory)["ok"]
    assert differing(figures(site.directory, "p"), expected) == {}
    job.check_read()


def stored_steps(job: Job) -> list[list[int]]:
    return [source.steps() for run in run_directories(job.site.root) for source in stored(run).values()]
