"""P11: logged = stored + pending + dropped, and it is the same wherever it is said; never well with something dropped.

Of what is pending it is said where it lies and which command brings it home, and that command does. Every other test
of a fault adds the figures up as well (tests/faults/jobs.py).
"""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import disttrack
from tests.faults.jobs import Job, Trainer, kill_everything, no_writer, the_writer, tmpfs, wait_for_steps
from tests.faults.logs import answer, cli
from tests.faults.store import run_directories, stored
from tests.road.site import wait_until

FIGURES = ("logged", "stored", "pending", "dropped")
SENTENCE = re.compile(
    r"(?<!captured  )(?<![\d,])([\d,]+) records? logged: ([\d,]+) stored, ([\d,]+) pending, ([\d,]+) dropped"
)

pytestmark = pytest.mark.real(timeout_s=120)


def said(text: str) -> list[dict[str, int]]:
    """Returns the figures of each receipt in a text."""
    numbers = [[int(number.replace(",", "")) for number in found] for found in SENTENCE.findall(text)]
    return [dict(zip(FIGURES, found, strict=True)) for found in numbers]


def shown(directory: Path, project: str = "p") -> dict[str, int]:
    """Returns the figures of the one run of a project: those of show, show --json and Api, which agree and add up."""
    with disttrack.Api(directory) as api:
        [run] = api.runs(project)
        receipt = run.receipt
    figures = {name: int(getattr(receipt, name)) for name in FIGURES}
    assert said(cli("show", run.id, "--dir", directory)) == [figures]
    as_json = answer("show", run.id, "--dir", directory)["receipt"]
    assert {name: as_json[name] for name in FIGURES} == figures
    assert figures["logged"] == figures["stored"] + figures["pending"] + figures["dropped"]
    return figures


def returned(rank: Trainer) -> dict[str, int]:
    """Returns the figures of finish(), which it has also said in a line of its own."""
    figures = {name: rank.receipt[name] for name in FIGURES}
    assert said(rank.stderr) == [figures], rank.stderr
    return figures


def home(directory: Path, rank: Trainer) -> dict[str, Any]:
    """Runs the command that finish() named for what is pending, and returns the figures from then on."""
    [command, journal] = named(rank)
    assert Path(journal).is_dir()
    cli(*command.split()[1:], "--dir", directory)
    return shown(directory)


def named(rank: Trainer) -> list[str]:
    """Returns the command that finish() named, and where it said that the pending lies."""
    [found] = re.findall(r"pending ones are safe in (\S+); `(.*?)` on this host brings them home", rank.stderr)
    return [found[1], found[0]]


def test_a_run_that_is_whole_says_so_in_its_last_line_unless_it_is_to_be_quiet(job: Job) -> None:
    rank = job.start(steps=100, env={"DISTTRACK_QUIET": "0"}).end()
    figures = returned(rank)
    assert figures == {"logged": 100, "stored": 100, "pending": 0, "dropped": 0}
    begun, ended = rank.stderr.splitlines()
    assert "to follow it: disttrack watch " in begun
    assert ended.endswith(": 100 records logged: 100 stored, 0 pending, 0 dropped")
    assert shown(job.site.directory) == figures
    assert job.start(steps=100, project="quiet").end().stderr == ""


def test_what_a_stopped_writer_has_not_taken_is_named_until_it_has(job: Job) -> None:
    rank = job.start(rate_hz=500, settings={"finish_timeout_s": 1.0})
    wait_until(lambda: any(steps for steps in job.stored_steps().values()), "rows are stored")
    writer = the_writer()
    assert writer is not None
    writer.send_signal(signal.SIGSTOP)
    wait_for_steps([rank], 300)
    job.stop()
    figures = returned(rank.end())
    assert figures["pending"] >= 299  # one may have been on its way
    assert figures["dropped"] == 0
    before = shown(job.site.directory)
    # What the writer had stored and not acknowledged yet, finish() calls pending.
    assert before["logged"] == figures["logged"]
    assert figures["pending"] >= before["pending"] > 0
    [run] = run_directories(job.site.root)
    _, journal = named(rank)
    [place] = answer("show", run.name)["pending"]
    assert (place["rank"], place["records"], place["journal"]) == (0, before["pending"], journal)
    assert f"{before['pending']} records of rank 0: in {journal} on {place['host']}; `disttrack recover` there" in cli(
        "show", run.name
    )
    writer.send_signal(signal.SIGCONT)
    wait_until(no_writer, "the writer has stored the rest, and gone")
    assert shown(job.site.directory) == {**figures, "stored": figures["logged"], "pending": 0}
    assert answer("show", run.name)["pending"] == []


