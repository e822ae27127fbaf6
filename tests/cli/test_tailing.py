"""tail: what a run that goes on logs and prints, each once, until it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from disttrack.query.following import Follower
from disttrack.query.news import LoggedRow, News, Wanted
from disttrack.query.reader import Reader
from disttrack.records.codec import encode
from disttrack.records.payloads import ConsoleText, RecordKind
from tests.cli.test_commands import beside_progress, cli, command
from tests.faults.jobs import the_writer
from tests.index.logs import RunLog, process_of
from tests.road.site import Site, wait_until

TRAINER = """
import sys, time, disttrack
from pathlib import Path

run = disttrack.init(project="demo", id="live")
for step in range(40):
    run.log({"loss": 1 / (step + 1), "perf/step_s": 0.5}, step=step)
    print("printed", step, file=sys.stderr if step % 2 else sys.stdout)
    if step == 20:
        print("no end of line", end="", flush=True)
        Path("half").touch()
        while not Path("go").exists():
            time.sleep(0.02)
        print()
run.finish()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


def tailed(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(command("tail", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines_until(stream: IO[str] | None, has: str) -> list[str]:
    """Reads lines up to the first that has this in it."""
    assert stream is not None
    found: list[str] = []
    for line in stream:
        found.append(line)
        if has in line:
            return found
    raise AssertionError(f"no line with {has!r}: {found}")


@pytest.mark.real(timeout_s=120)
def test_a_live_run_is_followed_to_its_end_and_all_of_it_told_once(site: Site) -> None:
    trainer = site.start(sys.executable, site.script(TRAINER))
    wait_until(lambda: (site.directory / "half").exists(), "the first half")
    wait_until(lambda: '"id": "live"' in site.cli("ls", "--json"), "the run is known")
    with tailed("live", "-n", "1000", "--json") as tail:
        first = lines_until(tail.stdout, '"step":20')  # while the run goes on
        assert trainer.poll() is None
        (site.directory / "go").touch()
        assert tail.stdout is not None
        rest = tail.stdout.readlines()
        assert tail.wait(300) == 0
    trainer.communicate(timeout=300)
    told: list[dict[str, Any]] = [json.loads(line) for line in first + rest]
    assert told[-1] == {"kind": "end", "run": "live", "project": "demo", "state": "finished"}
    rows = [one for one in told if one["kind"] == "row"]
    assert [row["step"] for row in rows] == list(range(40))
    assert rows[3]["values"] == {"loss": 0.25, "perf/step_s": 0.5}
    printed = Counter((one["stream"], one["text"]) for one in told if one["kind"] == "console")
    assert printed == {(("stdout", "stderr")[step % 2], f"printed {step}"): 1 for step in range(40)} | {
        ("stdout", "no end of line"): 1
    }


@pytest.mark.real(timeout_s=120)
def test_a_run_that_is_killed_with_its_writer_alive_is_followed_to_its_last_row(site: Site) -> None:
    trainer = site.start(sys.executable, site.script(TRAINER))
    wait_until(lambda: (site.directory / "half").exists(), "the first half")
    wait_until(lambda: '"id": "live"' in site.cli("ls", "--json"), "the run is known")
    with tailed("live", "-n", "0", "--only", "rows") as tail:
        trainer.send_signal(signal.SIGKILL)
        assert tail.wait(300) == 0
        assert tail.stderr is not None
        assert beside_progress(tail.stderr.read()).startswith("demo/live: crashed after ")
    trainer.communicate()
    assert "step 20  loss=0.04762" in cli("tail", "live", "-n", "1", "--only", "rows", "--no-follow").stdout


@pytest.mark.real(timeout_s=120)
def test_what_a_rank_had_not_sent_when_its_writer_died_too_is_told_at_the_end(site: Site) -> None:
    trainer = site.start(sys.executable, site.script(TRAINER))
    wait_until(lambda: (site.directory / "half").exists(), "the first half")
    wait_until(lambda: '"id": "live"' in site.cli("ls", "--json"), "the run is known")
    writer = the_writer()
    assert writer is not None
    writer.suspend()  # from here on nobody stores anything
    with tailed("live", "-n", "1000", "--only", "rows") as tail:
        (site.directory / "go").touch()
        journals = list((site.directory / "journals").rglob("*.dtj"))
        wait_until(lambda: any(b"printed 39" in path.read_bytes() for path in journals), "the last row")
        trainer.kill()
        writer.kill()
        marker = site.root / "demo" / ".live" / "live"
        os.utime(marker, (1, 1))  # as it is two minutes later
        assert tail.wait(300) == 0
        assert tail.stdout is not None
        steps = [int(found[1]) for line in tail.stdout if (found := re.search(r"step (\d+)", line))]
    assert steps == list(range(40))
    trainer.communicate()


@pytest.mark.real(timeout_s=90)
def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path / "disttrack-runs"), process_of()
    process.row({"loss": 1.0}, 0)
    log.commit_all(process)
    with subprocess.Popen(
        command("tail", "run1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore it
    ) as tail:
        lines_until(tail.stdout, "step 0")
        tail.send_signal(signal.SIGINT)
        assert tail.wait(300) == 130
        assert tail.stderr is not None
        assert beside_progress(tail.stderr.read()) == ""
    log.close()


@pytest.fixture
def ended(tmp_path: Path) -> str:
    """A run of three ranks that log and print in turn."""
    log, ranks = RunLog(tmp_path / "disttrack-runs", run_id="ended"), [process_of(rank, 12) for rank in (0, 1, 10)]
    for number, rank in enumerate(ranks):
        rank.time_us += number * 10
        for step in range(4):
            rank.row({"loss": 0.5 + step, "perf/a": 1, "perf/b": 2, "\x1b[2J": "\x1b[31mx"}, step)
            said = ConsoleText(stream="stderr" if number else "stdout", time_us=rank.time_us, text=f"at {step}\n")
            rank.append(encode(RecordKind.CONSOLE, said))
        rank.end()
    log.commit_all(*ranks)
    log.end()
    log.close()
    return "ended"


def texts(*arguments: object) -> list[str]:
    """What tail prints, without the times."""
    said = cli("tail", "ended", *arguments)
    assert said.stderr == "" or said.stderr.startswith("demo/ended: finished after ")
    return [line.partition(" ")[2] for line in said.stdout.splitlines()]


@pytest.mark.real(timeout_s=90)
def test_rows_and_lines_come_in_the_order_of_time_with_their_ranks(ended: str) -> None:
    row = "= step 3  loss=3.5 perf/a=1 perf/b=2 \\x1b[2J=\\x1b[31mx"
    assert texts("-n", "6") == [f" 0{row}", " 0| at 3", f" 1{row}", " 1! at 3", f"10{row}", "10! at 3"]
    assert len(texts("-n", "100")) == 24
    assert len(texts()) == 10
    assert texts("-n", "0") == []


@pytest.mark.real(timeout_s=90)
def test_ranks_keys_streams_and_expressions_choose(ended: str) -> None:
    assert texts("--ranks", "1-9", "--only", "rows", "--keys", "perf/*", "-n", "1") == [" 1= step 3  perf/a=1 perf/b=2"]
    assert texts("--keys", "nothing", "-n", "2", "--ranks", "0") == [" 0| at 2", " 0| at 3"]
    assert texts("--only", "console", "--stream", "stdout", "-n", "1") == [" 0| at 3"]
    assert texts("--grep", r"0[|!] at [01]", "-n", "3") == ["10! at 0", " 0| at 1", "10! at 1"]
    assert "0,3,8-15" in cli("tail", "ended", "--ranks", "3-1", code=2).stderr
    assert "regular expression" in cli("tail", "ended", "--grep", "(", code=2).stderr
    assert "No run 'nobody'" in cli("tail", "nobody", code=1).stderr


def test_a_look_at_a_run_that_has_nothing_new_reads_nothing(tmp_path: Path) -> None:
    root = tmp_path / "disttrack-runs"
    log, process = RunLog(root), process_of()
    process.row({"loss": 1.0}, 0)
    log.commit_all(process)
    asked: list[int] = []

    def steps(rows: list[Any]) -> list[int]:
        return [row.step for row in rows if isinstance(row, LoggedRow)]

    with Reader(root) as reader:
        follower, news = Follower(reader, "run1"), News(Wanted())
        assert steps(follower.look(news.of) or []) == [0]
        for _ in range(3):
            assert follower.look(lambda snapshot: asked.append(1)) is None
        assert asked == []
        process.row({"loss": 2.0}, 1)
        log.commit((process, 1, 2))
        assert steps(follower.look(news.of) or []) == [1]
        assert not follower.is_over()
        log.end()
        log.close()
        assert steps(follower.look(news.of) or []) == []
        assert follower.is_over()


def test_bytes_that_come_late_or_twice_are_told_once(tmp_path: Path) -> None:
    root = tmp_path / "disttrack-runs"
    log, process = RunLog(root), process_of()
    for step in range(6):
        process.row({"loss": 1.0}, step)
    log.commit((process, 0, 2), (process, 4, 5))  # another writer has the bytes between them
    with Reader(root) as reader:
        follower, news = Follower(reader, "run1"), News(Wanted())

        def steps() -> list[int]:
            return [row.step for row in follower.look(news.of) or [] if isinstance(row, LoggedRow)]

        assert steps() == [0, 1, 4]
        log.close()
        log.commit((process, 1, 6))
        assert steps() == [2, 3, 5]
        os.remove(next(root.glob("index-*.sqlite")))  # and so is the run's number
        log.commit((process, 0, 6))
        assert steps() == []
        log.close()
