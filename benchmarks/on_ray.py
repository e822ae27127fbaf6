"""Under Ray: what a trial costs that is a run, and histories of many runs as data sets."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import secrets
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.reading import KEY, Found, Logs, build_index, logs
from benchmarks.result import Benchmark, Goal, Measured
from benchmarks.workbench import Unmeasurable, Workbench, writers_of

__all__ = ["BENCHMARKS", "mean_by_run", "ray_of_its_own"]

RUNS = Logs("ray", 1_000, 1, 10, 1_000, 10, (40, 50))
CPUS = 2
OBJECT_STORE_BYTES = 500_000_000


@contextmanager
def ray_of_its_own() -> Generator[None]:
    """Have a Ray with its own token, ports and directory, started beforehand and ended afterwards."""
    directory = tempfile.mkdtemp(prefix="dtr-", dir="/tmp")  # short: a socket's path ends at 107 bytes
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16), RAY_USAGE_STATS_ENABLED="0")
    ray: Any = importlib.import_module("ray")
    ray.init(
        num_cpus=CPUS,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=directory,
    )
    try:
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def needs_ray() -> None:
    """Raise Unmeasurable where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise Unmeasurable("ray is not installed")


def mean_by_run(directory: str, repeats: int) -> tuple[list[float], list[float]]:
    """In a process of its own: seconds to take the mean of a key by run, ours and of the same rows in Parquet files."""
    with ray_of_its_own():
        from disttrack.integrations.ray import read_history

        logging.getLogger("ray.data").setLevel("ERROR")
        data: Any = importlib.import_module("ray.data")
        data.DataContext.get_current().enable_progress_bars = False
        parquet = Path(directory, "parquet")
        if not parquet.exists():
            _write_parquet(Path(directory), parquet)

        def ours() -> object:
            return read_history(Path(directory), keys=[KEY])

        def limit() -> object:
            return data.read_parquet(str(parquet), columns=["run", KEY])

        found: tuple[list[float], list[float]] = ([], [])
        _mean_s(ours)  # a Ray that has just started starts its workers
        for _ in range(repeats):
            for read, seconds in zip((ours, limit), found, strict=True):
                seconds.append(_mean_s(read))
        return found


def _mean_s(read: Callable[[], object]) -> float:
    began = time.perf_counter()
    dataset: Any = read()
    means = dataset.groupby("run").mean(KEY).take_all()
    assert means
    return time.perf_counter() - began


def _write_parquet(directory: Path, parquet: Path) -> None:
    """Write the rows of every run to a file of its own, all keys as columns."""
    from disttrack.query.scan import plan_scan, read_scan
    from disttrack.settings import root_of

    writer: Any = importlib.import_module("pyarrow.parquet")
    parquet.mkdir()
    scan = plan_scan(root_of(directory))
    for number, run in enumerate(scan.runs):
        for table in read_scan(scan.of([run])):
            writer.write_table(table, parquet / f"{number:05d}.parquet")


def _history(bench: Workbench) -> Measured:
    needs_ray()
    found: Found = logs(bench, RUNS)
    build_index(bench, found)
    directory = str(found.root.parent)
    ours, limit = bench.call(mean_by_run, directory, bench.repeats, directory=found.root.parent)
    return Measured(ours, limit, f"{found.runs:,} runs, {found.points / 1e6:g} M points; a Ray of {CPUS} CPUs")


def trial_costs(directory: str, repeats: int, count: int) -> tuple[list[float], list[float], int]:
    """In a process of its own: seconds of so many short trials, decorated and not, and how many writers they had."""
    with ray_of_its_own():
        tune: Any = importlib.import_module("ray.tune")
        from disttrack.integrations.ray import trainable

        def objective(config: dict[str, float]) -> None:
            for step in range(3):
                tune.report({"score": config["x"] * step})

        def seconds(function: object, count: int) -> float:
            tuner = tune.Tuner(
                function,
                param_space={"x": tune.uniform(0, 1)},
                tune_config=tune.TuneConfig(num_samples=count, max_concurrent_trials=1, reuse_actors=True),
                run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(dir=directory), verbose=0),
            )
            began = time.perf_counter()
            results = tuner.fit()
            took_s = time.perf_counter() - began
            assert len(results) == count
            assert not results.errors
            return took_s

        decorated = trainable(project="bench")(functools.partial(objective))
        with writers_seen() as writers:
            for function in (objective, decorated):  # a Ray that has just started starts its workers
                seconds(function, 2)
            found = [(seconds(decorated, count), seconds(objective, count)) for _ in range(repeats)]
        return [pair[0] for pair in found], [pair[1] for pair in found], writers()


@contextmanager
def writers_seen() -> Generator[Callable[[], int]]:
    """Yield what returns how many of this workbench's writers ran at a time, at most."""
    ended, most = threading.Event(), 0

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.1):
            most = max(most, len(writers_of(Path(os.environ["DISTTRACK_RUNTIME_DIR"]))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most
    finally:
        ended.set()
        thread.join()


def _trials(bench: Workbench) -> Measured:
    needs_ray()
    count, directory = bench.size(100, 5), bench.fresh()
    ours, limit, writers = bench.call(trial_costs, str(directory), bench.repeats, count, directory=directory)
    costs_ms = [1_000 * (mine - without) / count for mine, without in zip(ours, limit, strict=True)]
    without_ms = 1_000 * statistics.median(limit) / count
    note = f"{count} trials, one at a time, in a reused actor; without: {without_ms:.0f} ms each"
    return Measured(costs_ms, note=f"{note}; at most {writers} writers at a time", also=writers == 1)


BENCHMARKS = (
    Benchmark(
        "ray-trial",
        "what a short trial takes longer that is a run",
        "ms",
        Goal(at_most=50, also="1 writer"),
        _trials,
    ),
    Benchmark(
        "ray-history",
        "mean of a key by run, 1,000 runs of 10,000 points, by Ray Data",
        "s",
        Goal(ratio_at_most=1.5),
        _history,
        "ray.data.read_parquet",
    ),
)
