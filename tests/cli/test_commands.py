"""The real command line, started as a user starts it, over a real root."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.cells import cell_len

from disttrack.environments.host import private_directory
from disttrack.journal.directories import note_place, outbox_directory
from disttrack.journal.outbox import Outbox
from disttrack.records.values import plain
from tests.index.logs import RunLog, finished_run, join_of, process_of

BIG = 2**80
VALUES: dict[str, Any] = {
    "loss": math.nan,
    "high": math.inf,
    "big": BIG,
    "flag": True,
    "text": 'say "a,\r\nb"',
    "none": None,
    "list": [1, -math.inf, {"x": math.nan}],
}
ORPHAN = "No writer ever met them: tagged orphan."
#: VALUES as strict JSON has them.
STRICT = VALUES | {"loss": "NaN", "high": "Infinity", "list": [1, "-Infinity", {"x": "NaN"}]}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "disttrack", *map(str, arguments)]


class Said(NamedTuple):
    """What a command printed, byte for byte: no line end is translated."""

    stdout: str
    stderr: str


def cli(*arguments: object, code: int = 0, **environ: str) -> Said:
    done = subprocess.run(command(*arguments), capture_output=True, timeout=300, env={**os.environ, **environ})
    said = Said(done.stdout.decode(), beside_progress(done.stderr.decode()))
    assert done.returncode == code, said.stderr
    assert "Traceback" not in said.stderr
    return said


def beside_progress(stderr: str) -> str:
    """Return what a command said without how far its indexing is, told where that takes more than a second."""
    return re.sub(r"(?m)^Indexing: .*\n", "", stderr)


def answer(*arguments: object) -> Any:
    """Returns the JSON that a verb prints, after a parser that takes no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(cli(*arguments).stdout, parse_constant=refuse)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a run of two ranks, one of which crashed; DISTTRACK_DIR already names the directory it is in."""
    root = tmp_path / "disttrack-runs"
    log = RunLog(root, run_id="ab12cd34", name="merry-otter-3", group="digits")
    ranks = [process_of(rank, 3, tags=("first",), notes="a \x1b[2J note") for rank in range(2)]
    for number, rank in enumerate(ranks):
        rank.config(lr=0.001, big=plain(BIG))
        for step in range(3):
            rank.row(VALUES, step, after_us=2_000 if number else 1_000)
    ranks[0].end()
    log.commit_all(*ranks)
    log.see(ranks[1], "crashed", ranks[1].time_us)
    log.end()
    log.close()
    return root


@pytest.fixture
def many(root: Path) -> str:
    """A run whose export fills any pipe."""
    finished_run(root, [(step, {f"key{key}": step * 0.1 for key in range(10)}) for step in range(2_000)], run_id="many")
    return "many"


def test_help_comes_without_loading_what_verbs_need() -> None:
    code = (
        "import sys; sys.argv = ['disttrack', '--help']\n"
        "from disttrack.cli import main\n"
        "try: main()\n"
        "finally: print({'numpy', 'sqlite3', 'msgspec', 'disttrack.query'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert "export" in done.stdout
    assert done.stderr == "set()\n"


def test_version_is_said() -> None:
    assert re.fullmatch(r"disttrack \d.*\n|disttrack, not installed.*\n", cli("--version").stdout)


def test_a_wrong_verb_or_option_ends_with_2_and_the_near_one() -> None:
    assert "Did you mean show?" in cli("shwo", code=2).stderr
    assert "--json" in cli("ls", "--jsno", code=2).stderr
    cli("ls", "-n", "0", code=2)
    cli("export", "x", "--json", "--format", "csv", code=2)
    assert "0,1,2" in cli("export", "x", "--ranks", "one", code=2).stderr


def test_a_setting_that_is_wrong_ends_with_2(root: Path) -> None:
    assert "DISTTRACK_RANK" in cli("ls", code=2, DISTTRACK_RANK="first").stderr


def test_ls_where_nothing_is_says_where_it_looked_and_how_to_begin(tmp_path: Path) -> None:
    done = cli("ls", "--dir", tmp_path / "else")
    assert done.stdout == ""
    assert str(tmp_path / "else" / "disttrack-runs") in done.stderr
    assert "disttrack.init(" in done.stderr
    assert "--dir" in done.stderr
    assert answer("ls", "--json") == []
    assert not (tmp_path / "disttrack-runs").exists()


def test_ls_of_a_project_without_runs_names_those_that_have_some(root: Path) -> None:
    done = cli("ls", "--project", "dmeo")
    assert "There are runs of demo." in done.stderr
    assert answer("ls", "--project", "dmeo", "--json") == []


@pytest.mark.parametrize("verb", ["show", "ranks", "export"])
def test_a_run_that_is_not_there_ends_with_1(root: Path, verb: str) -> None:
    done = cli(verb, "nosuch", code=1)
    assert done.stdout == ""
    assert "No run 'nosuch'" in done.stderr
    assert "nosuch" in cli(verb, "nosuch", "--dir", root / "nowhere", code=1).stderr


def test_ls_prints_what_other_tools_rely_on(root: Path) -> None:
    (run,) = answer("ls", "--json")
    assert list(run) == [
        *("id", "entity", "project", "name", "group", "job_type", "state", "world_size", "ranks_joined", "attempt"),
        *("created_at", "ended_at", "duration_s", "tags", "notes", "summary", "archived", "damage"),
        "missing_bytes",
    ]
    assert (run["id"], run["state"], run["world_size"], run["ranks_joined"]) == ("ab12cd34", "crashed", 3, 2)
    assert run["created_at"] == "2023-11-14T22:13:20.000Z"
    assert run["ended_at"].endswith("Z")
    assert run["tags"] == ["first"]
    assert run["summary"] == STRICT


def test_ls_prints_a_table_that_is_whole_in_a_pipe(root: Path) -> None:
    title, row = cli("ls").stdout.splitlines()
    assert title.split()[:8] == ["ID", "NAME", "PROJECT", "GROUP", "STATE", "RANKS", "CREATED", "DURATION"]
    assert row.split()[:6] == ["ab12cd34", "merry-otter-3", "demo", "digits", "crashed", "2/3"]


def test_ls_shows_as_many_as_asked_for(root: Path, many: str) -> None:
    assert len(answer("ls", "--json")) == 2
    assert len(answer("ls", "--json", "-n", "1")) == 1


def test_show_prints_what_other_tools_rely_on(root: Path) -> None:
    run = answer("show", "ab12cd34", "--json")
    assert run["config"] == {"lr": 0.001, "big": BIG}
    assert run["summary_ranks"]["big"] == {"min": BIG, "mean": float(BIG), "max": BIG, "argmax": 0}
    assert run["summary_ranks"]["loss"]["max"] == "NaN"
    assert [(rank["rank"], rank["state"]) for rank in run["ranks"]] == [(0, "finished"), (1, "crashed"), (2, "absent")]
    assert list(run["ranks"][0]) == [
        *("rank", "local_rank", "node", "job_type", "state", "attempt", "rows", "last_step", "last_seen_s"),
        *("exit_code", "signal"),
    ]
    receipt = run["receipt"]
    assert receipt["logged"] == receipt["stored"] + receipt["pending"] + receipt["dropped"] == 8


def test_show_tells_people_the_same(root: Path) -> None:
    text = cli("show", "demo/ab12cd34").stdout
    assert "2 of 3 ranks joined: rank 0 finished, rank 1 crashed, 1 absent." in text
    assert "8 records logged: 8 stored, 0 pending, 0 dropped" in text
    assert "a \\x1b[2J note" in text
    assert "\x1b" not in text


def test_ranks_are_compared_by_the_time_between_their_rows(root: Path) -> None:
    found = answer("ranks", "ab12cd34", "--json")
    assert (found["metric"], found["unit"]) == (None, "s")
    assert [rank["median"] for rank in found["ranks"]] == [0.001, 0.002, None]
    assert "Rank 1 on node0 is the slowest" in cli("ranks", "ab12cd34").stdout


def test_ranks_by_a_metric_nobody_logged_ends_with_2_and_names_near_ones(root: Path) -> None:
    assert "There are high" in cli("ranks", "ab12cd34", "hihg", code=2).stderr


def test_export_prints_a_line_of_strict_json_for_every_value(root: Path) -> None:
    lines = cli("export", "ab12cd34").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 2 * 3 * len(VALUES)
    assert {row["key"]: row["value"] for row in rows} == STRICT
    assert {row["key"]: row["type"] for row in rows} == {
        "loss": "float",
        "high": "float",
        "big": "int",
        "flag": "bool",
        "text": "str",
        "none": "null",
        "list": "json",
    }
    assert lines == cli("export", "ab12cd34", "--json").stdout.splitlines()


def test_export_writes_csv_that_reads_back(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    done = cli("export", "ab12cd34", "-o", path, "--keys", "text,big", "--ranks", "1")
    assert done.stdout == ""
    assert "Wrote 6 values" in done.stderr
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["step"], row["key"], row["value"]) for row in rows] == [
        ("1", str(step), key, str(VALUES[key])) for step in range(3) for key in ("big", "text")
    ]
    again = cli("export", "ab12cd34", "--format", "csv", "--keys", "text,big", "--ranks", "1").stdout
    assert list(csv.DictReader(io.StringIO(again, newline=""))) == rows


def test_export_says_which_keys_nobody_logged(root: Path) -> None:
    done = cli("export", "ab12cd34", "--keys", "loss,losss")
    assert len(done.stdout.splitlines()) == 6
    assert "losss" in done.stderr


def test_export_that_cannot_be_written_ends_with_1_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    done = cli("export", "ab12cd34", "-o", tmp_path / "no" / "out.csv", code=1)
    assert "there is no such directory" in done.stderr
    cli("export", "nosuch", "-o", tmp_path / "out.csv", code=1)
    assert not list(tmp_path.glob("*out.csv*"))


def test_a_reader_that_has_enough_ends_an_export_quietly(root: Path, many: str) -> None:
    with subprocess.Popen(command("export", many), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert beside_progress(process.stderr.read().decode()) == ""
        assert process.wait(300) == 141


def test_ctrl_c_ends_with_130_and_no_traceback(root: Path, many: str) -> None:
    with subprocess.Popen(
        command("export", many),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore it
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # from now on it waits for room in the pipe
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(300) == 130


def test_a_terminal_of_80_columns_gets_lines_of_80_columns(root: Path, many: str) -> None:
    for verb in (["ls"], ["ranks", "ab12cd34"]):
        text = on_terminal(80, *verb)
        assert "\x1b[" in text
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
        assert [line for line in lines if cell_len(line) > 80] == []


def on_terminal(columns: int, *arguments: str) -> str:
    """Returns what the command line prints on a terminal so wide."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(command(*arguments), stdout=there, stderr=there, env=environ | {"TERM": "xterm"})
    os.close(there)
    said = b""
    try:
        while data := os.read(here, 65_536):
            said += data
    except OSError:
        pass  # Linux' way of saying that nobody has the other end any more
    finally:
        os.close(here)
    assert process.wait(300) == 0
    return said.decode()


