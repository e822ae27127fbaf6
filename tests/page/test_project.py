"""The project view in a real browser: the table finds, sorts, groups, unfolds and edits; charts zoom; URLs hold it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Server, Visit
from tests.page.made import eight_ranks, many_runs, sweep

pytestmark = pytest.mark.real(timeout_s=180)


@pytest.fixture
def server(tmp_path: Path, serve: Callable[[Path], Server]) -> Server:
    root = tmp_path / "disttrack-runs"
    sweep(root)
    eight_ranks(root, steps=200)
    return serve(tmp_path)


def names(page: Page) -> list[str]:
    return page.locator("table.runs tr[data-run] a").all_inner_texts()


def drawn(page: Page, key: str) -> None:
    """Wait until the chart of a metric shows lines."""
    expect(page.locator(f'[data-key="{key}"] .u-over')).to_be_visible()


def test_runs_and_charts_are_there_with_no_click(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open()
    expect(page.locator("tr[data-run]")).to_have_count(13)
    expect(page).to_have_url(re.compile("/p/demo$"))
    drawn(page, "loss")
    expect(page.locator(".feed")).to_contain_text("live")
    assert names(page)[0] == "llm-7b"


def test_the_table_sorts_and_filters_and_a_fresh_profile_shows_the_same(
    server: Server, visit: Callable[..., Visit]
) -> None:
    page = visit(server).open("/p/demo")
    page.get_by_label("Filter runs").fill("lr:3e-4 group:sweep")
    expect(page.locator("tr[data-run]")).to_have_count(3)
    page.get_by_title("Sort by summary.loss", exact=True).click()
    expect(page).to_have_url(re.compile(r"s=-summary"))
    page.get_by_title("Sort by summary.loss", exact=True).click()
    expect(page).to_have_url(re.compile(r"s=summary"))
    expect(page.locator("tr[data-run] a").first).to_have_text("calm-owl-1")
    found, url = names(page), page.url
    again = visit(server).open(url.removeprefix(server.origin))
    expect(again.locator("tr[data-run]")).to_have_count(3)
    assert names(again) == found
    expect(again.get_by_label("Filter runs")).to_have_value("lr:3e-4 group:sweep")


def test_a_filter_that_cannot_be_read_is_answered_at_its_place(server: Server, visit: Callable[..., Visit]) -> None:
    visitor = visit(server)
    visitor.expected = "400"
    page = visitor.open("/p/demo")
    expect(page.locator("tr[data-run]")).to_have_count(13)
    page.get_by_label("Filter runs").fill("loss<")
    expect(page.locator(".wrong")).to_be_visible()
    expect(page.locator("tr[data-run]")).to_have_count(13)  # what was found before stays
    page.get_by_label("Filter runs").fill("loss<0")
    expect(page.get_by_text("None of 13 runs")).to_be_visible()
    page.get_by_role("button", name="Clear the filter").last.click()
    expect(page.locator("tr[data-run]")).to_have_count(13)


def test_groups_have_members_and_both_have_eyes(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/p/demo?g=config.lr&f=group:sweep")
    expect(page.locator("tr.group")).to_have_count(4)
    expect(page.locator("tr.group").first).to_contain_text("3 runs")
    drawn(page, "loss")
    page.get_by_role("button", name=re.compile("Unfold group")).first.click()
    expect(page.locator("tr[data-run]")).to_have_count(3)
    eye = page.locator("tr[data-run] .eye").first
    expect(eye).to_have_attribute("aria-pressed", "false")
    eye.click()
    expect(eye).to_have_attribute("aria-pressed", "true")
    group = page.locator("tr.group .eye").first
    group.click()
    expect(group).to_have_attribute("aria-pressed", "false")
    expect(eye).to_have_attribute("aria-pressed", "true")


def test_columns_are_chosen_by_the_mouse_and_a_pinned_one_stays_in_sight(
    server: Server, visit: Callable[..., Visit]
) -> None:
    page = visit(server).open("/p/demo")
    heads = page.locator("table.runs thead th")
    page.get_by_role("button", name="Columns").click()
    for name in ("notes", "started", "config.epochs", "summary.lr"):
        page.get_by_label(name, exact=True).check()  # what lies beyond the window cannot be clicked
    page.get_by_label("Find in Columns").fill("weight_decay")  # makes the list narrower
    page.get_by_label("config.optimizer.weight_decay", exact=True).check()
    page.keyboard.press("Escape")
    expect(heads.last).to_contain_text("weight_decay")
    page.get_by_title("Column summary.loss", exact=True).click()
    page.get_by_role("button", name="min", exact=True).click()
    page.get_by_title("Column min(loss)", exact=True).click()
    page.get_by_role("button", name="Pin to the left").click()
    expect(page).to_have_url(re.compile(r"c=!min\(loss\),"))
    expect(heads.nth(1)).to_contain_text("min loss")
    page.locator(".scroller").evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    expect(heads.last).to_be_in_viewport(ratio=0.9)
    places = page.locator('tr[data-run="demo/sweep11"] > *').evaluate_all(
        "cells => cells.slice(0, 3).map(cell => cell.getBoundingClientRect()).map(({left, right}) => [left, right])"
    )
    assert places[0][0] == 0
    assert places[1][0] == pytest.approx(places[0][1], abs=1)  # beside the name
    assert places[2][0] < places[1][1]  # gone below it


def test_what_groups_come_to_is_not_cut(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/p/demo?g=config.lr&f=group:sweep")
    expect(page.locator("tr.group")).to_have_count(4)
    expect(page.locator("tr.group > td").first).to_contain_text("±")
    cut = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth).map(cell => cell.innerText)"
    assert page.locator("tr.group > td").evaluate_all(cut) == []


def test_a_run_unfolds_to_nodes_and_ranks(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/p/demo")
    page.get_by_role("button", name="Unfold llm-7b").click()
    expect(page.get_by_role("rowheader", name="node1")).to_be_visible()
    page.get_by_role("button", name="Unfold node node1").click()
    expect(page.get_by_role("link", name="rank 6")).to_be_visible()
    expect(page.get_by_role("link", name="rank 3")).to_have_count(0)


def test_edits_are_kept_and_can_be_undone(server: Server, visit: Callable[..., Visit]) -> None:
    visitor = visit(server)
    visitor.expected = "404"  # where a chart asked for the run just before it was deleted
    page = visitor.open("/p/demo")
    row = page.locator('tr[data-run="demo/sweep11"]')
    row.hover()
    row.get_by_role("button", name="Edit name").click()
    page.get_by_label("name", exact=True).fill("the good one")
    page.keyboard.press("Enter")
    expect(row.get_by_role("link")).to_have_text("the good one")
    page.reload()
    expect(row.get_by_role("link")).to_have_text("the good one")
    row.get_by_label("Select the good one").click()
    page.locator('tr[data-run="demo/sweep10"]').get_by_role("checkbox").click()
    expect(page.get_by_text("2 runs selected")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("tr[data-run]")).to_have_count(11)
    page.get_by_role("button", name="Undo").last.click()
    expect(page.locator("tr[data-run]")).to_have_count(13)


def test_a_drag_zooms_all_charts_and_the_back_button_goes_a_view_back(
    server: Server, visit: Callable[..., Visit]
) -> None:
    page = visit(server).open("/p/demo")
    drawn(page, "loss")
    over = page.locator('[data-key="loss"] .u-over').bounding_box()
    assert over is not None
    y = over["y"] + over["height"] / 2
    page.mouse.move(over["x"] + over["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(over["x"] + over["width"] * 0.5, y, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"zoom=\d+(\.\d+)?~\d+"))
    page.locator("tr[data-run] a").first.click()
    expect(page.get_by_role("heading", name=re.compile("llm-7b"))).to_be_visible()
    page.go_back()
    expect(page).to_have_url(re.compile(r"/p/demo\?zoom="))
    expect(page.locator(".chart-tools .chip")).to_be_visible()
    page.keyboard.press("0")
    expect(page).to_have_url(re.compile(r"/p/demo$"))


def test_two_keys_select_and_one_compares(server: Server, visit: Callable[..., Visit]) -> None:
    page = visit(server).open("/p/demo?f=group:sweep")
    expect(page.locator("tr[data-run]")).to_have_count(12)
    for key in "jxjxd":
        page.keyboard.press(key)
    expect(page).to_have_url(re.compile(r"/p/demo/compare\?runs=sweep1[01],sweep1[01]"))
    expect(page.get_by_role("rowheader", name="lr").first).to_be_visible()
    drawn(page, "loss")
    page.get_by_role("button", name="set as baseline").click()
    expect(page).to_have_url(re.compile(r"base=sweep1"))


def test_keys_pressed_the_moment_the_rows_are_there_are_not_lost(server: Server, visit: Callable[..., Visit]) -> None:
    visitor = visit(server)
    visitor.context.add_init_script(
        """const press = key => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
        new MutationObserver((_, watch) => {
            if (document.querySelectorAll("tr[data-run]").length !== 12) return;
            watch.disconnect();
            for (const key of "jxjxd") press(key);
        }).observe(document, {childList: true, subtree: true});"""
    )
    page = visitor.open("/p/demo?f=group:sweep")
    expect(page).to_have_url(re.compile(r"/p/demo/compare\?runs=sweep11,sweep10$"))


def test_the_cursor_of_the_table_stays_with_its_row(
    tmp_path: Path, server: Server, visit: Callable[..., Visit]
) -> None:
    page = visit(server).open("/p/demo?f=group:sweep")
    expect(page.locator("tr[data-run]")).to_have_count(12)
    page.keyboard.press("j")
    expect(page.locator("tr.current")).to_have_attribute("data-run", "demo/sweep11")
    sweep(tmp_path / "disttrack-runs", first=12, runs=1)  # a newer one: a row above
    expect(page.locator("tr[data-run]")).to_have_count(13)
    expect(page.locator("tr.current")).to_have_attribute("data-run", "demo/sweep11")
    page.keyboard.press("x")
    expect(page).to_have_url(re.compile("sel=sweep11$"))


def test_a_thousand_runs_scroll(tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]) -> None:
    many_runs(tmp_path / "disttrack-runs", runs=1000)
    page = visit(serve(tmp_path)).open("/p/many")
    expect(page.locator("table.runs")).to_have_attribute("aria-rowcount", "1001")
    page.locator(".scroller").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    expect(page.get_by_role("link", name="trial-0", exact=True)).to_be_visible()
    assert page.locator("tr[data-run]").count() < 100


def test_of_very_many_groups_the_largest_are_shown(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    many_runs(tmp_path / "disttrack-runs", runs=300)
    page = visit(serve(tmp_path)).open("/p/many?g=name")
    expect(page.get_by_text("300 groups", exact=True)).to_be_visible()
    page.locator(".scroller").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    expect(page.get_by_text("100 more groups, none larger")).to_be_visible()
