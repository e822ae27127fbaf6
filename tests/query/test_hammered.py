"""Readers and writers at once, some of them killed: every answer is what was logged up to some moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from disttrack.index.indexer import Index

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
    time.sleep(0.02)
for process in ranks:
    process.end()
log.commit(*[(process, len(process.bounds) - 2, None) for process in ranks])
log.end()
print(step)
"""

READ_INDEX = """
import pathlib, sys
import numpy as np
from disttrack.index.indexer import Index
root, out = pathlib.Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
index = Index(root, {}, cold_values=2_000, live_values=int(sys.argv[3]))
known = {}
while not (root.parent / "enough").exists():
    index.catch_up(wait_s=0.05)
    for record in index.runs():
        found = {}
        blocks = index.snapshot(record).blocks
        for block in blocks:
            places, column = block.places(), block.column("loss")
            for src in np.unique(places.src).tolist():
                mine = places.src == src
                assert (places.step[mine] / 2 == column[mine]).all()
                found.setdefault(src, []).append(places.step[mine])
        for src, parts in found.items():
            steps = np.sort(np.concatenate(parts))
            assert (steps == np.arange(len(steps))).all(), (record.run_id, src, steps)
            key = (record.run_id, record.sources[src].incarnation if src < len(record.sources) else src)
            assert len(steps) >= known.get(key, 0), (key, len(steps), known[key])
            known[key] = len(steps)
        out.write("answered\\n")
"""

READ_API = """
import pathlib, sys
from disttrack.query.api import Api
root, out = pathlib.Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
known = {}
with Api(root.parent) as api:
    while not (root.parent / "enough").exists():
        for run in api.runs():
            history = run.history(["loss"])
            for rank in set(history["rank"].tolist()):
                steps = history["step"][history["rank"] == rank]
                assert steps.tolist() == list(range(len(steps))), (run.id, rank)
                assert (history["loss"] == history["step"] / 2).all()
                assert len(steps) >= known.get((run.id, rank), 0)
                known[run.id, rank] = len(steps)
            out.write("answered\\n")
"""


@pytest.mark.real(timeout_s=150)
def test_three_readers_of_one_index_see_only_prefixes_while_runs_grow_and_one_is_killed(tmp_path: Path) -> None:
    root = tmp_path / "disttrack-runs"
    root.mkdir()
    writers = [started(WRITE, root, str(number)) for number in range(RUNS)]
    chance = random.Random(0)
    answers = [tmp_path / f"answers{number}" for number in range(3)]
    readers = [started(READ_INDEX, root, str(answers[0]), "500"), started(READ_API, root, str(answers[1]))]
    for _ in range(KILLS):
        doomed = started(READ_INDEX, root, str(answers[2]), "100")
        before = answers[2].stat().st_size if answers[2].exists() else 0
        while not answers[2].exists() or answers[2].stat().st_size == before:
            assert doomed.poll() is None, doomed.communicate()
            time.sleep(0.01)
        time.sleep(chance.random() / 4)
        assert doomed.poll() is None, doomed.communicate()
        doomed.kill()
        doomed.communicate()
    (tmp_path / "stop").touch()
    steps = [int(writer.communicate()[0]) for writer in writers]
    (tmp_path / "enough").touch()
    for reader in readers:
        assert reader.wait() == 0, reader.communicate()
        reader.communicate()
    assert all(path.stat().st_size for path in answers)
    wanted = {f"run{number}": {0: steps[number], 1: steps[number]} for number in range(RUNS)}
    assert rows_by_rank(root) == wanted
    for path in root.glob("index*"):
        path.unlink()
    assert rows_by_rank(root) == wanted


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