def test_a_terminal_without_unicode_gets_escapes_and_machines_get_utf_8(root: Path) -> None:
    finished_run(root, [(0, {"größe": 1.0})], run_id="unicode", name="データ")
    assert "\\u30c7" in cli("ls", PYTHONIOENCODING="ascii").stdout
    names = {run["name"] for run in json.loads(cli("ls", "--json", PYTHONIOENCODING="ascii").stdout)}
    assert "データ" in names


def test_what_a_dead_process_left_is_brought_home_first_and_said_so(tmp_path: Path) -> None:
    root = tmp_path / "disttrack-runs"
    process = process_of(root=str(root), launch_key="dead", host="here")
    for step in range(5):
        process.row({"loss": step / 2}, step)
    place = private_directory(tmp_path / "journals")
    directory = outbox_directory(place, process.join)
    process.join = join_of(root=str(root), launch_key="dead", journal=str(directory))
    outbox = Outbox(directory, process.join)
    outbox.append(process.journal, 5)
    outbox.close()
    note_place(Path(os.environ["DISTTRACK_RUNTIME_DIR"]), place)
    done = cli("ls", "--json")
    (run,) = json.loads(done.stdout)
    assert done.stderr == f"Brought home 5 records of 1 dead rank into demo/{run['id']}. {ORPHAN}\n"
    assert len(cli("export", run["id"]).stdout.splitlines()) == 5
    assert cli("ls").stderr == ""


