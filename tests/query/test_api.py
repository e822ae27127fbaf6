"""disttrack.Api, as a notebook uses it."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from disttrack.errors import RunNotFound
from disttrack.query.api import Api
from disttrack.query.listing import show_run
from disttrack.query.runs import RunDetail
from disttrack.settings import ROOT_NAME
from tests.index.logs import START_US, RunLog, finished_run, process_of


@pytest.fixture
def root() -> Path:
    return Path(os.environ["DISTTRACK_DIR"]) / ROOT_NAME


def test_runs_are_a_list_newest_first(root: Path) -> None:
    for number in range(3):
        log = RunLog(root, run_id=f"run{number}", project="ab"[number % 2])
        log.open(START_US + number)
        log.close()
    with Api() as api:
        runs = api.runs()
        assert [run.id for run in runs] == ["run2", "run1", "run0"]
        assert (len(runs), runs[0].id, runs[-1].id) == (3, "run2", "run0")
        assert [run.id for run in runs[1:]] == ["run1", "run0"]
        assert [run.id for run in api.runs("b")] == ["run1"]
        assert repr(runs) == f"<3 runs in {root}>"
        with pytest.raises(IndexError):
            runs[3]


def test_a_run_has_its_details_and_its_history(root: Path) -> None:
    finished_run(root, [(step, {"loss": 1 / (step + 1), "epoch": step // 2}) for step in range(4)])
    with Api(root.parent) as api:
        for run in (api.run("run1"), api.run("demo/run1"), api.runs()[0]):
            assert (run.state, run.summary, run.receipt.stored) == ("finished", {"epoch": 1, "loss": 0.25}, 4)
            history = run.history(["loss"], ranks=[0])
            assert history.keys() == {"rank", "attempt", "step", "time", "loss"}
            assert history["step"].tolist() == [0, 1, 2, 3]
            np.testing.assert_array_equal(history["loss"], 1 / np.arange(1, 5))
            assert run.history()["epoch"].dtype == np.int64


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_says_the_same_of_its_ranks_whenever_it_is_asked(root: Path, ends: bool) -> None:
    log, process = RunLog(root), process_of()
    log.admit(process)
    process.config(lr=0.1)
    process.row({"loss": 1.0}, 0)
    if ends:
        process.end()
    log.commit_all(process)
    with Api() as api:
        run = api.run("run1")
        then = show_run(root, "run1")
        if not ends:
            log.see(process, "crashed")  # seen after the run was asked for
            api.run("run1")
        for name in (field.name for field in fields(RunDetail)):
            if name not in ("duration_s", "ranks"):
                said = getattr(run, name)
                assert (said() if callable(said) else said) == getattr(then, name), name
        assert [replace(rank, last_seen_s=None) for rank in run.ranks] == [
            replace(rank, last_seen_s=None) for rank in then.ranks
        ]
        assert run.history()["loss"].tolist() == [1.0]


def test_every_call_sees_what_was_logged_up_to_then(root: Path) -> None:
    api = Api()
    assert len(api.runs()) == 0
    with pytest.raises(RunNotFound):
        api.run("run1")
    log, process = RunLog(root), process_of()
    for step in range(3):
        process.row({"loss": float(step)}, step)
        log.commit((process, step, step + 1))
        assert api.run("run1").history()["loss"].tolist() == [float(earlier) for earlier in range(step + 1)]
    assert api.runs()[0].ranks[0].rows == 3
    log.close()
    api.close()


def test_an_api_that_is_forgotten_lets_go_of_its_index(root: Path) -> None:
    finished_run(root, [(0, {"loss": 1.0})])
    assert len(Api().runs()) == 1  # a connection left open is a ResourceWarning, which fails this test (Python 3.13)
