"""How the page looks: for people who cannot see it, on a telephone, in the dark; and what its keys do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Server, Visit
from tests.page.made import eight_ranks, sweep
from tests.road.site import wait_until

pytestmark = pytest.mark.real(timeout_s=180)

VIEWS = {
    "project": ("/p/demo", '[data-key="loss"] .u-over'),
    "groups": ("/p/demo?g=config.lr&f=group:sweep&open=config.lr:0.003", "tr[data-run]"),
    "run": ("/r/demo/eight", ".heat canvas"),
    "ranks": ("/r/demo/eight/ranks?ranks=5,6", ".tile.bad"),
    "compare": ("/p/demo/compare?runs=sweep01,sweep02,sweep03&all=1", '[data-key="loss"] .u-over'),
    "system": ("/r/demo/eight/system", ".heat canvas"),
    "logs": ("/r/demo/eight/logs", ".line"),
    "config": ("/r/demo/eight/config", ".block tr"),
}


@pytest.fixture
def server(tmp_path: Path, serve: Callable[[Path], Server]) -> Server:
    sweep(tmp_path / "disttrack-runs", runs=6, steps=60)
    eight_ranks(tmp_path / "disttrack-runs", steps=400)
    return serve(tmp_path)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(server: Server, visit: Callable[..., Visit], checked: Path, dark: bool) -> None:
    page = visit(server, dark=dark).open("/p/demo")
    axe = (checked / "node_modules" / "axe-core" / "axe.min.js").read_text()
    found: dict[str, list[str]] = {}
    for name, (path, shown) in VIEWS.items():
        page.goto(server.origin + path)
        expect(page.locator(shown).first).to_be_visible()
        page.evaluate(axe)
        wrong: list[dict[str, Any]] = page.evaluate("async () => (await axe.run(document)).violations")
        if wrong:
            found[name] = [
                f"{each['id']}: {each['nodes'][0]['html'][:300]} {each['nodes'][0]['failureSummary']}" for each in wrong
            ]
    assert found == {}


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_a_telephone(server: Server, visit: Callable[..., Visit], width: int) -> None:
    page = visit(server, width=width, height=740).open("/p/demo")
    wide: dict[str, int] = {}
    for name, (path, shown) in VIEWS.items():
        page.goto(server.origin + path)
        expect(page.locator(shown).first).to_be_attached()
        if (scrolled := page.evaluate("document.documentElement.scrollWidth")) > width:
            wide[name] = scrolled
    assert wide == {}


def test_a_telephone_shows_a_metric_beside_the_name_and_nothing_is_cut(
    server: Server, visit: Callable[..., Visit]
) -> None:
    page = visit(server, width=360, height=740).open("/p/demo")
    expect(page.locator("tr[data-run] td").first).to_contain_text(re.compile(r"\d"))
    assert page.locator(".scroller").evaluate("box => box.scrollWidth - box.clientWidth") == 0
    page.get_by_role("button", name="Columns").click()
    panel = page.locator(".panel")
    expect(panel).to_be_in_viewport(ratio=0.5)
    box = panel.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


@pytest.mark.parametrize("width", [1024, 1440])
def test_the_table_shows_the_columns_that_there_is_room_for(
    server: Server, visit: Callable[..., Visit], width: int
) -> None:
    page = visit(server, width=width).open("/p/demo")
    expect(page.locator("tr[data-run]")).to_have_count(7)
    box = page.locator(".scroller")
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0
    cut = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth).map(cell => cell.innerText)"
    assert page.locator("tr[data-run] > td").evaluate_all(cut) == []
    columns = page.locator("table.runs thead th")
    before = columns.count()
    divider = page.get_by_role("separator", name="Width of the table")
    divider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("w=65"))
    expect(columns).not_to_have_count(before)  # there is room for more
    wait_until(lambda: box.evaluate("box => box.scrollWidth - box.clientWidth") == 0, "it has no more than fits")


def test_the_theme_follows_the_system_until_it_is_chosen(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server, dark=True).open("/p/demo")
    expect(page.locator('[data-key="loss"] .u-over')).to_be_visible()
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 23, 28)")
    page.keyboard.press("D")
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    page.reload()
    expect(page.locator('[data-key="loss"] .u-over')).to_be_visible()
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")


def test_the_keys_are_listed_and_do_what_they_say(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/p/demo")
    expect(page.locator("tr[data-run]").first).to_be_visible()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    for does in ("filter the runs", "compare the selected runs", "logarithmic y-axes", "copy the link"):
        expect(keys).to_contain_text(does)
    page.keyboard.press("Escape")
    expect(keys).to_have_count(0)
    page.keyboard.press("/")
    expect(page.get_by_label("Filter runs")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("llm-7b")
    page.keyboard.press("Escape")
    expect(page.locator("tr[data-run]").first).to_be_visible()


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    wrong: list[dict[str, Any]] = page.evaluate("async () => (await axe.run(document)).violations")
    return [f"{each['id']}: {each['nodes'][0]['html'][:300]}" for each in wrong]


def test_axe_finds_nothing_in_what_opens_and_where_there_is_nothing(
    server: Server, visit: Callable[..., Visit], checked: Path
) -> None:
    visitor = visit(server)
    visitor.expected = "Failed to load resource"  # a filter that cannot be read, a run that is not there
    page = visitor.open("/p/demo")
    axe = (checked / "node_modules" / "axe-core" / "axe.min.js").read_text()
    found: dict[str, list[str]] = {}
    expect(page.locator("tr[data-run]").first).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    found["keys"] = violations(page, axe)
    page.keyboard.press("Escape")
    for name in ("Project", "Group (g)", "Columns", "More", "Column ranks"):
        opens = page.locator(f".menu > button[title='{name}'], .menu > button:text-is('{name}')").first
        opens.click()
        expect(page.locator(".panel")).to_be_visible()
        found[name] = violations(page, axe)
        page.keyboard.press("Escape")
        expect(page.locator(".panel")).to_have_count(0)
        expect(opens).to_be_focused()
    for path, said in {
        "/p/demo?f=loss%3C": ".wrong",
        "/p/demo?f=name:zzz": ".empty",
        "/p/none": ".empty",
        "/r/demo/none": ".failed",
        "/r/demo/eight/media": ".empty",
    }.items():
        page.goto(server.origin + path)
        expect(page.locator(said).first).to_be_visible()
        found[path] = violations(page, axe)
    server.process.terminate()
    expect(page.locator(".trouble")).to_be_visible()
    found["trouble"] = violations(page, axe)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_who_has_no_mouse_never_loses_the_focus(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/p/demo")
    table = page.get_by_role("region", name="Table of runs")
    expect(page.locator("tr[data-run]").first).to_be_visible()
    keys = page.get_by_role("button", name="Keys")
    keys.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("x")  # what lies behind does not hear
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(keys).to_be_focused()
    assert "sel=" not in page.url
    table.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("tr.current")).to_have_attribute("aria-rowindex", "3")
    page.keyboard.press("Space")
    expect(page.locator("tr[aria-selected=true]")).to_have_attribute("aria-rowindex", "3")
    page.keyboard.press("e")
    expect(page.locator("tr.current input.field")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("by hand")
    page.keyboard.press("Enter")
    expect(page.locator("tr.current").get_by_role("button", name="Edit name")).to_be_focused()
    expect(page.locator("tr.current")).to_contain_text("by hand")
    page.goto(f"{server.origin}/r/demo/eight/ranks")
    heat = page.locator(".heat").first
    heat.focus()
    page.keyboard.press("ArrowDown")
    expect(heat.locator(".readings")).to_contain_text("rank 0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="1 rank chosen")).to_be_visible()
    page.goto(f"{server.origin}/r/demo/eight/logs")
    expect(page.locator(".line").first).to_be_visible()
    page.keyboard.press("k")
    expect(page.get_by_role("complementary", name="The chosen line")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="The chosen line")).to_have_count(0)
    page.goto(f"{server.origin}/r/demo/eight")
    expect(page.locator(".u-over").first).to_be_visible()
    unseen: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")].filter(
          (element) => {
            element.focus();
            if (document.activeElement !== element) return false;
            const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
            return (outlineStyle === "none" || outlineWidth === "0px") && boxShadow === "none";
          }).map((element) => element.outerHTML.slice(0, 200))"""
    )
    assert unseen == []
