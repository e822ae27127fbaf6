"""Many runs changed by one request, and what the server says while the directory of runs is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from disttrack.settings import ROOT_NAME
from tests.index.logs import finished_run
from tests.server.ui import Ui, serving

pytestmark = pytest.mark.real(timeout_s=90)

RUNS = 150


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(RUNS):
        finished_run(tmp_path / ROOT_NAME, [(0, {"loss": 1.0})], run_id=f"r{number:03}", name=f"trial-{number % 2}")
    return tmp_path / ROOT_NAME


@pytest.fixture
def ui(root: Path) -> Iterator[Ui]:
    with serving(root.parent) as ui:
        yield ui


def changed(ui: Ui, path: str, **body: object) -> dict[str, Any]:
    answer = ui.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_all_that_a_filter_finds_are_changed_by_one_request(ui: Ui) -> None:
    found = {"project": "demo", "filter": "name:trial-1"}
    first = changed(ui, "/api/edit", runs=["demo/r001", "demo/no"], add_tags=["good"])
    assert (first["done"], first["failed"][0]["run"], first["rows"][0]["tags"]) == (["demo/r001"], "demo/no", ["good"])
    tagged = changed(ui, "/api/edit", **found, add_tags=["good"])
    assert (len(tagged["done"]), tagged["unchanged"], tagged["failed"]) == (RUNS // 2 - 1, 1, [])
    assert "demo/r001" not in tagged["done"]  # it had the tag: who undoes this does not take it away there
    assert ui.json("/api/runs", filter="tag:good")["total"] == RUNS // 2
    back = changed(ui, "/api/edit", runs=tagged["done"], remove_tags=["good"])
    assert back["done"] == tagged["done"]
    assert [row["id"] for row in ui.json("/api/runs", filter="tag:good")["rows"]] == ["r001"]
    deleted = changed(ui, "/api/delete", **found)
    assert (len(deleted["done"]), ui.json("/api/runs")["total"]) == (RUNS // 2, RUNS // 2)
    restored = changed(ui, "/api/restore", runs=[*deleted["done"], "demo/no"])
    assert (restored["done"], len(restored["failed"])) == (deleted["done"], 1)
    assert ui.json("/api/runs")["total"] == RUNS
    everything = changed(ui, "/api/edit", filter="", archived=True)
    assert (len(everything["done"]), everything["rows"]) == (RUNS, [])  # rows only of few
    assert (ui.json("/api/runs")["total"], ui.json("/api/runs", archived=1)["total"]) == (0, RUNS)
    assert changed(ui, "/api/edit", filter="", archived=True)["done"] == []


def test_a_directory_that_is_away_is_no_empty_one(ui: Ui, root: Path) -> None:
    assert ui.json("/api/runs")["total"] == RUNS
    with httpx.stream("GET", f"{ui.base}/api/events", headers=ui.client.headers, timeout=300) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: hello"
        root.rename(root.with_name("elsewhere"))
        assert "removed, moved or unmounted" in said(lines, "stale")["why"]
        for path, asked in (("/api/runs", {}), ("/api/projects", {}), ("/api/keys", {}), ("/api/run", {"run": "r001"})):
            error = ui.error(path, 503, **asked)
            assert error["kind"] == "RootGone"
            assert "removed, moved or unmounted" in error["message"]
        about = ui.json("/api/about")
        assert (about["runs"], about["editable"]) == (0, False)
        assert ui.client.post("/api/delete", json={"filter": ""}).status_code == 403
        root.with_name("elsewhere").rename(root)
        assert said(lines, "changed")["gone"] == []
    assert ui.json("/api/runs")["total"] == RUNS
    assert ui.json("/api/about")["editable"] is True


def said(lines: Iterator[str], event: str) -> dict[str, Any]:
    """Returns the data of the next event of this name."""
    for line in lines:
        if line == f"event: {event}":
            next(lines)  # its id
            data: dict[str, Any] = json.loads(next(lines).removeprefix("data: "))
            return data
    raise AssertionError(f"the stream ended before {event}")


def test_a_stream_may_name_a_run_that_is_not_there_yet(ui: Ui, root: Path) -> None:
    asked = f"{ui.base}/api/events?project=no&run=demo/new"
    with httpx.stream("GET", asked, headers=ui.client.headers, timeout=300) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: hello"
        finished_run(root, [(0, {"loss": 1.0})], run_id="new")
        assert said(lines, "changed")["runs"][0]["run"] == "demo/new"