def test_what_a_full_disk_did_not_take_comes_home_by_the_command_that_is_named(job: Job, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "size=20m") as disk:
        ballast = disk / "ballast"
        rank = job.start(env={"DISTTRACK_DIR": str(disk)}, rate_hz=500, settings={"finish_timeout_s": 1.0})
        wait_until(lambda: rank.returned > 200 and any(disk.glob("disttrack-runs/p/*/log/*")), "rows are stored")
        fill(ballast)
        wait_for_steps([rank], 1000)
        job.stop()
        figures = returned(rank.end())
        assert figures["pending"] > 0
        assert figures["dropped"] == 0
        ballast.unlink()
        assert home(disk, rank) == {**figures, "stored": figures["logged"], "pending": 0}
        wait_until(no_writer, "the writer has gone")


def fill(ballast: Path) -> None:
    """Leaves no byte free on the disk of a file."""
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_what_the_quota_had_no_room_for_is_dropped_wherever_it_is_said_and_the_rest_comes_home(job: Job) -> None:
    job.site.root.write_text("a file where the directory should be: nobody stores anything")
    settings = {"journal_quota_bytes": 65_536, "finish_timeout_s": 0.5}
    rank = job.start(steps=200, text_bytes=1_000, settings=settings).end()
    figures = returned(rank)
    logged, _, pending, dropped = figures.values()
    assert (logged, figures["stored"]) == (200, 0)
    assert 40 < pending < 64
    assert f"{dropped} dropped ({dropped} metrics: quota)" in rank.stderr
    assert "is full: what is logged is not stored as fast as it comes" in rank.stderr
    job.site.root.unlink()
    assert home(job.site.directory, rank) == {**figures, "stored": pending, "pending": 0}
    run = job.site.only_run()
    [drop] = [drop for drop in run["drops"] if drop["record_class"] == "metrics"]  # not what was captured
    assert (drop["rank"], drop["record_class"], drop["reason"]) == (0, "metrics", "quota")
    assert (drop["count"], drop["first_step"], drop["last_step"]) == (dropped, pending, 199)
    assert drop["first_at"] <= drop["last_at"]
    assert f"rank 0 dropped {dropped} metrics (quota, steps {pending} to 199" in job.site.cli("show", run["id"])


def test_what_was_killed_with_its_writer_is_pending_until_recover_has_stored_it(job: Job) -> None:
    rank = job.start(rate_hz=500)
    wait_until(lambda: any(steps for steps in job.stored_steps().values()), "rows are stored")
    writer = the_writer()
    assert writer is not None
    writer.send_signal(signal.SIGSTOP)
    wait_for_steps([rank], 300)
    kill_everything([rank.process.pid, writer.pid])
    rank.process.wait(300)
    wait_until(no_writer, "the writer is dead")
    [pending] = answer("fsck")["pending"]
    assert (pending["rank"], pending["alive"]) == (0, False)
    assert "`disttrack recover` brings them home" in cli("fsck")
    [came] = answer("recover")["journals"]
    assert (came["journal"], came["why"]) == (pending["journal"], None)
    assert came["records"] >= 299
    total = job.check_stored()
    figures = shown(job.site.directory)
    assert figures == {"logged": figures["stored"], "stored": figures["stored"], "pending": 0, "dropped": 0}
    assert total <= figures["stored"] <= total + 1


def test_what_lay_in_a_run_directory_that_was_removed_is_stored_again_and_counted_once(job: Job) -> None:
    rank = job.start(rate_hz=500, env={"DISTTRACK_QUIET": "0"})
    wait_until(lambda: any(steps for steps in job.stored_steps().values()), "rows are stored")
    shutil.rmtree(job.site.root / "p", ignore_errors=True)  # its writer may be writing a marker this moment
    wait_for_steps([rank], 300)
    wait_until(
        lambda: any(source.data for run in run_directories(job.site.root) for source in stored(run).values()),
        "it is written again",
    )
    job.stop()
    figures = returned(rank.end())
    assert figures == {"logged": rank.returned, "stored": rank.returned, "pending": 0, "dropped": 0}
    assert shown(job.site.directory) == figures
