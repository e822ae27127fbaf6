"""A long catch-up as a person at a terminal meets it: it says how far it is, and may be interrupted."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.index.logs import RunLog, process_of

RUNS, ROWS = 250, 2_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with runs that take seconds to index: rows of text are decoded one by one."""
    process = process_of()
    rows: list[bytes] = []
    for step in range(ROWS):
        process.row({"text": f"t{step}", "loss": step / 2}, step)
        rows.append(process.journal)
        process.journal = b""
    process.journal = b"".join(rows)
    process.bounds = [0, len(process.journal)]
    process.end()
    for number in range(RUNS):
        log = RunLog(tmp_path / "disttrack-runs", run_id=f"run{number}", name=f"name{number}")
        log.commit_all(process)
        log.end()
        log.close()
    return tmp_path


def ls(directory: Path) -> list[str]:
    return [sys.executable, "-m", "disttrack", "ls", "--json", "--dir", str(directory)]


@pytest.mark.real(timeout_s=120)
def test_ctrl_c_in_a_long_catch_up_keeps_what_is_done_and_the_next_command_goes_on(directory: Path) -> None:
    with subprocess.Popen(
        ls(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore it
    ) as process:
        assert process.stderr is not None
        done = runs_done(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate()
        assert process.returncode == 130
    assert printed == ""
    for line in errors.splitlines(keepends=True):  # of what was done before it heard of it
        done = runs_done(line)
    assert 0 < done < RUNS
    again = subprocess.run(ls(directory), capture_output=True, text=True, check=True)
    of_runs = re.findall(r"of (\d+) runs", again.stderr)
    assert all(int(number) <= RUNS - done for number in of_runs), again.stderr
    for path in (directory / "disttrack-runs").glob("index-*"):
        path.unlink()
    anew = subprocess.run(ls(directory), capture_output=True, text=True, check=True)
    assert re.findall(r"of (\d+) runs", anew.stderr)[0] == str(RUNS)
    assert len(json.loads(again.stdout)) == RUNS
    assert json.loads(again.stdout) == json.loads(anew.stdout)


def runs_done(line: str) -> int:
    found = re.fullmatch(rf"Indexing: (\d+) of {RUNS} runs, \d+ MB\n", line)
    assert found is not None, line
    return int(found[1])


@pytest.mark.real(timeout_s=60)
def test_a_terminal_shows_a_bar_that_ends_before_the_table_begins(directory: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([*ls(directory), "-n", "1"], stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while piece := read_terminal(ours):
            shown += piece
        assert process.stdout is not None
        assert len(json.loads(process.stdout.read())) == 1
    os.close(ours)
    text = shown.decode()
    assert re.search(rf"Indexing  \[#+-+\] +\d+% .*\d+ of {RUNS} runs, \d+ MB", text), text
    assert f"100%  {RUNS} of {RUNS} runs" in text
    assert text.endswith("\x1b[?25h\r\n"), text[-100:]  # the cursor is back


def read_terminal(terminal: int) -> bytes:
    """Returns what is shown next; nothing at the end."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux tells the end of a terminal so
        return b""
