"""Media in a real browser: images, histograms and tables as they were at each step."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.page.conftest import Server, Visit
from tests.page.made import PICTURES

pytestmark = pytest.mark.real(timeout_s=180)


def test_what_was_logged_at_a_step_is_shown_and_the_step_is_in_the_url(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    script = tmp_path / "pictures.py"
    script.write_text(PICTURES)
    subprocess.run(
        [sys.executable, script], check=True, cwd=tmp_path, env={**os.environ, "DISTTRACK_DIR": str(tmp_path)}
    )
    server = serve(tmp_path)
    page = visit(server).open("/p/demo")
    page.get_by_role("link", name="pictures", exact=True).click()
    page.get_by_role("link", name="Media").click()
    image = page.get_by_role("img", name="at step 20")
    expect(image).to_be_visible()
    assert image.evaluate(
        "async image => { await image.decode(); return [image.naturalWidth, image.naturalHeight]; }"
    ) == [64, 48]
    assert image.evaluate(TOP_LEFT) == [0, 0, 200]
    expect(page.get_by_text("9 items at 3 steps")).to_be_visible()
    histogram = page.get_by_role("img", name=re.compile("first: 64 bins from"))
    expect(histogram.locator("rect")).to_have_count(64)
    newest = histogram.get_attribute("aria-label") or ""
    expect(page.get_by_role("row", name="1 1 0.7")).to_be_visible()
    expect(page.get_by_text("1–12 of 30")).to_be_visible()
    page.get_by_role("button", name="Next rows").click()
    expect(page.get_by_text("13–24 of 30")).to_be_visible()
    expect(page.get_by_role("row", name="12 5 0.7")).to_be_visible()

    page.keyboard.press("[")
    expect(page).to_have_url(re.compile(r"/media\?at=10$"))
    expect(page.get_by_role("img", name="at step 10")).to_be_visible()
    assert page.get_by_role("img", name="at step 10").evaluate(TOP_LEFT) == [0, 0, 100]
    expect(page.get_by_role("row", name="12 5 0.6")).to_be_visible()
    expect(histogram).not_to_have_attribute("aria-label", newest)
    page.get_by_label("Step", exact=True).fill("0")
    expect(page.get_by_role("img", name="at step 0")).to_be_visible()
    again = visit(server).open(page.url.removeprefix(server.origin))
    expect(again.get_by_role("img", name="at step 0")).to_be_visible()
    again.keyboard.press("]")
    expect(again.get_by_role("img", name="at step 10")).to_be_visible()


#: The colour of an image's first pixel.
TOP_LEFT = """async image => {
    await image.decode();
    const pen = new OffscreenCanvas(1, 1).getContext("2d");
    pen.drawImage(image, 0, 0, 1, 1, 0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}"""
