"""Takes the pictures of the page that docs/screens keeps, and those to look at after a change.

    for lr in 0.001 0.003 0.01; do sh scripts/demo --lr $lr; done
    python -m tests.page.screens DIRECTORY                  # the pictures in docs/screens
    python -m tests.page.screens DIRECTORY --look FOLDER    # each view light, dark and on a telephone

DIRECTORY is where scripts/demo keeps its runs: three or more of them. The runs of 256 ranks are made for this.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import TimeoutError as TooLate

from tests.page.conftest import QUIET, REPOSITORY, Server, stop
from tests.page.made import wide

LIMIT_BYTES = 300_000
DISTTRACK = (sys.executable, "-m", "disttrack")


class Look(NamedTuple):
    """One way to look at the page."""

    width: int = 1440
    height: int = 900
    dark: bool = False


LOOKS = {"light": Look(), "dark": Look(dark=True), "telephone": Look(360, 740), "telephone-dark": Look(360, 740, True)}

# What is there once a view is drawn.
CHART = ".card .u-over"
HEAT = ".heat canvas"


def views(project: str, ids: list[str]) -> dict[str, tuple[str, str]]:
    """Return for each view its path and what is there once it is drawn; ids are of runs, the newest first."""
    run = f"/r/{project}/{ids[0]}"
    return {
        "project": (f"/p/{project}", CHART),
        "run": (run, HEAT),
        "ranks": (f"{run}/ranks", ".tile"),
        "compare": (f"/p/{project}/compare?runs={','.join(ids[:3])}", CHART),
        "system": (f"{run}/system", f"{HEAT}, {CHART}"),
        "logs": (f"{run}/logs", ".line, .empty"),
    }


def take(browser: Browser, server: Server, path: str, shown: str, look: Look, to: Path) -> None:
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height}, color_scheme="dark" if look.dark else "light"
    )
    context.on("weberror", lambda error: print(path, error.error))
    page = context.new_page()
    page.goto(f"{server.origin}{path}{'&' if '?' in path else '?'}token={server.token}")
    try:
        page.locator(shown).first.wait_for(state="attached")
    except TooLate as error:  # the picture shows what there is instead
        print(path, error)
    page.wait_for_timeout(700)  # what follows a first answer, and its drawing
    picture = Image.open(BytesIO(page.screenshot()))
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE).save(to, optimize=True)
    context.close()
    size = to.stat().st_size
    print(f"{to}  {size / 1000:.0f} KB{'  too large' if size > LIMIT_BYTES else ''}", flush=True)


@contextmanager
def serving(directory: Path) -> Generator[Server]:
    process = subprocess.Popen(
        [*DISTTRACK, "ui", "--no-open", "--port", "0", "--dir", str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Server(process, next(line for line in process.stdout if line.startswith("http")).strip())
    finally:
        stop(process)


def newest(directory: Path) -> tuple[str, list[str]]:
    """Return the project of the newest run, and its runs, the newest first."""
    told = subprocess.run(
        [*DISTTRACK, "ls", "--json", "--dir", directory], check=True, stdout=subprocess.PIPE, text=True
    )
    found: list[dict[str, Any]] = json.loads(told.stdout)
    found.sort(key=lambda run: str(run["created_at"]), reverse=True)
    return found[0]["project"], [run["id"] for run in found if run["project"] == found[0]["project"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--look", type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", help="pictures with this in their name")
    arguments = parser.parse_args()
    out: Path = arguments.look or REPOSITORY / "docs" / "screens"
    out.mkdir(parents=True, exist_ok=True)
    looks = LOOKS if arguments.look else {"": Look()}
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        for run, lr in {"wide-1": 1e-3, "wide-2": 3e-3}.items():
            wide(Path(made, "disttrack-runs"), run_id=run, lr=lr)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(QUIET))
        for name, directory in (("demo", arguments.directory), ("256", Path(made))):
            with serving(directory) as server:
                for view, (path, shown) in views(*newest(directory)).items():
                    for kind, look in looks.items():
                        to = out / f"{'-'.join(filter(None, [name, view, kind]))}.png"
                        if arguments.only in to.name:
                            take(browser, server, path, shown, look, to)
        browser.close()


if __name__ == "__main__":
    main()