def test_ls_takes_filters_and_an_order(tmp_path: Path) -> None:
    root = tmp_path / "disttrack-runs"
    for number in range(3):
        finished_run(root, [(0, {"loss": float(number)})], f"run{number}", name=f"try-{number}")

    def ids(*arguments: str) -> list[str]:
        return [run["id"] for run in answer("ls", "--json", *arguments)]

    assert ids("loss<2", "--order", "-loss") == ids("loss<2 state:finished", "--order=-loss") == ["run1", "run0"]
    assert ids("-name:try-0", "--order=loss", "--project", "demo") == ["run1", "run2"]
    assert ids("-loss>0", "-n", "1") == ["run0"]
    assert "None of 3 runs" in cli("ls", "loss>5").stderr
    refused = cli("ls", "loss<1", "state:crashd", code=2)
    assert refused.stdout == ""
    assert "\n  loss<1 state:crashd\n               ^\n" in refused.stderr
    assert "did you mean crashed?" in refused.stderr
    assert "FIELD" in cli("ls", "--help").stdout
    assert "one field" in cli("ls", "--order", "a b", code=2).stderr


def test_runs_are_compared_side_by_side(tmp_path: Path) -> None:
    root = tmp_path / "disttrack-runs"
    for number in range(2):
        log, process = RunLog(root, run_id=f"run{number}", name=f"try-{number}"), process_of()
        process.config(lr=0.1 * (number + 1), model={"width": 64, "depth": number}, seed=1)
        process.row({"loss": 1.5 + number, **({"only": 3} if number else {})}, 0)
        process.end(number)
        log.commit_all(process)
        log.end()
        log.close()
    compared = answer("compare", "run0", "demo/run1", "--json")
    assert [(run["id"], run["state"], run["receipt"]["stored"]) for run in compared["runs"]] == [
        ("run0", "finished", 2),
        ("run1", "failed", 2),
    ]
    assert compared["config"] == {"lr": [0.1, 0.2], "model.depth": [0, 1]}
    assert compared["same_config"] == ["model.width", "seed"]
    assert compared["summary"] == {"loss": [1.5, 2.5], "only": [None, 3]}
    lines = [line.split() for line in cli("compare", "run0", "run1").stdout.splitlines()]
    assert ["RUN", "run0", "run1"] in lines
    assert ["state", "finished", "failed"] in lines
    assert ["model.depth", "0", "1"] in lines
    assert ["only", "-", "3"] in lines
    assert "Config: 2 differ, 2 the same".split() in lines
    assert "two or more" in cli("compare", "run0", code=2).stderr
    assert "No run 'nobody'" in cli("compare", "run0", "nobody", code=1).stderr


