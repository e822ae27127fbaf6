"""In a notebook: what each cell prints is kept with the cell, and a run shows itself below one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import disttrack
from disttrack.api.notebook import MAX_KEYS, card
from tests.road.site import Site

#: Runs cells in a kernel, in a process of its own: nbclient's event loop and sockets stay out of the tests' one.
CLIENT = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = json.load(open("cells.json"))
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
json.dump([cell["outputs"] for cell in notebook.cells], open("outputs.json", "w"))
"""


def executed(site: Site, *cells: str) -> list[str]:
    """Run cells in a kernel; return what each of them showed, as text and as HTML."""
    (site.directory / "cells.json").write_text(json.dumps(cells))
    script = site.script(CLIENT, "client.py")
    done = subprocess.run(
        [sys.executable, script], cwd=site.directory, env={**os.environ}, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads((site.directory / "outputs.json").read_text())
    return ["".join(_shown(output) for output in of_cell) for of_cell in outputs]


def _shown(output: dict[str, object]) -> str:
    data = output.get("data")
    if isinstance(data, dict):
        return "".join(data.get("text/html", ""))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return "".join(str(output.get("text", "")))


@pytest.mark.real(timeout_s=150)
def test_what_cells_print_is_kept_cell_by_cell_and_a_run_shows_itself(site: Site) -> None:
    shown = executed(
        site,
        "import disttrack",
        "run = disttrack.init(project='p', id='a', name='<b>first</b>'); print('second cell')",
        "import sys; run.log({'loss': 0.5}); print('third cell'); print('an error', file=sys.stderr)",
        "print('no line end', end='')",
        "run",
        "run.finish(); print('after it')",
    )
    assert "second cell\n" in shown[1]
    assert "third cell\n" in shown[2]
    assert "&lt;b&gt;first&lt;/b&gt;" in shown[4]
    assert "<script" not in shown[4]
    assert "<td>0.5</td>" in shown[4]
    with disttrack.Api(site.directory) as api:
        run = api.run("a")
        lines = [(line.cell, line.stream, line.text) for line in run.console() if "disttrack:" not in line.text]
        program = run.about["program"]["program"]
    assert sorted(lines, key=lambda line: (line[0] or 0, line[1] == "stderr")) == [
        (2, "stdout", "second cell"),
        (3, "stdout", "third cell"),
        (3, "stderr", "an error"),
        (4, "stdout", "no line end"),
    ]
    assert program == "<notebook>"


def test_a_card_escapes_all_and_is_bounded() -> None:
    evil = "<script>alert(1)</script>"
    text = card(evil, evil, {evil: evil}, {f"{evil}{number}": evil * 100 for number in range(100)})
    assert "<script" not in text
    assert text.count("<tr>") == MAX_KEYS
    assert "and 80 more" in text
    assert len(text) < 20_000
