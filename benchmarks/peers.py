"""Other trackers, each in an environment of its own, offline and without telemetry."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.workbench import Unmeasurable, Workbench

__all__ = ["PEERS", "Peer"]

PEERS: tuple[str, ...] = ("wandb", "trackio")
SCRIPT = Path(__file__).with_name("peer_script.py")
OFFLINE = {
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "DO_NOT_TRACK": "1",
}
#: How much each measurement does: calls, steps or rows.
AMOUNT = {"tight": 2_000, "paced": 100, "throughput": 20_000, "step_cpu": 400, "bytes": 10_000}


class Peer:
    """One other tracker."""

    def __init__(self, name: str) -> None:
        """Install it where it is not yet; raise Unmeasurable where it cannot be."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.name = name
        environment = cache / "disttrack-benchmarks" / name
        self._python = str(environment / "bin" / "python")
        if self._has_it():
            return
        print(f"installing {name} from the package index into {environment}", file=sys.stderr)
        venv.create(environment, with_pip=True)
        command = [self._python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip said nothing"]
            raise Unmeasurable(f"{name} could not be installed: {lines[-1]}")

    def _has_it(self) -> bool:
        command = [self._python, "-c", f"from importlib.metadata import version; version({self.name!r})"]
        return os.path.exists(self._python) and not subprocess.run(command, capture_output=True, check=False).returncode

    @property
    def version(self) -> str:
        """The version that is installed."""
        command = [self._python, "-c", f"from importlib.metadata import version; print(version({self.name!r}))"]
        return subprocess.check_output(command, text=True).strip()

    def measure(self, bench: Workbench, measurement: str) -> float | None:
        """Return the median of a measurement; None where this tracker does not have it or failed."""
        amount = AMOUNT.get(measurement, 1)
        if bench.quick:
            amount = max(1, amount // 20)
        directory = bench.fresh()
        where = {"WANDB_DIR": str(directory), "TRACKIO_DIR": str(directory / "trackio"), "HOME": str(directory)}
        once = measurement not in ("tight", "paced")
        found: list[float] = []
        for _ in range(bench.repeats if once else 1):
            command = [self._python, str(SCRIPT), self.name, measurement, str(bench.repeats), str(amount)]
            try:
                done = subprocess.run(
                    command,
                    cwd=bench.fresh() if measurement != "bytes" else directory,
                    env={**os.environ, **OFFLINE, **where},
                    capture_output=True,
                    text=True,
                    timeout=300,
                    check=True,
                )
                found += json.loads(done.stdout.splitlines()[-1])
            except (subprocess.SubprocessError, ValueError, IndexError) as error:
                print(f"{self.name}, {measurement}: {error}", file=sys.stderr)
                return None
            if measurement == "bytes":
                break
        return statistics.median(found)
