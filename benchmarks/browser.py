"""What a browser pays for the page: time to the first chart, bytes on the wire, the processor's time for a frame."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.page import EIGHT, Server, serving, training
from benchmarks.reading import KEY, SERIES, TEAM, Logs, indexed
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

#: Compares ranks by another metric, and resolves with the time until the frame in which its heat-map is drawn.
HEATMAP = """(name) => new Promise((done) => {
  const select = document.querySelector('select[aria-label="Compare ranks by"]');
  const began = performance.now();
  select.value = name;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  const look = () => {
    const canvas = document.querySelector(`[data-heat="${name}"] canvas`);
    if (canvas !== null && canvas.width > 0) {
      const { data } = canvas.getContext("2d").getImageData(canvas.width / 3, canvas.height / 3, 64, 64);
      if (data.every((value, at) => at % 4 !== 3 || value > 0)) return done(performance.now() - began);
    }
    requestAnimationFrame(look);
  };
  look();
})"""
#: Notes for each line that is drawn when that was, in unix seconds, and up to which step there were points by then.
DRAWING = """(() => {
  window.drawn = [];
  let step = -1;
  const fetched = window.fetch;
  window.fetch = async (...asked) => {
    const answer = await fetched(...asked);
    if (!String(asked[0]).includes("api/series")) return answer;
    const frame = await answer.clone().arrayBuffer();
    const header = new Uint8Array(frame, 8, new DataView(frame).getUint32(4, true));
    for (const line of JSON.parse(new TextDecoder().decode(header)).lines) step = Math.max(step, line.to ?? -1);
    return answer;
  };
  const stroke = CanvasRenderingContext2D.prototype.stroke;
  CanvasRenderingContext2D.prototype.stroke = function (...path) {
    window.drawn.push([Date.now() / 1000, step]);
    return stroke.apply(this, path);
  };
})()"""


@contextmanager
def _chromium() -> Generator[Browser]:
    """Yield a headless Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright  # a test dependency: the other benchmarks do without
    except ImportError as error:
        raise Unmeasurable("it needs the package playwright") from error
    if path is None:
        raise Unmeasurable("it needs the program chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def _browsing(bench: Workbench, kind: Logs) -> Generator[tuple[Server, Browser]]:
    """Yield a server of such logs, which is warm, and a headless Chromium."""
    found = indexed(bench, kind)
    with serving(bench, found.root.parent) as server, _chromium() as browser:
        server.ask("/api/series", run="run00000", key=KEY)
        yield server, browser


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


def _heatmap(bench: Workbench) -> Measured:
    """From the choice of a metric on the ranks' view to the heat-map of it."""
    times: list[float] = []
    with _browsing(bench, TEAM) as (server, browser):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page, _ = _opened(server, context)
        page.goto(f"{server.origin}/r/bench/run00000/ranks?by=metric_1")
        page.locator('[data-heat="metric_1"] canvas').first.wait_for()
        for number in range(2, 2 + max(bench.repeats, bench.size(10, 2))):
            times.append(float(page.evaluate(HEATMAP, f"metric_{number}")))
        context.close()
    return Measured(times, note=f"from the choice of a metric to its heat-map; at most {max(times):.0f} ms")


def _point(bench: Workbench) -> Measured:
    """From log() to the frame that draws the row: the page stays open, and follows what is logged."""
    directory = bench.fresh()
    with serving(bench, directory) as server, _chromium() as browser:
        job = bench.start(training, bench.size(20, 6), directory=directory)
        run = _first_run(server)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page, _ = _opened(server, context)
        page.add_init_script(DRAWING)
        page.goto(f"{server.origin}/r/{run}?q=at")
        logged = cast("list[float]", json.loads(job.communicate()[0].splitlines()[-1]))
        page.wait_for_function(
            "(step) => window.drawn.length > 0 && window.drawn.at(-1)[1] >= step", arg=len(logged) - 1
        )
        drawn = cast("list[tuple[float, int]]", page.evaluate("() => window.drawn"))
        context.close()
    bench.wait_for_writers()
    opened_s, first = next(each for each in drawn if each[1] >= 0)
    delays: list[float] = []
    for at_s, step in drawn:
        while (mine := first + 1 + len(delays)) <= step:  # those that were there when the page was opened are left out
            delays.append(at_s - logged[mine])
    if not delays:
        raise Unmeasurable(
            f"nothing was logged after the page showed its first line, {opened_s - logged[0]:.1f} s later"
        )
    p50, p99 = np.percentile(delays, [50, 99]).tolist()
    return Measured([p50], note=f"p99 {p99:.2f} s of {len(delays)} rows", also=p99 <= 2)


def _first_run(server: Server) -> str:
    """Return the name of the run that a server finds first."""
    deadline = time.monotonic() + WAIT_MS / 1e3
    while time.monotonic() < deadline:
        rows = json.loads(server.ask("/api/runs", limit=1).body)["rows"]
        if rows:
            return str(rows[0]["run"])
        time.sleep(0.05)
    raise Unmeasurable("no run came to be")


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
    Benchmark(
        "page-drawn-heatmap", "heat-map of 256 ranks x 2k steps, in the browser", "ms", Goal(at_most=100), _heatmap
    ),
    Benchmark(
        "page-point",
        "from log() to the point drawn on the open page, p50",
        "s",
        Goal(at_most=1, also="p99 ≤ 2 s"),
        _point,
    ),
    Benchmark("page-zoom", "a step of zoom or pan, 8 lines, CPU of the page", "ms", Goal(at_most=50), _zoom),
)
