"""What the page says and keeps while its server or its directory is away, and how it goes on when they are back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from disttrack.query.edits import delete_run, restore_run
from tests.page.conftest import WAIT_MS, Server, Visit, stop
from tests.page.made import eight_ranks, sweep

pytestmark = pytest.mark.real(timeout_s=180)

expect.set_options(timeout=WAIT_MS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "disttrack-runs"
    sweep(root, runs=3, steps=20)
    eight_ranks(root, steps=60)
    return root


def test_a_directory_that_goes_away_is_no_empty_one_and_is_read_on_when_it_is_back(
    root: Path, serve: Callable[..., Server], visit: Callable[..., Visit]
) -> None:
    server = serve(root.parent)
    visitor = visit(server)
    visitor.expected = "503"
    page = visitor.open("/p/demo")
    expect(page.locator("tr[data-run]")).to_have_count(4)
    root.rename(root.with_name("elsewhere"))
    expect(page.locator(".trouble")).to_contain_text("removed, moved or unmounted")
    expect(page.locator("tr[data-run]")).to_have_count(4)  # what was shown stays
    other = visitor.context.new_page()
    other.goto(f"{server.origin}/p/demo")
    expect(other.locator(".failed").first).to_contain_text("is not there any more")
    root.with_name("elsewhere").rename(root)
    for each in (page, other):
        expect(each.locator(".trouble")).to_have_count(0)
        expect(each.locator("tr[data-run]")).to_have_count(4)
        expect(each.locator(".failed")).to_have_count(0)


def test_a_server_that_is_started_again_is_followed_from_the_same_view_once_its_line_was_opened(
    root: Path, serve: Callable[..., Server], visit: Callable[..., Visit]
) -> None:
    server = serve(root.parent)
    visitor = visit(server)
    visitor.expected = "Failed to load resource"
    page = visitor.open("/p/demo?x=relative")
    expect(page.locator("tr[data-run]")).to_have_count(4)
    stop(server.process)
    expect(page.locator(".trouble")).to_contain_text("The server does not answer")
    page.get_by_label("Filter runs").fill("name:calm-*")
    page.get_by_label("Filter runs").press("Enter")
    expect(page.locator(".failed").first).to_contain_text("The server does not answer")
    expect(page.locator("tr[data-run]")).to_have_count(4)
    again = serve(root.parent, port=int(server.origin.rpartition(":")[2]))
    assert again.origin == server.origin
    assert again.token != server.token
    expect(page.locator(".trouble")).to_contain_text("Open the line that disttrack ui printed")
    other = visitor.context.new_page()
    other.goto(again.link)
    expect(other.locator("tr[data-run]")).to_have_count(4)
    other.close()
    expect(page.locator(".trouble")).to_have_count(0)
    expect(page.locator("tr[data-run]")).to_have_count(3)  # the filter that was written meanwhile
    assert page.url == f"{server.origin}/p/demo?x=relative&f=name:calm-*"


def test_a_run_that_somebody_else_deletes_is_told_without_a_reload(
    root: Path, serve: Callable[..., Server], visit: Callable[..., Visit]
) -> None:
    visitor = visit(serve(root.parent))
    visitor.expected = "404"
    page = visitor.open("/r/demo/eight")
    expect(page.get_by_role("heading", level=1)).to_contain_text("llm-7b")
    delete_run(root, "demo/eight", do=True)
    expect(page.get_by_role("alert").first).to_contain_text("The run eight cannot be shown")
    page.reload()
    expect(page.get_by_role("alert").first).to_contain_text("The run eight cannot be shown")
    expect(page.locator(".feed")).to_contain_text("live")  # it is the run that is gone, not the server
    restore_run(root, "demo/eight")
    expect(page.get_by_role("heading", level=1)).to_contain_text("llm-7b")
    expect(page.locator("main .failed")).to_have_count(0)


def test_all_runs_that_a_filter_finds_are_changed_at_once_and_the_way_back_leads_to_what_was(
    root: Path, serve: Callable[..., Server], visit: Callable[..., Visit]
) -> None:
    visitor = visit(serve(root.parent))
    visitor.expected = "404"  # charts ask for what was deleted, until the table tells them
    page = visitor.open("/p/demo?f=name:calm-*")
    rows = page.locator("tr[data-run]")
    expect(rows).to_have_count(3)

    def select_all() -> None:
        rows.get_by_role("checkbox").first.click()
        page.get_by_role("button", name="Select all 3 found").click()
        expect(page.get_by_role("toolbar", name="Selected runs")).to_contain_text("All 3 runs selected")

    select_all()
    expect(page.locator("tr[aria-selected=true]")).to_have_count(3)
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_label("Tag", exact=True).fill("good")
    page.get_by_label("Tag", exact=True).press("Enter")
    expect(page.locator(".notice", has_text="3 runs tagged good")).to_be_visible()
    page.locator(".notice").get_by_role("button", name="Undo").click()
    expect(page.locator(".notice", has_text="Undone")).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(rows).to_have_count(0)
    page.locator(".notice", has_text="3 runs deleted").get_by_role("button", name="Undo").click()
    expect(rows).to_have_count(3)
    select_all()
    page.get_by_label("Filter runs").fill("name:llm*")  # other runs are found, and none of them was selected
    expect(rows).to_have_count(1)
    expect(page.get_by_role("toolbar", name="Selected runs")).to_have_count(0)
    page.get_by_label("Filter runs").fill("name:calm-*")
    expect(rows).to_have_count(3)
    page.get_by_label("Filter runs").press("Escape")
    page.keyboard.press("d")
    expect(page.locator(".compare .side-head")).to_have_count(3)
    page.go_back()
    expect(rows).to_have_count(3)
    page.get_by_label("Clear the filter").click()
    expect(rows).to_have_count(4)
    rows.get_by_role("checkbox").first.click()
    page.get_by_role("button", name="Select all 4 found").click()
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.get_by_text("All 4 runs of this project were put away")).to_be_visible()
    page.get_by_role("button", name="Show archived runs").click()
    expect(rows).to_have_count(4)


def test_a_mount_that_goes_leaves_its_runs_on_the_page(
    root: Path, serve: Callable[..., Server], visit: Callable[..., Visit], require_program: Callable[[str], str]
) -> None:
    mount, umount = require_program("mount"), require_program("umount")
    place = root.with_name("mounted") / "disttrack-runs"
    place.mkdir(parents=True)
    if subprocess.run([mount, "-t", "tmpfs", "none", place], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        sweep(place, runs=2, steps=5)
        visitor = visit(serve(place.parent))
        visitor.expected = "Failed to load resource"  # 503; 404 for what was asked as it went
        page = visitor.open("/p/demo")
        expect(page.locator("tr[data-run]")).to_have_count(2)
        subprocess.run([umount, "-l", place], check=True)
        expect(page.locator(".trouble")).to_contain_text("it was unmounted")
        expect(page.locator("tr[data-run]")).to_have_count(2)
    finally:
        subprocess.run([umount, "-l", place], capture_output=True, check=False)


def test_a_directory_that_may_only_be_read_says_why_nothing_can_be_changed(
    root: Path, serve: Callable[..., Server], visit: Callable[..., Visit], require_program: Callable[[str], str]
) -> None:
    mount, umount = require_program("mount"), require_program("umount")
    if subprocess.run([mount, "--bind", root, root], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        subprocess.run([mount, "-o", "remount,bind,ro", root], check=True)
        page = visit(serve(root.parent)).open("/p/demo")
        expect(page.locator("tr[data-run]")).to_have_count(4)
        expect(page.locator('[data-key="loss"] .u-over')).to_be_visible()
        expect(page.get_by_role("button", name="Edit name")).to_have_count(0)
        for key in "jxe":
            page.keyboard.press(key)
        expect(page.locator(".notice")).to_contain_text("its file system is mounted read-only")
        expect(page.locator(".selection")).to_contain_text("its file system is mounted read-only")
        for name in ("Archive", "Delete"):
            expect(page.get_by_role("button", name=name)).to_be_disabled()
    finally:
        subprocess.run([umount, "-l", root], capture_output=True, check=False)
