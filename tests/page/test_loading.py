"""What a browser fetches to show a view: its modules, all at once, and those of other views when they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.page.conftest import Server, Visit
from tests.page.made import eight_ranks

pytestmark = pytest.mark.real(timeout_s=180)


def test_a_view_fetches_what_its_document_names_and_other_views_when_they_are_shown(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    eight_ranks(tmp_path / "disttrack-runs", steps=50)
    profile = visit(serve(tmp_path))
    page = profile.open("/r/demo/eight/config")
    expect(page.get_by_role("region", name="Config")).to_be_visible()
    document = page.context.request.get(page.url).text()
    named = set(re.findall(r'rel="modulepreload" href="([^"]+)"', document))
    assert "/static/views/config.js" in named
    assert modules(profile.asked) == named
    page.keyboard.press("1")
    expect(page.locator('[data-key="loss"] .u-over').first).to_be_visible()
    assert {"/static/views/charts.js", "/static/charts/rankmap.js"} <= modules(profile.asked) - named
    assert "/static/views/project.js" not in modules(profile.asked)


def modules(asked: list[str]) -> set[str]:
    paths = {urlsplit(url).path for url in asked}
    return {path for path in paths if path.startswith("/static/") and path.endswith(".js")}
