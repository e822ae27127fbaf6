"""A place to run training scripts as a user would, and to read their runs back with the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import PATIENCE

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node")


class Site:
    """A directory with scripts, and the runs they make."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "disttrack-runs"
        self._started: list[subprocess.Popen[str]] = []

    def script(self, code: str, name: str = "train.py") -> Path:
        path = self.directory / name
        path.write_text(textwrap.dedent(code))
        return path

    def start(self, *command: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in this directory; stdout and stderr come together."""
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=self.directory,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def run(self, *command: object, env: Mapping[str, str] | None = None, code: int = 0, limit_s: float = 120) -> str:
        """Run a command to its end and return what it printed; any other exit code than the one expected fails."""
        process = self.start(*command, env=env)
        try:
            output, _ = process.communicate(timeout=PATIENCE * limit_s)
        finally:
            process.kill()
        assert process.returncode == code, f"{command} ended with {process.returncode}:\n{output}"
        return output

    def python(self, script: Path, *arguments: object, env: Mapping[str, str] | None = None, code: int = 0) -> str:
        return self.run(sys.executable, script, *arguments, env=env, code=code)

    def torchrun(
        self, ranks: int, script: Path, *arguments: object, env: Mapping[str, str] | None = None, code: int = 0
    ) -> str:
        return self.run(*TORCHRUN, ranks, script, *arguments, env=env, code=code)

    def cli(self, *arguments: object, code: int | None = 0) -> str:
        """Return what `disttrack ...` prints on stdout; any other exit code than the one expected (None: any) fails."""
        done = subprocess.run(
            [sys.executable, "-m", "disttrack", *map(str, arguments)],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert code in (None, done.returncode), (
            f"disttrack {arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def ls(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.cli("ls", "--json"))
        return runs

    def only_run(self) -> dict[str, Any]:
        """Return `show --json` of the one run there is."""
        runs = self.ls()
        assert len(runs) == 1, runs
        return self.show(runs[0]["id"])

    def show(self, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = json.loads(self.cli("show", run_id, "--json"))
        return run

    def export(self, run_id: str, *arguments: object) -> list[dict[str, Any]]:
        lines = self.cli("export", run_id, "--format", "jsonl", *arguments).splitlines()
        return [json.loads(line) for line in lines]

    def steps(self, run_id: str, key: str) -> dict[int, list[int]]:
        """Return the steps at which each rank logged a key, in the order of the export."""
        found: dict[int, list[int]] = defaultdict(list)
        for row in self.export(run_id, "--keys", key):
            found[row["rank"]].append(row["step"])
        return dict(found)


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = 60) -> None:
    """Wait for a condition, asking 50 times a second.

    limit_s: more than a quiet machine needs; the wait ends after PATIENCE times that.
    """
    deadline = time.monotonic() + PATIENCE * limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE * limit_s:g} s"
        time.sleep(0.02)
