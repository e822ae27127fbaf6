"""A machine of its own for benchmarks: directories that nobody else uses, and fresh processes in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil

__all__ = ["Unmeasurable", "Workbench", "peak_mb", "workbench", "writer_of", "writers_of"]

REPOSITORY = Path(__file__).parents[1]
FOREIGN_PREFIXES = ("RANK", "LOCAL_", "WORLD_SIZE", "GROUP_", "MASTER_", "TORCHELASTIC_", "SLURM_", "DISTTRACK_")
WRITER_END_S = 20.0

T = TypeVar("T")


class Unmeasurable(Exception):
    """This machine lacks what a benchmark needs; the text says what."""


@dataclass
class Workbench:
    """Where benchmarks work, how often they repeat, and whether they are to be quick rather than exact."""

    directory: Path
    runtime: Path
    repeats: int
    quick: bool
    made: dict[str, object] = field(default_factory=dict[str, object])  # what several benchmarks read

    def size(self, full: int, quick: int) -> int:
        """Return how much to measure with."""
        return quick if self.quick else full

    def fresh(self) -> Path:
        """Return a new, empty directory."""
        return Path(tempfile.mkdtemp(dir=self.directory))

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what make made when it was asked for first under this name."""
        if name not in self.made:
            self.made[name] = make()
        return cast(T, self.made[name])

    def environment(self, directory: Path) -> dict[str, str]:
        """Return the environment of a process whose runs and journals lie in a directory."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is not compiled at each start: 50 ms
        paths = os.pathsep.join([str(REPOSITORY), *filter(None, [kept.get("PYTHONPATH")])])
        return kept | {
            "PYTHONPATH": paths,
            "PYTHONPYCACHEPREFIX": str(self.directory / "pycache"),
            "DISTTRACK_DIR": str(directory),
            "DISTTRACK_RUNTIME_DIR": str(self.runtime),
            "DISTTRACK_JOURNAL_DIR": str(directory / "journals"),
            "DISTTRACK_CACHE_DIR": str(directory / "cache"),
        }

    def start(self, function: Callable[..., object], *arguments: object, directory: Path) -> subprocess.Popen[str]:
        """Start a fresh process that calls a function of a benchmark's module; it prints its answer as JSON."""
        command = [sys.executable, "-m", "benchmarks.worker", function.__module__, function.__name__]
        return subprocess.Popen(
            [*command, json.dumps(arguments)],
            cwd=directory,
            env=self.environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, function: Callable[..., object], *arguments: object, directory: Path | None = None) -> Any:
        """Return what a function answers in a fresh process, once that and its writer have ended."""
        process = self.start(function, *arguments, directory=directory or self.fresh())
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{function.__module__}.{function.__name__} ended with {process.returncode}")
        self.wait_for_writers()
        return json.loads(output.splitlines()[-1])

    def wait_for_writers(self) -> None:
        """Wait until no writer of this workbench runs: the next benchmark shall have the machine for itself."""
        deadline = time.monotonic() + WRITER_END_S
        while (writer := writer_of(self.runtime)) is not None:
            if time.monotonic() > deadline:
                writer.kill()
            time.sleep(0.05)


def writer_of(runtime: Path) -> psutil.Process | None:
    """Return the writer that runs for this runtime directory."""
    return next(iter(writers_of(runtime)), None)


def writers_of(runtime: Path) -> list[psutil.Process]:
    """Return all that run for this runtime directory."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline", "status"]):
        arguments: list[str] = process.info["cmdline"] or []
        if "disttrack.writer" in arguments and str(runtime) in arguments and process.info["status"] != "zombie":
            found.append(process)
    return found


def peak_mb(pid: int | str = "self") -> float:
    """Return the most memory a living process has had resident (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def workbench(repeats: int, *, quick: bool, where: Path | None = None) -> Generator[Workbench]:
    """Make a workbench in a temporary directory, and clear it away."""
    directory = Path(tempfile.mkdtemp(prefix="disttrack-benchmarks-", dir=where))
    runtime = Path(tempfile.mkdtemp(prefix="dtb-", dir="/tmp"))  # short: a socket's path ends at 107 bytes
    bench = Workbench(directory, runtime, repeats, quick)
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(bench.environment(directory))
    try:
        yield bench
    finally:
        os.environ.clear()
        os.environ.update(before)
        bench.wait_for_writers()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)
