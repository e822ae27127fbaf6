"""What a run says on standard error: two lines, by its first rank alone, and none where it is to be quiet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from disttrack.api.banner import begun, ended
from disttrack.api.receipt import Receipt
from tests.road.site import Site

SCRIPT = """
import os, sys, disttrack

run = disttrack.init(project="demo", name=os.environ.get("NAME"))
run.log({"loss": 1.0})
run.finish(int(os.environ.get("CODE", 0)))
"""


def said(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("disttrack: ")]


@pytest.mark.real(timeout_s=120)
def test_two_lines_of_a_run_of_several_ranks_and_the_id_in_them_answers(site: Site) -> None:
    first, last = said(site.torchrun(2, site.script(SCRIPT), env={"DISTTRACK_QUIET": "0", "NAME": "calm fox"}))
    (run,) = site.ls()
    assert first == f'disttrack: "calm fox", demo/{run["id"]}, 2 ranks, in ./disttrack-runs; to follow it: ' + (
        f"disttrack watch {run['id']}"
    )
    shown = rf"disttrack: demo/{run['id']} finished after [\dhm.]+s: 1 record logged: 1 stored, 0 pending, 0 dropped"
    assert re.fullmatch(shown, last)


@pytest.mark.real(timeout_s=120)
def test_where_it_is_quiet_nothing_is_said_and_a_failure_is_told_as_one(site: Site) -> None:
    script = site.script(SCRIPT)
    assert said(site.python(script)) == []  # tests are quiet
    assert said(site.python(script, env={"DISTTRACK_QUIET": "0", "DISTTRACK_MODE": "disabled"})) == []
    first, last = said(site.python(script, env={"DISTTRACK_QUIET": "0", "CODE": "3"}))
    assert ", 1 rank, in ./disttrack-runs; to follow it: disttrack watch " in first
    assert "failed (exit 3) after" in last


@pytest.mark.real(timeout_s=120)
def test_a_standard_error_that_nobody_reads_or_that_is_closed_stops_nothing(site: Site) -> None:
    code = "import os, sys\nos.close(2)\n" + SCRIPT
    site.python(site.script(code), env={"DISTTRACK_QUIET": "0"})
    assert site.only_run()["receipt"]["stored"] == 1


def test_names_cannot_move_a_cursor_and_other_directories_are_named(tmp_path: Path) -> None:
    line = begun("demo/a\x1b[2J", "x\n\x1b]0;y\x07", 16, 2, 1, tmp_path / "else" / "disttrack-runs")
    assert line.isprintable()
    assert "16 ranks on 2 nodes, attempt 1, in /" in line
    assert line.endswith(f" --dir {tmp_path / 'else'}")
    assert ended("demo/a", 0, 7_325.0, Receipt(1, 1, 0, 0)).startswith("disttrack: demo/a finished after 2h02m: 1 rec")