def test_a_damaged_log_is_named_by_ls_and_show(tmp_path: Path) -> None:
    log = finished_run(tmp_path / "disttrack-runs", [(step, {"loss": float(step)}) for step in range(50)])
    (segment,) = log.log.iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    (run,) = answer("ls", "--json")
    assert run["damage"] == answer("show", "run1", "--json")["damage"] == 1
    said = "1 place in its log cannot be read; nothing of what its ranks logged is known to be missing"
    assert f"demo/run1: {said}" in cli("ls").stderr  # the End was in it: nobody knows how much there was
    text = cli("show", "run1").stdout
    assert f"damage    {said}" in text
    (place,) = answer("show", "run1", "--json")["damaged"]
    assert place["path"] == "log/000001.dtl"
    assert 0 < place["start"] <= len(data) // 2 < place["end"] <= len(data)
    assert f"log/000001.dtl, bytes {place['start']:,} to {place['end']:,}: {place['why']}" in text


def test_a_table_shows_a_hundred_runs_and_says_how_many_there_are(tmp_path: Path) -> None:
    for number in range(102):
        finished_run(tmp_path / "disttrack-runs", [(0, {"loss": float(number)})], run_id=f"r{number:03d}")
    told = cli("ls")
    assert len(told.stdout.splitlines()) == 101
    assert "These are the first 100 of 102 runs; -n 102 shows all." in told.stderr
    all_of_them = cli("ls", "-n", "102")
    assert (len(all_of_them.stdout.splitlines()), all_of_them.stderr) == (103, "")
    assert len(answer("ls", "--json")) == 102
