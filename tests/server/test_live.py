"""`disttrack ui` beside real jobs: what they log, print and save is on the stream and in the answers while they run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.road.site import Site
from tests.server.ui import Ui, serving

TRAINING = """
import pathlib, sys, time
import disttrack
run = disttrack.init(project="live", name="training")
for step in range(10_000):
    run.log({"loss": 1.0 / (step + 1)}, step=step)
    if step % 10 == 0:
        print(f"step {step}", flush=True)
    time.sleep(0.02)
    if pathlib.Path("stop").exists():
        break
run.finish()
"""

KEEPING = """
import sys
import disttrack
run = disttrack.init(project="kept")
run.define_metric("loss", goal="minimize")
print("first\\nsecond")
print("\\x1b[31mValueError: third\\x1b[0m", file=sys.stderr)
open("notes.txt", "w").write("hello")
open("page.svg", "w").write("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
run.save("notes.txt")
run.save("page.svg")
for step in range(3):
    pixels = __import__("numpy").full((4, 6, 3), step, "uint8")
    table = disttrack.Table(columns=["a", "b"], data=[[step, float("nan")], [2, "x"]])
    row = {"loss": 1.0 / (step + 1), "seen": disttrack.Image(pixels, caption="<b>"), "table": table}
    run.log({**row, "spread": disttrack.Histogram([1.0, 2.0, 2.0])}, step=step)
run.finish()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


def events(answer: httpx.Response) -> Iterator[tuple[str, str, Any]]:
    """Yields event, id and data of a stream."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def until(stream: Iterator[tuple[str, str, Any]], wanted: Callable[[Any], bool]) -> tuple[str, list[Any]]:
    """Reads changes until one is as wanted; returns its id, and all of them."""
    seen: list[Any] = []
    for event, cursor, data in stream:
        assert event in ("hello", "changed"), data
        if event == "changed":
            seen.append(data)
            if wanted(data):
                return cursor, seen
    raise AssertionError(f"the stream ended; it had {seen}")


@pytest.mark.real(timeout_s=150)
def test_a_running_job_is_followed_and_a_page_that_comes_back_misses_nothing(site: Site) -> None:
    with serving(site.directory) as ui:
        assert (ui.json("/api/runs")["rows"], ui.json("/api/about")["editable"]) == ([], False)  # no directory yet
        began_s = time.monotonic()
        with ui.client.stream("GET", "/api/events", params={"project": "live"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            stream = events(answer)
            assert next(stream)[0] == "hello"
            job = site.start(sys.executable, site.script(TRAINING))
            _, seen = until(stream, lambda data: any(run["state"] == "running" and run["rows"] for run in data["runs"]))
            assert sum(change["new"] for change in seen) == 1
            name = seen[-1]["runs"][0]["run"]
            _, more = until(stream, lambda data: data["runs"] and data["runs"][0]["rows"] > 100)
            assert len(seen + more) <= 4 * (time.monotonic() - began_s) + 2
            rows = [run["rows"] for change in seen + more for run in change["runs"]]
            assert rows == sorted(rows)
            cursor, _ = until(stream, lambda data: data["runs"] and data["runs"][0]["lines"])
        known = ui.frame("/api/series", run=name, key="loss", width=8_000).header["lines"][0]["points"]
        assert known >= rows[-1] - 1  # what the stream told is there to be fetched
        logs = ui.json("/api/logs", run=name, limit=5)
        assert logs["lines"][-1]["text"].startswith("step ")
        (site.directory / "stop").touch()
        job.communicate(timeout=300)
        assert job.returncode == 0
        with ui.client.stream("GET", "/api/events", headers={"Last-Event-ID": cursor}) as answer:
            stream = events(answer)
            assert next(stream)[0] == "hello"
            _, seen = until(stream, lambda data: data["runs"] and data["runs"][-1]["state"] == "finished")
            assert [run["run"] for run in seen[-1]["runs"]] == [name]
        after = ui.json("/api/logs", run=name, after=logs["last"], limit=5_000)
        told = [line["text"] for line in after["lines"]]
        at = int(logs["lines"][-1]["text"].split()[1])
        assert told == [f"step {at + 10 * n}" for n in range(1, len(told) + 1)]
        with ui.client.stream("GET", "/api/events", headers={"Last-Event-ID": "another-7"}) as answer:
            assert [event for event, _, _ in (next(events(answer)),)] == ["reset"]


@pytest.mark.real(timeout_s=120)
def test_what_a_run_printed_saved_and_showed_is_there_and_nothing_of_it_runs_in_a_browser(site: Site) -> None:
    site.python(site.script(KEEPING))
    with serving(site.directory) as ui:
        run = f"kept/{site.ls()[0]['id']}"
        lines = ui.json("/api/logs", run=run)["lines"]
        assert {(line["text"], line["stream"], line["level"]) for line in lines} >= {
            ("first", "stdout", None), ("second", "stdout", None), ("ValueError: third", "stderr", "error"),
        }  # fmt: skip
        found = ui.json("/api/logs", run=run, grep="sec.nd|thi", stream="stdout")
        assert ([line["text"] for line in found["lines"]], found["matched"]) == (["second"], 1)
        kinds = {key["key"]: key["kind"] for key in ui.json("/api/run", run=run)["keys"]}
        assert kinds == {"loss": "number", "seen": "media", "table": "media", "spread": "media"}
        check_media(ui, run)
        files = {file["path"]: file for file in ui.json("/api/files", run=run)["files"]}
        assert set(files) == {"notes.txt", "page.svg"}
        for file in files.values():
            answer = ui.client.get(file["url"])
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-disposition"].startswith("attachment")
            assert "sandbox" in answer.headers["content-security-policy"]
        assert ui.client.get(files["notes.txt"]["url"]).text == "hello"
        assert ui.client.get("/file", params={"run": run, "path": "../log/000001.dtl"}).status_code == 404


def check_media(ui: Ui, run: str) -> None:
    media = ui.json("/api/media", run=run, key="seen")
    assert ([one["step"] for one in media["media"]], media["total"]) == ([0, 1, 2], 3)
    assert {(key["key"], key["kind"], key["count"]) for key in media["keys"]} == {
        ("seen", "image", 3), ("table", "table", 3), ("spread", "histogram", 3),
    }  # fmt: skip
    image = media["media"][1]
    assert (image["caption"], image["width"], image["height"], image["type"]) == ("<b>", 6, 4, "image/png")
    answer = ui.client.get(image["url"])
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert "immutable" in answer.headers["cache-control"]
    table = ui.json("/api/table", run=run, key="table", step=1)
    assert (table["columns"], table["total"], table["rows"][1]) == (["a", "b"], 2, [2, "x"])
    histogram = ui.json("/api/media", run=run, key="spread", limit=1)["media"][0]
    assert (histogram["url"], sum(histogram["value"]["values"])) == (None, 3)
    assert [one["step"] for one in ui.json("/api/media", run=run, key="seen", **{"from": 1, "to": 1})["media"]] == [1]
