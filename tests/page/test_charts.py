"""What charts show where rows are missing, ranks are gone, attempts begin, or no step has a value."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.index.logs import RunLog
from tests.page.conftest import Server, Visit
from tests.page.made import eight_ranks, mended, process, wide
from tests.road.site import wait_until

pytestmark = pytest.mark.real(timeout_s=180)

#: How many pixels of a canvas between two shares of the room right of its y-axis have colour, and how many are grey.
PIXELS = """(canvas, [from, to, top, bottom, left, right]) => {
    const ratio = devicePixelRatio, inner = canvas.clientWidth - left - right;
    const [x, y] = [(left + from * inner) * ratio, top * ratio];
    const {data} = canvas.getContext("2d").getImageData(x, y, (to - from) * inner * ratio, (bottom - top) * ratio);
    let coloured = 0, grey = 0;
    for (let at = 0; at < data.length; at += 4) {
        const [r, g, b, alpha] = data.slice(at, at + 4);
        if (alpha < 100) continue;
        if (Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured += 1;
        else if (Math.max(r, g, b) < 215) grey += 1;
    }
    return {coloured, grey};
}"""


def pixels(
    canvas: Locator, start: float, end: float, top: float, bottom: float, left: int = 56, right: int = 10
) -> dict[str, int]:
    found: dict[str, int] = canvas.evaluate(PIXELS, [start, end, top, bottom, left, right])
    return found


@pytest.fixture
def server(tmp_path: Path, serve: Callable[[Path], Server]) -> Server:
    mended(tmp_path / "disttrack-runs")
    return serve(tmp_path)


def check_drawn_but_for(plot: Locator, hole: tuple[float, float], kept: list[tuple[float, float]]) -> None:
    """Check that lines are drawn where rows are kept, and nothing but a hatch in a hole: shares of the x-axis."""
    canvas = plot.locator("canvas")
    expect(canvas).to_be_visible()
    high = canvas.evaluate("canvas => canvas.clientHeight") - 30  # above the x-axis
    for start, end in kept:
        wait_until(partial(is_drawn, canvas, start, end, high), "the line is drawn")
    wait_until(lambda: pixels(canvas, *hole, 10, high)["grey"] > 100, "the hole is hatched")
    assert pixels(canvas, *hole, 10, high)["coloured"] == 0, "interpolated"


def is_drawn(canvas: Locator, start: float, end: float, high: float) -> bool:
    return pixels(canvas, start, end, 10, high)["coloured"] > 100


def test_a_line_is_not_drawn_through_rows_that_are_missing(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/mended?ranks=1&rank=lines&card=loss")
    plot = page.get_by_role("group", name=re.compile("loss by step: lines"))
    expect(plot).to_have_attribute(
        "aria-label", re.compile(r"Missing from 180 to 219: rank 1: disk_full\. attempt 1 at 80\.")
    )
    check_drawn_but_for(plot, (184 / 299, 215 / 299), [(100 / 299, 170 / 299), (225 / 299, 290 / 299)])


@pytest.mark.parametrize("how", ["lines", "band"])
def test_along_time_nothing_is_drawn_between_two_attempts(
    server: Server, visit: Callable[..., Visit], how: str
) -> None:
    page = visit(server).open(f"/r/demo/mended?rank={how}&card=loss&x=relative")
    plot = page.get_by_role("group", name=re.compile(f"loss by relative: {how}"))
    expect(plot).to_have_attribute("aria-label", re.compile(r"Missing from 24\.\d+ to 60: between attempts 0 and 1\."))
    check_drawn_but_for(plot, (28 / 104, 58 / 104), [(1 / 104, 15 / 104), (66 / 104, 75 / 104)])


def test_a_rank_that_died_is_hatched_from_there_on_in_the_heat_map(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/mended?rank=heat&q=loss")
    heat = page.get_by_role("group", name=re.compile("loss of 4 ranks by step.*Gone: rank 3"))
    canvas, steps, row = heat.locator("canvas"), 299, 18
    expect(canvas).to_be_visible()
    dead = (245 / steps, 0.99, 3 * row + 1, 4 * row - 1)
    hole = (184 / steps, 215 / steps, row + 1, 2 * row - 1)
    wait_until(lambda: pixels(canvas, *dead)["grey"] > 100, "the dead rank is hatched")
    wait_until(lambda: pixels(canvas, *hole)["grey"] > 50, "the hole is hatched")
    assert [pixels(canvas, *place)["coloured"] for place in (dead, hole)] == [0, 0]
    heat.locator("..").locator("..").get_by_role("button", name="View loss of ranks as table").click()
    expect(page.get_by_role("row", name=re.compile("^rank 3"))).to_contain_text("failed after 240")
    expect(page.get_by_role("row", name=re.compile("^rank 1"))).to_contain_text("disk_full")


def test_the_hatch_of_one_dead_rank_of_256_can_be_seen(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    wide(tmp_path / "disttrack-runs", steps=60)
    page = visit(serve(tmp_path)).open("/r/scale/wide")
    heat = page.get_by_role("group", name=re.compile("compute of 256 ranks by step.*Gone: rank 200"))
    canvas = heat.locator("canvas")
    expect(canvas).to_be_visible()
    # Some place of the right half is hatched over several pixels: more of it is grey than one row of 256 could have.
    wait_until(
        lambda: any(pixels(canvas, 0.6, 0.95, top, top + 6)["grey"] > 400 for top in range(200, 290, 2)),
        "the hatch is drawn",
    )


def test_rows_of_the_attempt_before_are_shown_when_asked_for(server: Server, visit: Callable[..., Visit]) -> None:
    profile = visit(server)
    page = profile.open("/r/demo/mended")
    plot = page.locator(".pair").get_by_role("group", name=re.compile("loss by step: band of 4 ranks"))
    expect(plot).to_have_attribute("aria-label", re.compile("attempt 1 at 80"))
    page.get_by_label(re.compile("2 attempts")).check()
    expect(page).to_have_url(re.compile("attempt=all"))
    expect(plot).to_be_visible()
    wait_until(  # evaluate: else the browser's events are not heard
        lambda: bool(page.evaluate("1")) and any("superseded=1" in url for url in profile.asked), "they are asked for"
    )
    page.get_by_label("x-axis").select_option("wall")  # the mark stays where the attempt began
    expect(page.locator(".pair").get_by_role("group", name=re.compile("loss by wall"))).to_have_attribute(
        "aria-label", re.compile("attempt 1 at")
    )


def test_dead_ranks_are_tiles_of_their_own(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/mended/ranks")
    expect(page.locator(".verdict")).to_contain_text("Rank 3 (node1) failed by SIGKILL at step 240")
    expect(page.locator(".tile.bad")).to_have_count(1)
    expect(page.get_by_role("button", name=re.compile("^rank 3: failed, step 240, 59 behind"))).to_be_visible()


def test_what_only_the_summary_has_is_a_number_and_no_empty_chart(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    for number, score in enumerate([0.5, 0.75]):
        start = int(time.time() * 1e6) - 60_000_000 * (2 - number)
        log = RunLog(tmp_path / "disttrack-runs", "demo", f"scored{number}", f"scored-{number}")
        log.open(start)
        rank = process(0, 1, "demo", start)
        for step in range(5):
            rank.row({"loss": 1.0 / (step + 1)}, step)
        rank.summary({"score": score})
        rank.end()
        log.commit_all(rank)
        log.end(rank.time_us)
        log.close()
    server = serve(tmp_path)
    page = visit(server).open("/p/demo")
    card = page.locator('[data-key="score"]')
    expect(card.get_by_role("row", name=re.compile("scored-1"))).to_contain_text("0.75")
    expect(card.get_by_role("row", name=re.compile("scored-0"))).to_contain_text("0.5")
    page.goto(f"{server.origin}/p/demo/compare?runs=scored0,scored1")
    expect(page.locator('[data-key="score"]').get_by_role("row")).to_have_count(2)


def test_nodes_samples_are_named_as_people_name_them(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    eight_ranks(tmp_path / "disttrack-runs", steps=200)
    page = visit(serve(tmp_path)).open("/r/demo/eight/system")
    card = page.locator('[data-quantity="gpu.memory_used_bytes"]')
    expect(card.locator("figcaption")).to_contain_text(re.compile(r"GPU memory used.*0 B.*65\.2 GiB"))
    card.get_by_role("button", name="View GPU memory used as table").click()
    expect(card.get_by_role("row", name=re.compile("node1 #1"))).to_contain_text("65.2 GiB")


@pytest.mark.parametrize("width", [1440, 360])
def test_1024_ranks_are_named_whole(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit], width: int
) -> None:
    wide(tmp_path / "disttrack-runs", ranks=1024, steps=10)
    page = visit(serve(tmp_path), width=width).open("/r/scale/wide/ranks")
    expect(page.locator(".tile")).to_have_count(1024)
    assert page.evaluate(CUT) == []
    page.locator("[data-heat]").scroll_into_view_if_needed()
    expect(page.get_by_role("group", name=re.compile("Gone: ranks 200–201"))).to_be_visible()  # a row is two ranks
    expect(page.get_by_text("ranks 76–77 have the greatest value in 100 %")).to_be_visible()


#: What tiles and names of nodes do not show whole.
CUT = """() => [...document.querySelectorAll(".tile, .node-name")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1)
  .map((each) => each.textContent)"""
