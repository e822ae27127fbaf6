"""Readers and writers at once, some of them killed: every answer is what was logged up to some moment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from disttrack.index.indexer import Index
from tests.cli.test_commands import beside_progress

RUNS, KILLS = 8, 20

WRITE = """
import pathlib, sys, time
from tests.index.logs import RunLog, process_of
root, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])
log, ranks = RunLog(root, run_id=f"run{number}"), [process_of(rank, 2) for rank in range(2)]
step = 0
while not (root.parent / "stop").exists():
    first = len(ranks[0].bounds) - 1
    for process in ranks:
        for each in range(step, step + 20):
            process.row({"loss": each / 2, "text": f"t{each}"} if each % 7 == 0 else {"loss": each / 2}, each)
    log.commit(*[(process, first, None) for process in ranks])
    if step % 400 == 0:
        log.close()  # another writer life goes on
    step += 20
    time.sleep(0.1)
for process in ranks:
    process.end()
log.commit(*[(process, len(process.bounds) - 2, None) for process in ranks])
log.end()
print(step)
"""

NOTEBOOK = """
import pathlib, sys
import numpy as np
from disttrack.index.indexer import Index
from disttrack.query.api import Api
root, out = pathlib.Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
index = Index(root, {}, cold_values=2_000, live_values=500)  # seals again and again
api = Api(root.parent)
known = {}
def is_prefix(run, rank, steps, losses):
    assert (steps == np.arange(len(steps))).all(), (run, rank, steps)
    assert (losses == steps / 2).all(), (run, rank)
    assert len(steps) >= known.get((run, rank), 0), (run, rank, len(steps))
    known[run, rank] = len(steps)
while not (root.parent / "enough").exists():
    index.catch_up(wait_s=0.05)
    for record in index.runs():
        blocks = [(block.places(), block.column("loss")) for block in index.snapshot(record).blocks]
        if blocks:
            src, steps = (
                np.concatenate([getattr(places, axis) for places, _ in blocks]) for axis in ("src", "step")
            )
            losses = np.concatenate([column for _, column in blocks])
            for each in np.unique(src).tolist():
                order = np.argsort(steps[src == each])
                is_prefix(record.run_id, f"source {each}", steps[src == each][order], losses[src == each][order])
    for run in api.runs():
        history = run.history(["loss"])
        for rank in np.unique(history["rank"]).tolist():
            mine = history["rank"] == rank
            is_prefix(run.id, rank, history["step"][mine], history["loss"][mine])
        out.write("answered\\n")
api.close()
index.close()
"""


@pytest.mark.real(timeout_s=150)
def test_three_readers_of_one_index_see_only_prefixes_while_runs_grow_and_one_is_killed(tmp_path: Path) -> None:
    """Two are the command line's processes, one after the other; one of them is killed 20 times. One is a notebook."""
    root = tmp_path / "disttrack-runs"
    root.mkdir()
    writers = [started(WRITE, root, str(number)) for number in range(RUNS)]
    chance = random.Random(0)
    answers = tmp_path / "answers"
    notebook = started(NOTEBOOK, root, str(answers))
    while len(list(root.glob("demo/*/log/000001.dtl"))) < RUNS:
        assert all(writer.poll() is None for writer in writers)
        time.sleep(0.01)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(asked_again_and_again, root)
        killed = 0
        while killed < KILLS:
            run = f"run{chance.randrange(RUNS)}"
            process = export(root, run)
            try:
                process.wait(chance.random() * 2 * other_s(tmp_path))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
            said, problems = process.communicate()
            assert process.returncode in (0, -signal.SIGKILL), problems
            is_prefix_of_ranks(said, run)
        (tmp_path / "stop").touch()
        steps = [int(writer.communicate()[0]) for writer in writers]
        (tmp_path / "enough").touch()
        assert other.result() > 0
    said, problems = notebook.communicate()
    assert (notebook.returncode, said) == (0, ""), problems
    assert answers.stat().st_size
    wanted = {f"run{number}": {0: steps[number], 1: steps[number]} for number in range(RUNS)}
    assert rows_by_rank(root) == wanted
    for path in root.glob("index*"):
        path.unlink()
    assert rows_by_rank(root) == wanted


def asked_again_and_again(root: Path) -> int:
    """Asks the command line for one run after the other until it is enough; returns how often."""
    asked = 0
    known: dict[str, dict[int, int]] = {}
    while not (root.parent / "enough").exists():
        run = f"run{asked % RUNS}"
        began = time.monotonic()
        process = export(root, run)
        said, problems = process.communicate()
        assert (process.returncode, beside_progress(problems)) == (0, ""), problems
        took_file(root.parent).write_text(str(time.monotonic() - began))
        now = is_prefix_of_ranks(said, run)
        assert all(now[rank] >= count for rank, count in known.get(run, {}).items()), (run, now, known[run])
        known[run] = now
        asked += 1
    return asked


def took_file(directory: Path) -> Path:
    return directory / "took"


def other_s(directory: Path) -> float:
    """Returns how long the last answer of the command line took: whoever is killed is killed half way."""
    return float(took_file(directory).read_text() or 0.5) if took_file(directory).exists() else 0.5


def export(root: Path, run: str) -> subprocess.Popen[str]:
    """Starts the command line's process that prints all values of a run."""
    command = [sys.executable, "-m", "disttrack", "export", run, "--keys", "loss", "--dir", str(root.parent)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def is_prefix_of_ranks(said: str, run: str) -> dict[int, int]:
    """Returns how many rows each rank has in an export, whose last line may be half there."""
    counts: dict[int, int] = {}
    for line in said.splitlines(keepends=True):
        if line.endswith("\n"):
            value = json.loads(line)
            assert value["run"] == run
            assert value["step"] == counts.get(value["rank"], 0), line
            assert value["value"] == value["step"] / 2, line
            counts[value["rank"]] = value["step"] + 1
    return counts


def started(program: str, root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, root, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def rows_by_rank(root: Path) -> dict[str, dict[int, int]]:
    """Returns how many different steps each rank of each run has, where no row is there twice."""
    index = Index(root, {})
    assert index.catch_up()
    found: dict[str, dict[int, int]] = {}
    for record in index.runs():
        steps: dict[int, list[int]] = {}
        for block in index.snapshot(record).blocks:
            places = block.places()
            for src, step in zip(places.src.tolist(), places.step.tolist(), strict=True):
                steps.setdefault(src, []).append(step)
        assert all(len(set(each)) == len(each) for each in steps.values())
        ranks = [source.join.rank.rank if source.join else -1 for source in record.sources]
        found[record.run_id] = {ranks[src]: len(each) for src, each in sorted(steps.items())}
    index.close()
    return {run: dict(sorted(ranks.items())) for run, ranks in found.items()}
