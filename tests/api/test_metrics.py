"""define_metric and what run.summary makes of it in the rank itself: the same as its readers see."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

import disttrack


@pytest.fixture
def run() -> Iterator[disttrack.Run]:
    run = disttrack.init(project="p", id="mine")
    yield run
    run.finish()


def test_the_rank_and_its_readers_see_the_same_summary(run: disttrack.Run) -> None:
    run.log({"loss": 4.0, "acc": 0.25, "debug": 1})
    run.define_metric("*", summary="min,max,mean,first,last")
    disttrack.define_metric("acc", summary=["best"], goal="maximize")
    run.define_metric("debug", summary="none")
    for loss, acc in [(1.0, 0.5), (float("nan"), 0.75), (3.0, 0.5)]:
        run.log({"loss": loss, "acc": acc, "debug": 2})
    run.summary["loss"] = 99
    run.summary["acc.best"] = 1
    own = dict(run.summary)
    assert own == {
        "acc": 0.5,
        "acc.best": 1,
        "loss": 99,
        "loss.min": 1.0,
        "loss.max": 4.0,
        "loss.mean": 8 / 3,
        "loss.first": 4.0,
        "loss.last": 99,
    }
    run.log({"loss": 0.5})
    assert (run.summary["loss"], run.summary["loss.min"], run.summary["loss.max"]) == (0.5, 0.5, 4.0)
    own = dict(run.summary)
    run.finish()
    with disttrack.Api() as api:
        assert api.run("mine").summary == own
    assert "debug" not in run.summary
    with pytest.raises(KeyError):
        run.summary["debug"]


def test_rows_at_one_step_are_one_value(run: disttrack.Run) -> None:
    run.define_metric("loss", summary="mean,max")
    for value in (9.0, 1.0):
        run.log({"loss": value}, step=3)
    run.log({"loss": 3.0}, step=4)
    assert (run.summary["loss.mean"], run.summary["loss.max"]) == (2.0, 3.0)


def test_a_forked_child_has_aggregates_of_what_it_logs(run: disttrack.Run) -> None:
    run.define_metric("loss", summary="min")
    run.log({"loss": 1.0})
    assert run.summary["loss.min"] == 1.0
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        run.log({"loss": 7.0})
        run.log({"loss": 8.0})
        os.write(write, repr(dict(run.summary)["loss.min"]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 100) == b"7.0"
    os.close(read)
    os.close(write)
    assert run.summary["loss.min"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": ""}, "must be a str"),
        ({"name": 3}, "must be a str"),
        ({"name": "a", "step_metric": 3}, "step_metric=3"),
        ({"name": "a", "step_metric": "b*"}, "step_metric='b\\*'"),
        ({"name": "a", "summary": "min,median"}, "'median'"),
        ({"name": "a", "summary": 3}, "summary=3"),
        ({"name": "a", "goal": "up"}, "goal='up'"),
        ({"name": "a", "summary": "best"}, "needs a goal"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_said(
    arguments: dict[str, Any], says: str, run: disttrack.Run, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "disttrack"):
        definition = run.define_metric(**arguments)
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert re.search(says, caplog.records[0].getMessage())
    assert (definition is None) is (says == "must be a str")


def test_a_definition_is_what_was_said_with_its_defaults(run: disttrack.Run) -> None:
    epoch = run.define_metric("epoch", hidden=True)
    found = run.define_metric("val/*", step_metric=epoch, summary="copy, min", goal="max")  # type: ignore[arg-type]
    assert found is not None
    assert (found.step_metric, found.step_sync, found.summary, found.goal) == (
        "epoch",
        True,
        ("last", "min"),
        "maximize",
    )
