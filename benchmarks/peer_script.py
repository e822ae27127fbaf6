"""Another tracker, measured as disttrack is: `python peer_script.py wandb|trackio MEASUREMENT`, in its own environment.

Imports the standard library and the tracker only. Prints one JSON list of figures.
"""

# ruff: noqa: ANN001, ANN201  # runs in an environment without any of our tools, and whatever Python that has
# pyright: basic
# mypy: ignore-errors

import importlib
import json
import os
import random
import statistics
import struct
import sys
import time

name, measurement, repeats, amount = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def rows(count, keys):
    values = random.Random(0)
    return [{f"metric_{key}": float32(values.gauss(0, 1)) for key in range(keys)} for _ in range(count)]


def load():
    began = time.perf_counter()
    module = importlib.import_module(name)
    return module, 1_000 * (time.perf_counter() - began)


def init(tracker):
    began = time.perf_counter()
    run = tracker.init(project="bench") if name == "wandb" else tracker.init(project="bench", embed=False)
    return run, 1_000 * (time.perf_counter() - began)


def finish(tracker):
    began = time.perf_counter()
    tracker.finish()
    return 1_000 * (time.perf_counter() - began)


def call_times(pace_s):
    tracker, _ = load()
    init(tracker)
    data = rows(1_000, 10)
    medians = []
    for turn in range(repeats + 1):
        time.sleep(0.5)
        times = []
        for step in range(amount):
            before = time.perf_counter_ns()
            tracker.log(data[step % 1_000])
            times.append(time.perf_counter_ns() - before)
            time.sleep(pace_s) if pace_s else None
        if turn:
            medians.append(statistics.median(times) / 1_000)
    tracker.finish()
    return medians


def throughput():
    tracker, _ = load()
    data = rows(10_000, 10)
    began = time.perf_counter()
    init(tracker)
    for step in range(amount):
        tracker.log(data[step % 10_000])
    tracker.finish()
    return [amount * 10 / 1e6 / (time.perf_counter() - began)]


def work(loops):
    total = 0.0
    for number in range(loops):
        total += number * 0.5
    return total


def calibrated():
    loops = 1_000
    while True:
        before = time.thread_time()
        work(loops)
        took_s = time.thread_time() - before
        if took_s > 0.0025:
            return int(loops * 0.005 / took_s)
        loops *= 2


def step_cpu():
    tracker, _ = load()
    init(tracker)
    data = rows(1_000, 50)
    loops = calibrated()
    added = []
    for logs in (False, True):
        began, worked = time.process_time(), 0.0
        for step in range(amount):
            before = time.thread_time()
            work(loops)
            worked += time.thread_time() - before
            if logs:
                tracker.log(data[step % 1_000])
        time.sleep(0.5)
        added.append(1e6 * (time.process_time() - began - worked) / amount)
    tracker.finish()
    return [added[1] - added[0]]


def spans():
    tracker, import_ms = load()
    _, init_ms = init(tracker)
    tracker.log({"loss": 1.0})
    time.sleep(1.5)
    return [{"import": import_ms, "init": init_ms, "finish": finish(tracker)}[measurement]]


def on_disk():
    """Bytes a point of rows at 10 Hz: logged as fast as it goes, as neither tracker stores less for waiting."""
    tracker, _ = load()
    init(tracker)
    for row in rows(amount, 10):
        tracker.log(row)
    tracker.finish()
    kept = ("wandb",) if name == "wandb" else ("trackio",)
    size = 0
    for directory, _, files in os.walk("."):
        if any(part in directory for part in kept):
            data = [file for file in files if file.endswith((".wandb", ".db", ".db-wal", ".sqlite"))]
            size += sum(os.path.getsize(os.path.join(directory, file)) for file in data)
    return [size / amount / 10]


measure = {
    "tight": lambda: call_times(0),
    "paced": lambda: call_times(0.01),
    "throughput": throughput,
    "step_cpu": step_cpu,
    "import": spans,
    "init": spans,
    "finish": spans,
    "bytes": on_disk,
}[measurement]
print("\n" + json.dumps(measure()), flush=True)
