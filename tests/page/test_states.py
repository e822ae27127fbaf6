"""What the page says where there is nothing to show, and where what it showed is gone."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.index.logs import RunLog, finished_run
from tests.page.conftest import WAIT_MS, Server, Visit
from tests.page.made import eight_ranks, printed, process, sweep

pytestmark = pytest.mark.real(timeout_s=180)

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


def test_what_a_logarithmic_axis_has_no_place_for_is_said(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    rows = [(step, {"loss": 1.0 - step / 4, "below": -1.0 - step, "zero": 0.0}) for step in range(12)]
    finished_run(tmp_path / "disttrack-runs", rows, run_id="low", project="odd")
    page = visit(serve(tmp_path)).open("/r/odd/low?log=1")
    expect(page.locator('[data-key="loss"] .u-over')).to_be_visible()
    expect(page.locator('[data-key="loss"]')).to_contain_text("8 not above 0")
    for key in ("below", "zero"):
        expect(page.locator(f'[data-key="{key}"]')).to_contain_text(f"Nothing of {key} is above 0")
    page.get_by_role("button", name="Linear axes").first.click()
    expect(page.locator('[data-key="below"] .u-over')).to_be_visible()
    expect(page.get_by_text("above 0")).to_have_count(0)


def test_numbers_names_and_lines_of_any_size_are_shown_or_said_not_to_be(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    start = int(time.time() * 1e6) - 60_000_000
    log, rank = RunLog(tmp_path / "disttrack-runs", "odd", "odd", "n" * 10_000), process(0, 1, "odd", start)
    log.open(start)
    for step in range(10):
        odd = [1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-320, -0.0][step % 8]
        row = {"loss": odd, "nan": math.nan, "infinite": math.inf, "huge": 1e308 * (-1) ** step, "tiny": 1e-320 * step}
        rank.row(row, step)
    printed(rank, "\x1b[31mred\x1b[0m \x07 \u202eturned <script>alert(1)</script>")
    printed(rank, "m" * (1 << 20))
    rank.end()
    log.commit_all(rank)
    log.end(rank.time_us)
    log.close()
    profile = visit(serve(tmp_path))
    page = profile.open("/r/odd/odd")
    for key, said in {
        "loss": "1 × +∞, 1 × −∞",
        "nan": "None of 10 points of nan is a finite number: all are NaN",
        "infinite": "None of 10 points of infinite is a finite number: 10 × +∞",
    }.items():
        card = page.locator(f'[data-key="{key}"]').first
        card.scroll_into_view_if_needed()
        expect(card).to_contain_text(said)
    for key, least, most in (("huge", "-1e308", "1e308"), ("tiny", "0", "9e-320")):
        card = page.locator(f'[data-key="{key}"]').first
        card.scroll_into_view_if_needed()
        expect(card.locator(".u-over")).to_be_visible()
        card.get_by_role("button", name=f"View {key} as table").click()
        first = card.locator("table").first.locator("tbody tr")
        expect(first).to_contain_text(most)  # no infinity, and no 0, as in float32
        expect(first).to_contain_text(least)
    assert page.evaluate("document.documentElement.scrollWidth") == 1440
    page.goto(f"{profile.server.origin}/r/odd/odd/logs")
    expect(page.locator(".line .text").first).to_have_text("red ␇ ⟨U+202E⟩turned <script>alert(1)</script>")
    page.locator(".line").nth(1).click()
    expect(page.locator(".whole")).to_contain_text("The first 10\u202f000 of 1\u202f048\u202f576 characters")
    page.goto(f"{profile.server.origin}/p/odd")
    expect(page.locator("tr[data-run]")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == 1440
