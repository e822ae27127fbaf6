"""What the page says where there is nothing to show, and where what it showed is gone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.index.logs import RunLog
from tests.page.conftest import WAIT_MS, Server, Visit
from tests.page.made import eight_ranks, process, sweep

expect.set_options(timeout=WAIT_MS)
pytestmark = pytest.mark.real(timeout_s=180)


def made(root: Path, run_id: str, metrics: int) -> None:
    """Write a run of one rank with so many metrics, none of them where that is 0."""
    start = int(time.time() * 1e6) - 60_000_000
    log, rank = RunLog(root, "odd", run_id), process(0, 1, "odd", start)
    log.open(start)
    if metrics:
        for step in range(3):
            rank.row({f"layer{number // 10}/norm{number % 10}": float(step) for number in range(metrics)}, step)
    rank.end()
    log.commit_all(rank)
    log.end(rank.time_us)
    log.close()


def test_a_run_without_rows_says_so(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    made(tmp_path / "disttrack-runs", "bare", 0)
    server = serve(tmp_path)
    page = visit(server).open("/r/odd/bare")
    expect(page.locator(".empty").first).to_be_visible()
    for tab, said in {
        "ranks": "1 finished",
        "system": "No node of this run was sampled",
        "logs": "Nothing was printed",
    }.items():
        page.goto(f"{server.origin}/r/odd/bare/{tab}")
        expect(page.locator("main")).to_contain_text(said)


def test_of_thousands_of_metrics_those_in_sight_are_drawn(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    made(tmp_path / "disttrack-runs", "much", 3_000)
    profile = visit(serve(tmp_path))
    page = profile.open("/r/odd/much")
    expect(page.locator(".card .u-over").first).to_be_visible()
    assert len([url for url in profile.asked if "api/series" in url]) < 100
    page.keyboard.press("m")
    page.keyboard.type("layer299/norm7")
    expect(page.locator('[data-key="layer299/norm7"] .u-over')).to_be_visible()


def test_a_run_that_is_deleted_while_it_is_open_says_so(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    root = tmp_path / "disttrack-runs"
    sweep(root, runs=2, steps=30)
    eight_ranks(root, steps=120)
    profile = visit(serve(tmp_path))
    profile.expected = "404"
    page = profile.open("/r/demo/eight")
    expect(page.get_by_role("heading", level=1)).to_contain_text("llm-7b")
    shutil.rmtree(root / "demo" / "eight")
    page.reload()
    expect(page.get_by_role("alert").first).to_contain_text("The run eight cannot be shown")
    page.keyboard.press("Escape")
    expect(page.locator("tr[data-run]")).to_have_count(2)
    page.go_back()
    expect(page.get_by_role("alert").first).to_contain_text("The run eight cannot be shown")
