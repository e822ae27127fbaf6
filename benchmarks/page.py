"""What the page waits for: the HTTP API of `disttrack ui`, asked by a client on the same machine."""

from __future__ import annotations

import http.client
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import psutil
from numpy.typing import NDArray

import disttrack
from benchmarks.reading import KEY, MANY, SERIES, TEAM, Logs, indexed
from benchmarks.result import Benchmark, Goal, Measured
from benchmarks.workbench import Unmeasurable, Workbench

__all__ = ["BENCHMARKS", "EIGHT", "Answer", "Server", "serving", "training"]

EIGHT = Logs("eight", 1, 8, 2, 100_000, 100, (1, 1_000))
WARM_UP = 3


class Answer(NamedTuple):
    """A whole answer, and how long it took from the request on."""

    took_ms: float
    body: bytes


class Server:
    """A `disttrack ui` that runs, asked through one connection that stays open."""

    def __init__(self, url: str, pid: int) -> None:
        self._process = psutil.Process(pid)
        base, _, token = url.partition("/?token=")
        self.link, self.origin = url, base
        self._address = base.removeprefix("http://")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connection = http.client.HTTPConnection(self._address, timeout=120)

    def ask(self, path: str, /, **parameters: object) -> Answer:
        """Return the answer to a GET; parameters that are lists are given several times."""
        asked = f"{path}?{urlencode(parameters, doseq=True)}"
        began = time.perf_counter()
        self._connection.request("GET", asked, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        took_ms = (time.perf_counter() - began) * 1e3
        if answer.status != 200:
            raise Unmeasurable(f"{asked} was answered with {answer.status}: {body[:200]!r}")
        return Answer(took_ms, body)

    def used_ms(self) -> float:
        """Return the processor time that it has used up to now."""
        used = self._process.cpu_times()
        return (used.user + used.system) * 1e3

    def changes(self) -> Iterator[dict[str, Any]]:
        """Yield what the stream of events tells, as it does; an empty one once it is open."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        connection.request("GET", "/api/events", headers=self._headers)
        with connection.getresponse() as answer:
            event = ""
            while line := answer.readline().decode().rstrip("\n"):
                while line:
                    name, _, value = line.partition(": ")
                    if name == "event":
                        event = value
                    elif name == "data":
                        yield json.loads(value) if event == "changed" else {}
                    line = answer.readline().decode().rstrip("\n")


@contextmanager
def serving(bench: Workbench, directory: Path) -> Generator[Server]:
    """Serve the runs below a directory as long as it is entered."""
    command = [sys.executable, "-m", "disttrack", "ui", "--no-open", "--port", "0", "--dir", str(directory)]
    process = subprocess.Popen(
        command, env=bench.environment(directory), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield Server(process.stdout.readline().strip(), process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def _asked(bench: Workbench, kind: Logs, path: str, **parameters: object) -> list[Answer]:
    """Ask a server of such logs, which is warm, once a repeat."""
    found = indexed(bench, kind)
    with serving(bench, found.root.parent) as server:
        for _ in range(WARM_UP):
            server.ask(path, **parameters)
        return [server.ask(path, **parameters) for _ in range(max(bench.repeats, bench.size(20, 3)))]


def _median(bench: Workbench, kind: Logs, path: str, **parameters: object) -> Measured:
    answers = _asked(bench, kind, path, **parameters)
    note = f"{len(answers[0].body) / 1024:.0f} KiB unzipped; at most {max(answer.took_ms for answer in answers):.0f} ms"
    return Measured([answer.took_ms for answer in answers], note=note)


def _first_answer(bench: Workbench, **parameters: object) -> Measured:
    """The first answer of a server that was just started; its index is there."""
    found = indexed(bench, MANY)
    ours: list[float] = []
    used_ms: list[float] = []
    for _ in range(bench.repeats):
        with serving(bench, found.root.parent) as server:
            before_ms = server.used_ms()
            ours.append(server.ask("/api/runs", limit=100, **parameters).took_ms)
            used_ms.append(server.used_ms() - before_ms)
    return Measured(ours, note=f"{found.runs:,} runs; {statistics.median(used_ms):.0f} ms of processor time")


def _largest_series(bench: Workbench) -> Measured:
    """The largest of the answers that a chart asks for, in KiB."""
    sizes: list[float] = []
    for kind, run in ((SERIES, "run00000"), (EIGHT, "run00000"), (TEAM, "run00000")):
        found = indexed(bench, kind)
        with serving(bench, found.root.parent) as server:
            for width in (600, 4_096):
                for smooth in (0, 0.6):
                    answer = server.ask("/api/series", run=run, key=KEY, width=width, smooth=smooth)
                    sizes.append(len(answer.body) / 1024)
    return Measured(
        [max(sizes)], note="1 line of 1M points, 8 lines, a band of 256 ranks; 600 and 4,096 wide, smoothed"
    )


# From log() to the page


def training(seconds: float) -> list[float]:
    """In a process of its own: log the time, 20 times a second; returns the times by step."""
    run = disttrack.init(project="live")
    logged: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        logged.append(time.time())
        run.log({"at": logged[-1]}, step=len(logged) - 1)
        time.sleep(0.05)
    run.finish()
    return logged


def _live(bench: Workbench) -> Measured:
    directory = bench.fresh()
    delays: list[float] = []
    with serving(bench, directory) as server:
        stream = server.changes()
        next(stream)
        job = bench.start(training, bench.size(20, 4), directory=directory)
        last = -1.0
        for change in stream:
            for run in change.get("runs", []):
                body = server.ask("/api/series", run=run["run"], key="at", width=8_000).body
                now_s = time.time()
                steps, logged = _line(body)
                delays += (now_s - logged[steps > last]).tolist()
                last = max(last, float(steps.max(initial=-1)))
            if any(run["state"] == "finished" for run in change.get("runs", [])):
                break
        job.communicate()
    bench.wait_for_writers()
    p50, p99 = np.percentile(delays, [50, 99]).tolist()
    return Measured([p50], note=f"p99 {p99:.2f} s of {len(delays)} rows", also=p99 <= 2)


def _line(body: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of the first line of a frame that is not bucketed (docs/api.md)."""
    length = int.from_bytes(body[4:8], "little")
    header = json.loads(body[8 : 8 + length])

    def array(told: dict[str, Any]) -> NDArray[np.float64]:
        kind = {"f4": "<f4", "f8": "<f8"}[told["type"]]
        return np.frombuffer(body, kind, told["n"], 8 + length + told["at"]).astype(np.float64) + float(told["base"])

    if not header["lines"]:
        return np.zeros(0), np.zeros(0)
    return array(header["grid"]), array(header["lines"][0]["last"])


def _figure(kind: Logs, path: str, **parameters: object) -> Callable[[Workbench], Measured]:
    return lambda bench: _median(bench, kind, path, **parameters)


BENCHMARKS = (
    Benchmark("page-rows", "first rows of 10,000 runs, server just started", "ms", Goal(at_most=300), _first_answer),
    Benchmark(
        "page-sorted",
        "100 of 10,000 runs sorted by a metric, over HTTP",
        "ms",
        Goal(at_most=10),
        _figure(MANY, "/api/runs", sort=f"-summary.{KEY}", column=[f"summary.{KEY}", "config.lr"]),
    ),
    Benchmark(
        "page-sorted-min",
        "10,000 runs sorted by min(metric) for the first time, over HTTP",
        "ms",
        Goal(at_most=1_000),
        lambda bench: _first_answer(bench, sort=f"min({KEY})"),
    ),
    Benchmark(
        "page-heatmap",
        "heat-map of 256 ranks x 2k steps, over HTTP",
        "ms",
        Goal(at_most=100),
        _figure(TEAM, "/api/heatmap", run="run00000", key=KEY),
    ),
    Benchmark(
        "page-series",
        "a chart of 1M points, over HTTP",
        "ms",
        Goal(at_most=100),
        _figure(SERIES, "/api/series", run="run00000", key=KEY),
    ),
    Benchmark("page-bytes", "the largest answer with a series", "KiB", Goal(at_most=64), _largest_series),
    Benchmark("page-live", "from log() to the point in an answer, p50", "s", Goal(at_most=1, also="p99 ≤ 2 s"), _live),
)
