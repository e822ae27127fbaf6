"""watch: a live run on a real terminal, and its picture where there is none."""

from __future__ import annotations

import re
import signal
import termios
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.cells import cell_len

from disttrack.cli.drawings import Ink, heat_row, skews, spark, swatch
from tests.cli.terminals import Terminal
from tests.cli.test_commands import cli, command
from tests.index.logs import RunLog, process_of
from tests.road.site import TORCHRUN, Site, wait_until

TRAINER = """
import time, disttrack
from pathlib import Path

run = disttrack.init(project="demo", id="live", name="calm-fox")
step = 0
while not Path("stop").exists():
    time.sleep(0.05)
    run.log({"loss": 1 / (step + 1), "work_time": 0.2 if run.rank == 1 else 0.1}, step=step)
    if step == 3:
        print("a line of rank", run.rank, flush=True)
    step += 1
run.finish()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


def run_of(root: Path, ranks: int, steps: int = 40, *, dead: int | None = None, slow: int | None = None) -> None:
    """A run of so many ranks, one of which may have died half way, and one may be slow."""
    log = RunLog(root, run_id="many", name="\x1b[2Jevil", project="demo")
    team = [process_of(rank, ranks, host=f"node{rank // 8}") for rank in range(ranks)]
    for number, rank in enumerate(team):
        for step in range(steps // 2 if number == dead else steps):
            took = 0.3 if number == slow and step >= steps // 2 else 0.2
            rank.row({"work_time": took, "\x1b[31mloss": step / steps}, step, after_us=200_000)
        if number != dead:
            rank.end()
    log.commit_all(*team)
    if dead is not None:
        log.see(team[dead], "crashed", team[dead].time_us, signal=9)
    log.end()
    log.close()


def last_step(lines: list[str]) -> int:
    """The last step of the heat-map, by its title."""
    found = [re.search(r", steps [\d,]+ to ([\d,]+) ", line) for line in lines]
    return max((int(one[1].replace(",", "")) for one in found if one is not None), default=-1)


@pytest.mark.real(timeout_s=170)
def test_a_live_ddp_run_is_watched_on_a_terminal_of_80_columns_until_it_ends(site: Site) -> None:
    job = site.start(*TORCHRUN, 2, site.script(TRAINER))
    wait_until(lambda: '"id": "live"' in site.cli("ls", "--json"), "the run is known")
    with Terminal(command("watch")) as terminal:
        terminal.until(lambda lines: any("a line of rank 1" in line for line in lines), "the console")
        lines = terminal.until(lambda lines: lines[1].startswith("2/2 ranks running, step "), "both ranks")
        assert re.fullmatch(r"calm-fox  demo/live +running \S+", lines[0])
        terminal.until(
            lambda lines: lines[2].startswith("Rank 1") and lines[2].endswith("median rank in work_time."),
            "the verdict",
        )
        first = last_step(terminal.screen())
        terminal.until(lambda lines: last_step(lines) >= first + 20, "it goes on")
        (site.directory / "stop").touch()
        lines = terminal.until(lambda lines: " finished " in lines[0], "the end")
        assert [line for line in lines if cell_len(line) > 80] == []
        assert len(lines) <= 24
        terminal.press("q")
        assert terminal.end() == 0
        after = terminal.said.rpartition("\x1b[?1049l")[2]
    assert "calm-fox" in after  # the last picture stays
    assert "work_time, steps 0 to " in after
    job.communicate(timeout=300)


def test_a_dead_rank_is_hatched_from_its_last_step_on_and_a_slow_one_named(tmp_path: Path) -> None:
    run_of(tmp_path / "disttrack-runs", 4, dead=1, slow=3)
    lines = cli("watch", "many", PYTHONIOENCODING="utf-8").stdout.splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0].startswith("\\x1b[2Jevil  demo/many ")
    told = " ".join(lines)
    assert "Rank 1 (node0) crashed by SIGKILL at step 19. Rank 3 (node0) is slow: " in told
    (title,) = [line for line in lines if "steps 0 to 39" in line]
    assert title.startswith("work_time, ")
    rows = {line.split()[0]: line.split()[1:] for line in lines[lines.index(title) + 1 :][:4]}
    assert rows["0"] == ["▁" * 40, "0.2"]
    assert rows["1"] == ["▁" * 20 + "╱" * 20, "crashed"]
    assert rows["3"] == ["▁" * 20 + "█" * 20, "0.3"]
    assert any("\\x1b[31mloss" in line and "▁" in line and "█" in line for line in lines)
    assert [line for line in lines if cell_len(line) > 80] == []


def test_without_unicode_or_wide_lines_it_is_told_in_ascii(tmp_path: Path) -> None:
    run_of(tmp_path / "disttrack-runs", 4, dead=1, slow=3)
    lines = cli("watch", "--once", PYTHONIOENCODING="ascii", COLUMNS="50").stdout.splitlines()
    assert all(line.isascii() for line in lines)
    assert [line for line in lines if len(line) > 50] == []
    assert any(re.search(r"^ 1 _+/+ +crashed$", line) for line in lines)


@pytest.mark.real(timeout_s=90)
def test_of_ranks_that_share_a_row_the_one_that_strays_is_seen(tmp_path: Path) -> None:
    run_of(tmp_path / "disttrack-runs", 200, dead=17, slow=100)
    lines = cli("watch", "many", "--metric", "work_time", PYTHONIOENCODING="utf-8").stdout.splitlines()
    (row,) = [line for line in lines if "█" in line and line.endswith(" 0.3") and "-" in line]
    first, last = map(int, row.split()[0].split("-"))
    assert first <= 100 <= last
    (row,) = [line for line in lines if line.endswith("1 dead")]
    first, last = map(int, row.split()[0].split("-"))
    assert first <= 17 <= last
    assert len(lines) <= 60


@pytest.mark.real(timeout_s=90)
def test_keys_change_what_is_seen_and_the_terminal_is_given_back(tmp_path: Path) -> None:
    run_of(tmp_path / "disttrack-runs", 4, slow=3)
    with Terminal(command("watch", "many"), lines=20) as terminal:
        before = termios.tcgetattr(terminal.there)
        terminal.until(lambda lines: len(lines) == 20 and lines[4].startswith("work_time, steps"), "the picture")
        assert "\x1b[48;5;" in terminal.said  # in colours
        terminal.press("s")
        terminal.until(lambda lines: lines[4].startswith("work_time against the median"), "how far ranks stray")
        assert terminal.screen()[8].endswith(" +50%")
        terminal.press("\t")
        terminal.until(lambda lines: any(line.startswith("seconds between rows") for line in lines), "the next metric")
        terminal.press("\x1b[Z")
        terminal.until(lambda lines: lines[4].startswith("work_time"), "the one before")
        terminal.press("?")
        terminal.until(lambda lines: any("shift-tab" in line for line in lines), "the keys")
        terminal.resize(100, 30)
        lines = terminal.until(lambda lines: len(lines) == 30, "the other size")
        terminal.press("?")
        lines = terminal.until(lambda lines: any("against the median" in line for line in lines), "the picture")
        assert max(map(cell_len, lines)) == 100
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.said.count("\x1b[?1049h") == terminal.said.count("\x1b[?1049l") == 1
        assert termios.tcgetattr(terminal.there) == before


@pytest.mark.real(timeout_s=90)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_gives_the_terminal_back(tmp_path: Path, number: signal.Signals, code: int) -> None:
    run_of(tmp_path / "disttrack-runs", 2)
    with Terminal(command("watch", "many")) as terminal:
        before = termios.tcgetattr(terminal.there)
        terminal.until(lambda lines: len(lines) == 24, "the picture")
        terminal.process.send_signal(number)
        assert terminal.end() == code
        assert terminal.said.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(terminal.there) == before
        assert "Traceback" not in terminal.said


@pytest.mark.real(timeout_s=90)
def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(tmp_path: Path) -> None:
    run_of(tmp_path / "disttrack-runs", 2)
    with Terminal(command("watch", "many")) as terminal:
        before = termios.tcgetattr(terminal.there)
        terminal.until(lambda lines: len(lines) == 24, "the picture")
        terminal.process.send_signal(signal.SIGTSTP)
        process = psutil.Process(terminal.process.pid)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")
        assert termios.tcgetattr(terminal.there) == before
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda _: terminal.said.count("\x1b[?1049h") == 2, "it has the terminal again")
        terminal.press("s")
        terminal.until(lambda lines: any("against the median" in line for line in lines), "the other picture")
        terminal.press("q")
        assert terminal.end() == 0


@pytest.mark.real(timeout_s=90)
def test_a_terminal_without_colours_gets_none_and_a_dumb_one_no_screen(tmp_path: Path) -> None:
    run_of(tmp_path / "disttrack-runs", 2)
    with Terminal(command("watch", "many"), NO_COLOR="1") as terminal:
        terminal.until(lambda lines: len(lines) == 24, "the picture")
        assert re.search(r"\x1b\[[0-9;]*m", terminal.said) is None
        terminal.press("q")
        assert terminal.end() == 0
    with Terminal(command("watch", "many"), TERM="dumb") as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.said


@pytest.mark.real(timeout_s=90)
def test_where_there_is_nothing_to_watch_it_says_so(tmp_path: Path) -> None:
    assert "There is no run to watch" in cli("watch", code=2).stderr
    log, process = RunLog(tmp_path / "disttrack-runs", run_id="empty"), process_of()
    log.commit_all(process)
    assert "seconds between rows: nothing logged yet" in cli("watch", "empty").stdout
    log.close()
    assert "No run 'nobody'" in cli("watch", "nobody", code=1).stderr


def test_drawings() -> None:
    nan = float("nan")
    plain, blocks = Ink(), Ink(unicode=True)
    assert spark([0, nan, 7], 0, 7, blocks) == "▁ █"
    assert spark([1, 1], 1, 1, blocks) == "▅▅"
    assert heat_row([0, nan, nan, 9], [False, False, True, False], (0, 9), plain, skewed=False) == "_ /@"
    coloured = heat_row([0, 0, nan], [False] * 3, (0, 1), Ink(256, True, True), skewed=False)
    assert coloured == "\x1b[48;5;17m  \x1b[0m "
    assert heat_row([1.0], [False], (0, 1), Ink(1 << 24, True, True), skewed=False) == "\x1b[48;2;254;232;56m \x1b[0m"
    assert skews([2, 1, 0], [1, 1, 0]) == [1, 0, 0]
    assert swatch(blocks, skewed=True) == "▁▂▃▄▅▆▇█"
    assert Ink.of({"COLORTERM": "truecolor"}, "UTF-8", colour=True) == Ink(1 << 24, True, True)
    assert Ink.of({"TERM": "xterm"}, "ascii", colour=True) == Ink(0, False, True)
    assert Ink.of({"TERM": "xterm-256color"}, "utf-8", colour=False) == Ink(0, True, False)
