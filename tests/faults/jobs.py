"""Starts trainers, does things to them, and compares what the store holds with what their log() calls returned."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import disttrack
from tests.conftest import PATIENCE, writers
from tests.faults.store import run_directories, stored
from tests.faults.trainer import Plan, read_counts
from tests.road.site import Site, wait_until

__all__ = [
    "Job",
    "Trainer",
    "kill_everything",
    "kills",
    "may_sleep",
    "no_writer",
    "seeded",
    "the_writer",
    "tmpfs",
]

REPOSITORY = Path(__file__).parents[2]


def seeded(name: str) -> random.Random:
    """Return a random source whose seed is printed; set FAULTS_SEED to have one again."""
    seed = os.environ.get("FAULTS_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"{name}: FAULTS_SEED={seed}")
    return random.Random(f"{name} {seed}")


def kills(config: pytest.Config) -> int:
    """Return how often to kill: 20 times in each run of the tests, 100 with --soak."""
    return 100 if config.getoption("run_soak") else 20


def may_sleep(calls: int) -> int:
    """Return how many of so many log() calls may sleep, on a machine that is busy with other tests.

    Where the interpreter is handed over, every 5 ms at most, who gets it back late has slept as well: on two idle cores
    in less than one call of 200 (P7), beside others in several times as many. A log() that waits sleeps in each call.
    """
    return 100 + calls // 10


def the_writer() -> psutil.Process | None:
    """Return the process that serves this test: the one that ranks are told of, once it listens."""
    for path in Path(os.environ["DISTTRACK_RUNTIME_DIR"]).glob("claims/*.json"):
        try:
            process = psutil.Process(json.loads(path.read_bytes())["pid"])
            if process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (OSError, psutil.NoSuchProcess):
            continue  # withdrawn, or killed
    return None


def no_writer() -> bool:
    """Say whether no process of disttrack serves this test any more."""
    return not list(writers(Path(os.environ["DISTTRACK_RUNTIME_DIR"])))


class Trainer:
    """One training process, what it printed, and what it counted."""

    def __init__(
        self, site: Site, plan: Plan, env: Mapping[str, str] | None = None, around: Sequence[str] = ()
    ) -> None:
        """around: a command that runs the trainer, such as strace and its options."""
        self.plan = plan
        self.counts = site.directory / plan.counts
        self.report = site.directory / f"{plan.counts}.receipt"
        self._outputs = [site.directory / f"{plan.counts}.{name}" for name in ("stdout", "stderr")]
        plan = dataclasses.replace(plan, report=str(self.report))
        command = [*around, sys.executable, "-m", "tests.faults.trainer", json.dumps(dataclasses.asdict(plan))]
        paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        with open(self._outputs[0], "w") as stdout, open(self._outputs[1], "w") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=site.directory,
                env={**os.environ, "PYTHONPATH": paths, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    @property
    def returned(self) -> int:
        """How many log() calls returned so far."""
        return read_counts(self.counts)[0]

    @property
    def stdout(self) -> str:
        return self._outputs[0].read_text()

    @property
    def stderr(self) -> str:
        return self._outputs[1].read_text()

    @property
    def receipt(self) -> dict[str, int]:
        """What finish() returned; it adds up (P11)."""
        receipt: dict[str, int] = json.loads(self.report.read_text())
        assert receipt["logged"] == receipt["stored"] + receipt["pending"] + receipt["dropped"], receipt
        assert min(receipt[part] for part in ("stored", "pending", "dropped")) >= 0, receipt
        assert receipt["logged"] == self.returned
        return receipt

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(300)

    def end(self, code: int = 0, limit_s: float = 90) -> Trainer:
        """Wait for the end; what it prints and its exit code are those of a script without a tracker (P8)."""
        assert self.process.wait(PATIENCE * limit_s) == code, self.stderr
        steps = self.plan.steps if self.plan.steps is not None else ""
        assert self.stdout == f"begin\nend {steps}\n"
        assert "Traceback" not in self.stderr, self.stderr
        self.check_sleeps()
        return self

    def check_sleeps(self) -> None:
        """No more log() calls gave up the processor by themselves than a busy machine explains (P7)."""
        returned, slept = read_counts(self.counts)
        # The first few may wait for the interpreter while the sender's thread imports what it needs.
        assert slept <= may_sleep(returned), f"{slept} of {returned} log() calls slept"


class Job:
    """The trainers of one test, and the comparison of the store with what they counted."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.trainers: list[Trainer] = []

    def start(self, env: Mapping[str, str] | None = None, around: Sequence[str] = (), **plan: Any) -> Trainer:
        trainer = Trainer(self.site, Plan(counts=f"counts-{len(self.trainers)}", **plan), env, around)
        self.trainers.append(trainer)
        return trainer

    def start_ranks(self, ranks: int, **plan: Any) -> list[Trainer]:
        return [self.start(rank=rank, ranks=ranks, **plan) for rank in range(ranks)]

    def stop(self) -> None:
        """Have trainers without a number of steps come to their end."""
        (self.site.directory / "stop").touch()

    def end(self) -> None:
        for trainer in self.trainers:
            if trainer.process.poll() is None:
                trainer.kill()

    def stored_steps(self, project: str = "p", root: Path | None = None) -> dict[int, list[int]]:
        """Return the steps each trainer's process has in the logs of a project, in the order of its calls, by pid."""
        found: dict[int, list[int]] = {}
        for run in run_directories(root or self.site.root, project):
            for source in stored(run).values():
                found[source.pid] = found.get(source.pid, []) + source.steps()
        return found

    def check_stored(self, project: str = "p", root: Path | None = None) -> int:
        """Every call that returned is in the log once, in order (P1, P5, P6); return how many there are.

        One more may be: the kill may fall between log()'s return and the count.
        """
        steps = self.stored_steps(project, root)
        total = 0
        for trainer in self.trainers:
            if trainer.plan.project == project:
                found, returned = steps.get(trainer.process.pid, []), trainer.returned
                assert found == list(range(len(found)))
                assert returned <= len(found) <= returned + 1, f"{returned - len(found)} of {returned} lost"
                total += returned
        return total

    def check_read(self, project: str = "p") -> None:
        """What readers are told is what was counted, and the receipt of `show` adds up (P6, P11)."""
        expected = sorted(
            (trainer.plan.rank, step)
            for trainer in self.trainers
            if trainer.plan.project == project
            for step in self.stored_steps(project)[trainer.process.pid]
        )
        with disttrack.Api(self.site.directory) as api:
            columns = [run.history(keys=["loss"], ranks="all", superseded=True) for run in api.runs(project)]
            receipts = [run.receipt for run in api.runs(project)]
        read = sorted(
            (int(rank), int(step))
            for history in columns
            for rank, step in zip(history["rank"], history["step"], strict=True)
        )
        assert read == expected
        for receipt in receipts:
            assert receipt.logged == receipt.stored + receipt.pending + receipt.dropped
            assert receipt.pending == receipt.dropped == 0, receipt


def kill_everything(processes: Sequence[int]) -> None:
    """SIGKILL all at once: none gets to see that another died."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in processes:
            os.kill(pid, number)


def wait_for_steps(trainers: Sequence[Trainer], steps: int) -> None:
    """Wait until each trainer that lives has logged so many more rows."""
    wanted = [(trainer, trainer.returned + steps) for trainer in trainers]
    wait_until(lambda: all(trainer.returned >= count for trainer, count in wanted), f"{steps} more rows")


@contextmanager
def tmpfs(where: Path, *options: str) -> Generator[Path]:
    """Mount a memory file system with these options (size=, nr_inodes=); the test is skipped where that is refused."""
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(where)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs for this user: {done.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)
