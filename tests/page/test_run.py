"""One run in a real browser: which rank is gone or late is said with no click, and its tabs say the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Route, expect

from tests.index.logs import RunLog
from tests.page.conftest import Server, Visit
from tests.page.made import START_US, eight_ranks, process, wide

pytestmark = pytest.mark.real(timeout_s=180)


@pytest.fixture
def server(tmp_path: Path, serve: Callable[[Path], Server]) -> Server:
    eight_ranks(tmp_path / "disttrack-runs", steps=800)
    return serve(tmp_path)


def test_the_dead_rank_is_named_and_the_slow_one_is_seen(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/eight")
    expect(page.locator(".verdict")).to_contain_text("Rank 6 (node1) failed by SIGKILL")
    expect(page.get_by_role("group", name=re.compile("compute of 8 ranks.*Gone: rank 6"))).to_be_visible()
    loss = page.locator('.pair [data-key="loss"]')
    expect(loss.locator(".u-over")).to_be_visible()
    lines = loss.locator(".legend li:not(.quiet)")
    expect(lines).to_have_text(["median of 8 ranks"])  # the dead rank's early part is as others'
    page.keyboard.press("2")
    expect(page).to_have_url(re.compile("/r/demo/eight/ranks$"))
    expect(page.locator(".ranks-table tbody tr").first).to_contain_text(re.compile(r"5.*node1.*\+3\d"))
    expect(page.get_by_role("button", name=re.compile(r"^rank 5: finished.*\+3\d"))).to_have_class(re.compile("slow"))
    expect(page.get_by_text(re.compile("rank 5 has the greatest value in"))).to_be_visible()
    page.get_by_role("button", name=re.compile("^rank 5: ")).click()
    expect(page).to_have_url(re.compile("ranks=5"))
    expect(page.locator('[data-key="time/compute"] .u-over')).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("/r/demo/eight/ranks$"))  # no rank is chosen
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("/p/demo$"))


def test_equal_step_times_name_no_culprit(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/eight/ranks?by=time/step")
    expect(page.get_by_role("row", name=re.compile("finished")).first).to_be_visible()
    expect(page.locator(".tile.slow")).to_have_count(0)


def test_nearly_equal_step_times_name_no_culprit_either(
    tmp_path: Path, server: Server, visit: Callable[..., Visit]
) -> None:
    log = RunLog(tmp_path / "disttrack-runs", "demo", "waits")
    ranks = [process(rank, 8, "demo", START_US) for rank in range(8)]
    log.open(START_US)
    for step in range(50):
        for number, rank in enumerate(ranks):  # rank 3 is a half percent longer in every step, as it writes the log
            rank.row({"loss": 1.0, "step_time": 0.2 + (0.001 if number == 3 else 0.0001 * number)}, step, 200_000)
    for rank in ranks:
        rank.end()
    log.commit_all(*ranks)
    log.end(ranks[0].time_us)
    log.close()
    page = visit(server).open("/r/demo/waits/ranks")
    expect(page.locator(".verdict").last).to_contain_text("Step time is synchronised: step_time is within 10%")
    expect(page.locator(".strip-note")).to_contain_text("names nobody")
    expect(page.get_by_text("has the greatest value in")).to_have_count(0)
    expect(page.locator('[data-heat="step_time"]')).to_contain_text(
        "+10 % of the median"
    )  # no colour names one, either
    expect(page.locator(".tile.slow")).to_have_count(0)


def test_along_a_metric_the_heat_map_keeps_its_steps(server: Server, visit: Callable[..., Visit]) -> None:
    profile = visit(server)
    page = profile.open("/r/demo/eight?x=eval/loss&zoom=3~5")
    expect(page.locator('.pair [data-key="loss"] .u-over')).to_be_visible()
    expect(page.get_by_role("group", name=re.compile("compute of 8 ranks by step.*Gone: rank 6"))).to_be_visible()
    assert [url for url in profile.asked if "api/heatmap" in url and "from=3" in url] == []


def test_another_metric_asks_for_its_heat_map_first_and_what_was_drawn_stays_until_it_is_there(
    server: Server, visit: Callable[..., Visit]
) -> None:
    visitor = visit(server)
    visitor.expected = "Failed to load resource"
    page = visitor.open("/r/demo/eight/ranks")
    heat = page.locator("[data-heat] .heat").first
    expect(heat).to_have_attribute("aria-label", re.compile("^time/compute of 8 ranks"))
    held: list[Route] = []
    page.route(re.compile("/api/heatmap.*key=grad_norm"), lambda route: held.append(route))
    before = len(visitor.asked)
    choice = page.get_by_label("Compare ranks by")
    choice.focus()
    choice.select_option("grad_norm")
    # The table waits for the heat-map, but not for ever.
    expect(page.locator(".ranks-table caption")).to_have_text("Ranks compared by grad_norm")
    expect(page.locator(".tile")).to_have_count(8)
    expect(page.locator("[data-heat]")).to_have_attribute("data-heat", "time/compute")
    expect(page.locator("[data-heat] .dimmed .heat").first).to_have_attribute("aria-label", re.compile("^time/compute"))
    asked = [urlsplit(url) for url in visitor.asked[before:]]
    paths = [each.path for each in asked if "grad_norm" in each.query and each.path != "/api/series"]
    assert paths[:2] == ["/api/heatmap", "/api/ranks"]
    held.pop().continue_()
    expect(page.locator("[data-heat]")).to_have_attribute("data-heat", "grad_norm")
    expect(heat).to_have_attribute("aria-label", re.compile("^grad_norm of 8 ranks"))
    expect(page.locator("[data-heat] .dimmed")).to_have_count(0)
    expect(choice).to_be_focused()
    page.route(re.compile("/api/heatmap.*key=loss"), lambda route: route.abort())
    choice.select_option("loss")
    expect(page.locator("[data-heat] .failed")).to_contain_text("loss cannot be shown.")
    expect(page.locator("[data-heat]")).to_have_attribute("data-heat", "grad_norm")


def test_logs_are_found_by_rank_stream_and_pattern(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/eight/logs")
    lines = page.locator(".log-box .line")
    expect(lines.last).to_contain_text("WARNING: GPU 1 clocks throttled")
    expect(page.locator(".line", has_text="step 700: saved checkpoint")).to_contain_text("×7")  # rank 6 is dead by then
    page.get_by_role("button", name="stderr").click()
    expect(lines).to_have_count(3)
    page.get_by_label("Find in the logs").fill("CUDA .*illegal")
    expect(lines).to_have_count(1)
    expect(page).to_have_url(re.compile(r"stream=stderr&grep=CUDA"))
    lines.click()
    expect(page.get_by_label("The chosen line")).to_contain_text("rank 6")
    page.get_by_role("link", name=re.compile("charts at step")).click()
    expect(page).to_have_url(re.compile(r"/r/demo/eight\?zoom="))


def test_nodes_samples_are_heat_maps_that_unfold_to_lines(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/eight/system")
    card = page.locator('[data-quantity="gpu.percent"]')
    expect(card.get_by_role("group", name=re.compile("of 8 rows"))).to_be_visible()
    card.get_by_role("button", name="lines").click()
    expect(card.locator(".legend li")).to_have_count(8)


def test_config_and_files_say_what_there_is(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/eight/config")
    expect(page.get_by_role("row", name="model.width 4096")).to_be_visible()
    page.get_by_label("Find key").fill("strategy")
    expect(page.get_by_role("row", name="model.width 4096")).to_have_count(0)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Files").click()
    expect(page.get_by_text("The run saved no files")).to_be_visible()
    page.get_by_role("link", name="Media").click()
    expect(page.get_by_text("No media was logged")).to_be_visible()


SAVES = """
import disttrack
from pathlib import Path
run = disttrack.init(project="demo", name="saves", save_code=True, settings={"console": "off"})
saved = Path("checkpoints/of/this/training/model-and-optimizer-epoch-0001-of-1000.safetensors")
saved.parent.mkdir(parents=True)
saved.write_bytes(bytes(3000))
run.log({"loss": 1 / 3}, step=0)
run.save(str(saved))
run.finish()
"""


def test_files_and_config_fit_a_telephone(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    script = tmp_path / "saves.py"
    script.write_text(SAVES)
    subprocess.run(
        [sys.executable, script], check=True, cwd=tmp_path, env={**os.environ, "DISTTRACK_DIR": str(tmp_path)}
    )
    page = visit(serve(tmp_path), width=360).open("/p/demo")
    page.get_by_role("link", name="saves", exact=True).click()
    page.get_by_role("link", name="Files").click()
    expect(page.get_by_role("row", name=re.compile("epoch-0001-of-1000.safetensors 2.93 KiB 0 stored"))).to_be_visible()
    assert page.evaluate(SIDEWAYS) == []
    page.get_by_role("link", name="Config").click()
    expect(page.get_by_role("row", name=re.compile("program.environment.DISTTRACK_DIR"))).to_be_visible()
    assert page.evaluate(SIDEWAYS) == []


#: Tables that must be moved sideways to be read.
SIDEWAYS = """() => [...document.querySelectorAll(".table-box")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1)
  .map((each) => each.textContent)"""


def test_a_chart_says_its_numbers_as_a_table(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/r/demo/eight?q=grad")
    card = page.locator('.wall [data-key="grad_norm"]')
    card.get_by_role("button", name="View grad_norm as table").click()
    expect(card.get_by_role("row", name=re.compile("^rank 5 "))).to_be_visible()
    card.get_by_role("button", name="Enlarge grad_norm").click()
    expect(page).to_have_url(re.compile("card=grad_norm"))
    page.go_back()
    expect(page).not_to_have_url(re.compile("card="))


def test_256_ranks_are_a_band_with_named_outliers(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    wide(tmp_path / "disttrack-runs", steps=100)
    page = visit(serve(tmp_path)).open("/r/scale/wide?q=compute")
    card = page.locator('.wall [data-key="time/compute"]')
    expect(
        card.get_by_role("group", name=re.compile("of 256 ranks.*Furthest from the median: .*rank 77"))
    ).to_be_visible()
    page.keyboard.press("2")
    expect(page.locator(".tile")).to_have_count(256)
    expect(page.locator(".tile.bad")).to_have_text(re.compile("200"))
