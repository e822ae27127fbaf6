"""What others put into names and notes stays text, and the page answers only whom it should."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.index.logs import RunLog
from tests.page.conftest import Server, Visit
from tests.page.made import START_US, printed, process

pytestmark = pytest.mark.real(timeout_s=180)

HOSTILE = "<img src=x onerror=alert(1)>\"'`${alert(2)}</script><script>alert(3)</script>javascript:alert(4)"


@pytest.fixture
def server(tmp_path: Path, serve: Callable[[Path], Server]) -> Server:
    log = RunLog(tmp_path / "disttrack-runs", "p", "hostile", HOSTILE, HOSTILE)
    ranks = [process(rank, 2, "p", START_US, host=f"n{rank}<b>", job_type=HOSTILE) for rank in range(2)]
    for rank in ranks:
        rank.config(**{HOSTILE: HOSTILE, "lr": 1})
        for step in range(5):
            rank.row({HOSTILE: 1.0, "loss": 1.0 / (step + 1), "a/<svg onload=alert(5)>": 2.0}, step)
        printed(rank, HOSTILE, "stderr")
        rank.end()
    log.commit_all(*ranks)
    log.end()
    log.close()
    return serve(tmp_path)


def test_hostile_names_are_text_on_every_view(server: Server, visit: Callable[..., Visit]) -> None:
    visitor = visit(server)  # at the end of the test it fails for any dialog, error or report of the policy
    visitor.expected = "400"  # of a metric that nobody has logged as x, and of a filter that cannot be read
    page = visitor.open("/p/p?g=group")
    expect(page.locator("tr.group")).to_contain_text("onerror")
    for path in ("/p/p", "/p/p/compare?runs=hostile,hostile"):
        page.goto(server.origin + path)
        expect(page.locator("main")).not_to_be_empty()
    for tab in ("", "/ranks", "/system", "/logs", "/media", "/config", "/files"):
        page.goto(f"{server.origin}/r/p/hostile{tab}")
        expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    page.goto(f"{server.origin}/r/p/hostile/logs")
    expect(page.locator(".line").first).to_contain_text("onerror")
    assert page.locator("img[src=x], script:not([src]), main svg[onload]").count() == 0
    page.goto(f"{server.origin}/p/p?f=%3Cimg%20src%3Dx%20onerror%3Dalert(6)%3E&nonsense=%3Cscript%3E&x=%3Cb%3E")
    expect(page.get_by_role("status").filter(has_text="nonsense")).to_be_visible()


def test_a_browser_without_the_token_is_told_how_to_get_in(server: Server, visit: Callable[..., Visit]) -> None:
    visitor = visit(server)
    visitor.expected = "401"
    page = visitor.context.new_page()
    page.goto(f"{server.origin}/p/p")
    expect(page.locator("body")).to_contain_text("disttrack ui")
    page = visitor.open("/p/p")
    expect(page.locator("tr[data-run]")).to_have_count(1)
    assert "token" not in page.url
    page.reload()  # by the cookie
    expect(page.locator("tr[data-run]")).to_have_count(1)


@pytest.mark.parametrize("path", ["/", "/api/runs", "/static/app.js", "/r/p/hostile"])
def test_another_host_name_is_refused(server: Server, path: str) -> None:
    host, port = server.origin.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=300)
    connection.request("GET", path, headers={"Host": "evil.example", "Authorization": f"Bearer {server.token}"})
    assert connection.getresponse().status == 403
    connection.close()
