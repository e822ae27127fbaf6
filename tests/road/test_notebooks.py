"""In a notebook: what each cell prints is kept with the cell, and a run shows itself below one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from operator import methodcaller
from xml.etree import ElementTree

import pytest

import disttrack
from disttrack.integrations.notebook import run_card
from disttrack.query.alone import read_alone
from disttrack.query.cards import MAX_CHARTS, MAX_KEYS, card
from tests.index.logs import RunLog, process_of
from tests.road.site import Site

html_of = methodcaller("_repr_html_")  # as Jupyter does
SVG = "{http://www.w3.org/2000/svg}"

#: Runs cells in a kernel, in a process of its own: nbclient's event loop and sockets stay out of the tests' one.
CLIENT = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = json.load(open("cells.json"))
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
json.dump([cell["outputs"] for cell in notebook.cells], open("outputs.json", "w"))
"""


def executed(site: Site, *cells: str) -> list[str]:
    """Run cells in a kernel; return what each of them showed, as text and as HTML."""
    (site.directory / "cells.json").write_text(json.dumps(cells))
    script = site.script(CLIENT, "client.py")
    done = subprocess.run(
        [sys.executable, script], cwd=site.directory, env={**os.environ}, capture_output=True, text=True, timeout=300
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
        "run.log({'loss': 0.25}); run.finish(); print('after it')",
        "run",
    )
    assert "second cell\n" in shown[1]
    assert "third cell\n" in shown[2]
    assert "&lt;b&gt;first&lt;/b&gt;" in shown[4]
    assert "<script" not in shown[4]
    assert "<td>0.5</td>" in shown[4]
    assert "<svg" in shown[6]
    assert "state finished" in shown[6]
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


EVIL = "<script>alert(1)</script>"


def well_formed(text: str) -> ElementTree.Element:
    """Parses HTML that is XML, too, and sees to it that nothing in it could run, be clicked or be fetched."""
    tree = ElementTree.fromstring(text)
    plain = {"div", "b", "code", "table", "tr", "td", "th"} | {f"{SVG}{tag}" for tag in ("svg", "title", "path")}
    for element in tree.iter():
        assert element.tag in plain
        assert not [name for name in element.attrib if name.startswith("on") or name.endswith(("href", "src"))]
    return tree


def test_a_run_of_several_ranks_shows_its_charts_here_and_from_the_api(site: Site) -> None:
    log, ranks = RunLog(site.root, run_id="a", name=EVIL), [process_of(rank, 3) for rank in range(3)]
    for number, rank in enumerate(ranks):
        for step in range(500):
            rank.row({EVIL: number + step / 500, "loss": 1 / (step + 1), "text": "no chart", "nan": math.nan}, step)
        for key in range(30):
            rank.row({f"key{key}": 1.0}, 500)
            rank.row({f"key{key}": 2.0}, 501)
    log.commit_all(*ranks)
    log.close()
    with disttrack.Api(site.directory) as api:
        from_api, table = html_of(api.run("a")), html_of(api.runs())
    snapshot = read_alone(site.root, "demo", "a")
    assert snapshot is not None
    assert not list(site.root.glob("demo/a/*.sqlite"))
    for text in (from_api, run_card("mine", (site.root, "demo", "a"), {"state": "running"}, {"loss": 0.5, EVIL: 1})):
        tree = well_formed(text)
        assert len(text) < 32_000
        titles = {title.text for title in tree.iter(f"{SVG}title")}
        assert any(str(title).startswith(f"{EVIL}, steps 0 to 499, 3 ranks: 0") for title in titles)
        assert len(titles) <= MAX_CHARTS
        for svg in tree.iter(f"{SVG}svg"):
            assert svg.get("role") == "img"
            band, line = (str(path.get("d")) for path in svg.iter(f"{SVG}path"))
            assert band.endswith("Z")
            assert line.startswith("M2 ")
    assert "a" in {cell.text for cell in well_formed(table).iter("td")}
    assert read_alone(site.root, "demo", "nobody") is None


def test_a_card_escapes_all_and_is_bounded() -> None:
    evil = EVIL
    text = card(evil, evil, {evil: evil}, {f"{evil}{number}": evil * 100 for number in range(100)})
    assert "<script" not in text
    assert text.count("<tr>") == MAX_KEYS
    assert "and 80 more" in text
    assert len(text) < 20_000
