"""What a browser pays for the page: time to the first chart, bytes on the wire, the processor's time for a frame."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from benchmarks.page import EIGHT, Server, serving
from benchmarks.reading import KEY, SERIES, Logs, indexed
from benchmarks.result import Benchmark, Goal, Measured
from benchmarks.workbench import Unmeasurable, Workbench

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

__all__ = ["BENCHMARKS"]

WAIT_MS = 60_000
FRAMES = 40
# A new window of Chromium loads pages of its own, of 400 modules, beside the one that is measured: the first two
# features. What follows them Playwright leaves out itself, in a list that this one replaces.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,AimEnabled,LensOverlay,MediaRouter,OptimizationHints,"
    "NetworkTimeServiceQuerying,PreconnectToSearch,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,PaintHolding",
)
DRAWN = f'[data-key="{KEY}"] .u-over'
#: Resolves with the time, since the page was asked for, of the first frame whose canvas has a line on it.
FIRST_LINE = """() => new Promise((done) => {
  const look = () => {
    const canvas = document.querySelector(".uplot canvas");
    if (canvas !== null && canvas.width > 0) {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let coloured = 0; // axes and their text are grey
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 128 && Math.abs(data[at] - data[at + 2]) > 60) coloured += 1;
      }
      if (coloured > 100) return done(performance.now());
    }
    requestAnimationFrame(look);
  };
  look();
})"""


@contextmanager
def _browsing(bench: Workbench, kind: Logs) -> Generator[tuple[Server, Browser]]:
    """Yield a server of such logs, which is warm, and a headless Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright  # a test dependency: the other benchmarks do without
    except ImportError as error:
        raise Unmeasurable("it needs the package playwright") from error
    if path is None:
        raise Unmeasurable("it needs the program chromium")
    found = indexed(bench, kind)
    with serving(bench, found.root.parent) as server, sync_playwright() as playwright:
        server.ask("/api/series", run="run00000", key=KEY)
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield server, browser
        browser.close()


def _opened(server: Server, context: BrowserContext) -> tuple[Page, Any]:
    """Return a page of a fresh profile that may ask the server, and its CDPSession (whose messages have no types)."""
    context.set_default_timeout(WAIT_MS)
    context.request.get(server.link)  # exchanges the token for the cookie
    page = context.new_page()
    return page, context.new_cdp_session(page)


def _first_chart(bench: Workbench) -> Measured:
    times: list[float] = []
    kib: list[float] = []
    with _browsing(bench, SERIES) as (server, browser):
        for _ in range(bench.repeats):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page, wire = _opened(server, context)
            sizes: list[float] = []
            wire.send("Network.enable")
            wire.on("Network.loadingFinished", partial(_note, sizes))
            page.goto(f"{server.origin}/r/bench/run00000?q={KEY}", wait_until="commit")
            times.append(float(page.evaluate(FIRST_LINE)))
            kib.append(sum(sizes) / 1024)
            context.close()
    return Measured(times, note=f"{max(kib):.0f} KiB on the wire", also=max(kib) <= 200)


def _note(sizes: list[float], event: dict[str, Any]) -> None:
    sizes.append(float(event["encodedDataLength"]))


def _zoom(bench: Workbench) -> Measured:
    """Processor time of the page's thread for one step of the wheel: what else the machine does is not in it."""
    with _browsing(bench, EIGHT) as (server, browser):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page, wire = _opened(server, context)
        page.goto(f"{server.origin}/r/bench/run00000?q={KEY}&rank=lines&card={KEY}")
        page.locator(DRAWN).wait_for()
        box = page.locator(DRAWN).bounding_box()
        if box is None:
            raise Unmeasurable("the chart has no place on the page")
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        wire.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.keyboard.down("Control")
        frames: list[float] = []
        for frame in range(FRAMES):
            before = _task_s(wire)
            page.mouse.wheel(0, -50 if frame % 8 < 4 else 50)
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            frames.append((_task_s(wire) - before) * 1e3)
        page.keyboard.up("Control")
        context.close()
    frames.sort()
    return Measured([frames[len(frames) // 2]], note=f"8 lines of 100k points; p95 {frames[int(FRAMES * 0.95)]:.0f} ms")


def _task_s(wire: Any) -> float:
    metrics = cast("list[dict[str, Any]]", wire.send("Performance.getMetrics")["metrics"])
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


BENCHMARKS = (
    Benchmark(
        "page-chart",
        "first chart of a run of 1M points in a fresh browser",
        "ms",
        Goal(at_most=500, also="≤ 200 KB on the wire"),
        _first_chart,
    ),
    Benchmark("page-zoom", "a step of zoom or pan, 8 lines, CPU of the page", "ms", Goal(at_most=50), _zoom),
)
