"""Every row of docs/coming-from-wandb.md that is about log and about the run: it is as the page says."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrack
from disttrack.errors import ConfigError
from disttrack.query.api import RunView

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-wandb.md"
VERDICTS = {"same", "better", "refused"}

#: What the script does; then, after `yield`, what its reader finds.
Row = Generator[None, RunView, None]
LOG: dict[str, Callable[[disttrack.Run, list[str]], Row]] = {}
RUN: dict[str, Callable[[disttrack.Run, list[str]], Row]] = {}


def row(item: str, table: dict[str, Any]) -> Callable[[Any], Any]:
    def noted(check: Any) -> Any:
        table[item] = check
        return check

    return noted


def points(view: RunView, *keys: str) -> dict[int, list[Any]]:
    """Returns by step what each key has there; None where it has nothing."""
    history = view.history(list(keys))
    columns = [[None if value != value else value for value in history[key].tolist()] for key in keys]
    return dict(zip(history["step"].tolist(), map(list, zip(*columns, strict=True)), strict=True))


# log


@row("`log(data)`", LOG)
def plain_rows(run: disttrack.Run, said: list[str]) -> Row:
    first = run.step
    run.log({"plain": 1})
    run.log({"plain": 2})
    assert run.step == first + 2
    view = yield
    assert points(view, "plain") == {first: [1], first + 1: [2]}


@row("`commit=False`", LOG)
def open_rows(run: disttrack.Run, said: list[str]) -> Row:
    first = run.step
    run.log({"open a": 1, "open b": 1}, commit=False)
    assert run.step == first
    run.log({"open b": 2})
    assert run.step == first + 1
    view = yield
    assert points(view, "open a", "open b") == {first: [1, 2]}


@row("`step=N`", LOG)
def named_steps(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"named": 1}, step=100)
    assert run.step == 100
    run.log({"named too": 1}, step=100, commit=True)
    assert run.step == 101
    view = yield
    assert points(view, "named", "named too") == {100: [1, 1]}


@row("a greater step", LOG)
def gaps(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"gap": 1}, step=200)
    run.log({"gap": 2}, step=300)
    view = yield
    assert points(view, "gap") == {200: [1], 300: [2]}


@row("a step that is closed", LOG)
def closed_steps(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"closed": 1, "stays": 1}, step=400, commit=True)
    run.log({"closed": 2, "joins": 3}, step=400)
    view = yield
    assert points(view, "closed", "stays", "joins") == {400: [2, 1, 3]}


@row("a lower step", LOG)
def lower_steps(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"low": 1}, step=500)
    run.log({"low": 2}, step=7)
    assert run.step == 500
    view = yield
    assert points(view, "low") == {7: [2], 500: [1]}


@row("`log(data)` after `step=5`", LOG)
def after_a_named_step(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"after": 4}, step=600)
    run.log({"other": 5}, step=600)
    run.log({"after": 6})
    assert run.step == 601
    view = yield
    assert points(view, "after", "other") == {600: [6, 5]}


@row("kinds of step", LOG)
def kinds_of_step(run: disttrack.Run, said: list[str]) -> Row:
    for step in (np.int32(700), 701.0, np.float32(702), True + 702):
        run.log({"kind": 1}, step=step)  # type: ignore[arg-type]
    dropped = run.status().dropped
    no_steps: list[Any] = [2.5, "703", [], float("nan")]
    for bad in no_steps:
        run.log({"kind": 1}, step=bad)
    assert run.status().dropped == dropped + 4
    assert sum("whole number" in text for text in said) == 4
    view = yield
    assert sorted(points(view, "kind")) == [700, 701, 702, 703]


@row("negative steps", LOG)
def negative_steps(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"negative": 1}, step=-3)
    view = yield
    assert points(view, "negative") == {-3: [1]}


@row("keys and data", LOG)
def keys_and_data(run: disttrack.Run, said: list[str]) -> Row:
    dropped = run.status().dropped
    run.log({"neighbour": 1, 5: 2}, step=800)  # type: ignore[dict-item]
    run.log([1, 2])  # type: ignore[arg-type]
    assert run.status().dropped == dropped + 1
    assert any("a key must be a str" in text for text in said)
    assert any("takes a dict" in text for text in said)
    view = yield
    assert points(view, "neighbour") == {800: [1]}


@row("an empty dict", LOG)
def empty_dicts(run: disttrack.Run, said: list[str]) -> Row:
    step, logged = run.step, run.status().logged
    run.log({})
    assert (run.step, run.status().logged) == (max(step, 800) + 1, logged + 1)
    yield


@row("automatic columns", LOG)
def automatic_columns(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"auto": 1}, step=900)
    view = yield
    history = view.history(["auto", "_step", "_timestamp", "_runtime"])
    assert history["step"].tolist() == history["_step"].tolist() == [900]
    assert history["time"].tolist() == history["_timestamp"].tolist()
    assert 0 <= history["_runtime"][0] < 3_600
    assert set(view.history(["_step"])) == {"rank", "attempt", "step", "time", "_step"}


@row("nested dicts", LOG)
def nested_dicts(run: disttrack.Run, said: list[str]) -> Row:
    nested: dict[str, Any] = {"y": {"z": 1}}
    nested["self"] = nested
    run.log({"x": nested}, step=1_000)
    assert any("contains itself" in text for text in said)
    view = yield
    assert points(view, "x.y.z") == {1_000: [1]}


@row("values", LOG)
def values(run: disttrack.Run, said: list[str]) -> Row:
    kept: dict[str, Any] = {
        "v nan": float("nan"),
        "v inf": -float("inf"),
        "v none": None,
        "v text": "é",
        "v big": 2**90,
        "v tuple": (1, 2),
        "v scalar": np.float32(0.5),
        "v 0-d": np.array(3),
        "v small": np.arange(3),
    }
    run.log({**kept, "v object": object()}, step=1_100)
    assert any("'v object'" in text for text in said)
    view = yield
    assert view.summary["v big"] == 2**90
    assert [view.summary[key] for key in ("v inf", "v none", "v text", "v tuple", "v scalar", "v 0-d", "v small")] == [
        *(-float("inf"), None, "é", [1, 2], 0.5, 3),
        [0, 1, 2],
    ]
    assert view.summary["v nan"] != view.summary["v nan"]
    assert "v object" not in view.summary


@row("`run.step`", LOG)
def the_next_step(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"next": 1}, step=1_200, commit=True)
    assert run.step == 1_201
    yield


@row("after `finish()`", LOG)
def after_finish(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"before the end": 1}, step=1_300)
    run.config["kept"] = 1
    yield
    said.clear()
    run.log({"late": 1})
    run.log({"late": 2})
    assert len([text for text in said if "after finish()" in text]) == 1
    assert (run.config["kept"], run.summary["before the end"]) == (1, 1)
    assert "late" not in run.summary


@row("before `init()`", LOG)
def before_init(run: disttrack.Run, said: list[str]) -> Row:
    """Held by tests/api/test_init.py, in a process of its own."""
    tests = (Path(__file__).parents[1] / "api" / "test_init.py").read_text()
    assert "def test_module_level_calls_before_init_say_which_line_to_add" in tests
    yield


@row("how often", LOG)
def how_often(run: disttrack.Run, said: list[str]) -> Row:
    for step in range(2_000, 4_000):
        run.log({"often": step}, step=step)
    view = yield
    assert len(points(view, "often")) == 2_000


# The run


@row("`define_metric`", RUN)
def definitions(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"val/early/acc": 0.25})
    run.define_metric("val/*/acc", summary="best", goal="maximize")
    run.log({"val/early/acc": 0.125})
    run.define_metric("", summary="min")
    run.define_metric("x", summary="median")
    assert any("must be a str that is not empty" in text for text in said)
    assert any("'median' is ignored" in text for text in said)
    view = yield
    assert view.summary["val/early/acc.best"] == 0.25
    assert ("val/*/acc", ["best"], "maximize") in [(one.name, one.summary, one.goal) for one in view.metrics]


@row("`step_metric`, `step_sync`", RUN)
def step_metrics(run: disttrack.Run, said: list[str]) -> Row:
    run.define_metric("score", step_metric="epoch")
    run.log({"epoch": 1})
    run.log({"score": 5.0})
    view = yield
    history = view.history(["score"])
    assert (history["epoch"].tolist(), history["score"].tolist()[1:]) == ([1.0, 1.0], [5.0])


@row("aggregates", RUN)
def aggregates(run: disttrack.Run, said: list[str]) -> Row:
    run.define_metric("loss", summary="min,max,mean,first,last,best", goal="minimize")
    for loss in (3.0, 1.0, 2.0):
        run.log({"loss": loss})
    wanted = {"min": 1.0, "max": 3.0, "mean": 2.0, "first": 3.0, "last": 2.0, "best": 1.0}
    assert (run.summary["loss"], {name: run.summary[f"loss.{name}"] for name in wanted}) == (2.0, wanted)
    view = yield
    assert (view.summary["loss"], {name: view.summary[f"loss.{name}"] for name in wanted}) == (2.0, wanted)
    with disttrack.Api() as api:
        assert [found.id for found in api.runs(filters="loss.min<2", order="loss.min")] == [view.id]


@row("a summary value set by hand", RUN)
def set_by_hand(run: disttrack.Run, said: list[str]) -> Row:
    run.define_metric("hand", summary="max,min")
    for value in (1.0, 7.0):
        run.log({"hand": value})
    run.summary["hand"] = 99
    run.summary["hand.min"] = -5
    assert run.summary["hand"] == 99
    run.log({"hand": 3.0})
    view = yield
    assert [view.summary[key] for key in ("hand", "hand.max", "hand.min")] == [3.0, 7.0, -5]


@row('`summary="none"`', RUN)
def no_summary(run: disttrack.Run, said: list[str]) -> Row:
    run.define_metric("noise", summary="none")
    run.log({"noise": 1.0})
    assert "noise" not in run.summary
    view = yield
    assert "noise" not in view.summary
    assert len(points(view, "noise")) == 1


@row("`run.summary`", RUN)
def own_summary(run: disttrack.Run, said: list[str]) -> Row:
    run.summary.update({"outer": {"inner": 1}})
    run.summary.by_attribute = 2
    run.summary["gone"] = 3
    del run.summary["gone"]
    assert (run.summary["outer.inner"], run.summary.by_attribute, run.summary.get("gone")) == (1, 2, None)
    with pytest.raises(AttributeError, match="no key 'missing'"):
        _ = run.summary.missing
    view = yield
    assert (view.summary["outer.inner"], view.summary["by_attribute"], "gone" in view.summary) == (1, 2, False)


@row("`run.config`", RUN)
def own_config(run: disttrack.Run, said: list[str]) -> Row:
    run.config.update({"lr": 0.1})
    run.config.seed = 3
    run.config.setdefaults({"lr": 9, "width": 4})
    with pytest.raises(ConfigError):
        run.config["lr"] = 0.2
    run.config.update({"lr": 0.2}, allow_val_change=True)
    assert run.config.as_dict() == {"lr": 0.2, "seed": 3, "width": 4}
    view = yield
    assert view.config == {"lr": 0.2, "seed": 3, "width": 4}


@row("`run.name`, `run.notes`, `run.tags`", RUN)
def labels(run: disttrack.Run, said: list[str]) -> Row:
    run.name, run.notes, run.tags = "renamed", "some\nnotes", ("a", "b")
    run.tags = [1]  # type: ignore[list-item]
    assert any("run.tags stays as it is" in text for text in said)
    run.tags = "abc"
    assert (run.name, run.notes, run.tags) == ("renamed", "some\nnotes", ("abc",))
    view = yield
    assert (view.name, view.notes, view.tags) == ("renamed", "some\nnotes", ["abc"])
    assert view.edit(name="by a person").name == "by a person"


@row("what cannot be set", RUN)
def what_cannot_be_set(run: disttrack.Run, said: list[str]) -> Row:
    for name in ("id", "group", "job_type", "project"):
        with pytest.raises(AttributeError):
            setattr(run, name, "other")
    yield


@row("what can be read", RUN)
def what_can_be_read(run: disttrack.Run, said: list[str]) -> Row:
    names = (
        "id name project entity group job_type path url project_url sweep_id sweep_url dir sync_dir settings "
        "start_time starting_step resumed offline disabled step rank local_rank world_size node attempt "
        "config summary notes tags"
    )
    found = {name: getattr(run, name) for name in names.split()}
    assert (found["path"], found["url"], found["resumed"], found["attempt"]) == ("p/mine", None, False, 0)
    assert Path(found["dir"]).is_dir()
    yield


@row("an unknown attribute", RUN)
def unknown_attributes(run: disttrack.Run, said: list[str]) -> Row:
    with pytest.raises(AttributeError, match="Did you mean summary"):
        _ = run.sumary
    with pytest.raises(AttributeError, match=r"Use run\.url"):
        _ = run.get_url
    yield


@row("`run.alert`", RUN)
def alerts(run: disttrack.Run, said: list[str]) -> Row:
    run.alert("diverged", "at step 3", level="ERROR")
    run.alert("diverged")
    run.alert("odd", level="loud", wait_duration="long")  # type: ignore[arg-type]
    assert any("kept as WARN" in text for text in said)
    view = yield
    assert {(alert.title, alert.level) for alert in view.alerts} == {("diverged", "ERROR"), ("odd", "WARN")}


@row("`run.mark_preempting`", RUN)
def preempting(run: disttrack.Run, said: list[str]) -> Row:
    run.mark_preempting()
    view = yield
    assert view.state == "preempted"  # it ends with exit code 143


@row("`run.status()`", RUN)
def status(run: disttrack.Run, said: list[str]) -> Row:
    so_far = run.status()
    assert so_far.logged > 0
    assert so_far.logged == so_far.stored + so_far.pending + so_far.dropped
    yield


@row("`finish(exit_code)`", RUN)
def finishing(run: disttrack.Run, said: list[str]) -> Row:
    view = yield
    assert run.finish(0) is run.finish()
    assert view.ranks[0].exit_code == 143


@row("`with`", RUN)
def contexts(run: disttrack.Run, said: list[str]) -> Row:
    yield
    with pytest.raises(ValueError, match="bad batch"), disttrack.init(project="p", id="within"):
        raise ValueError("bad batch")
    with disttrack.Api() as api:
        failure = api.run("within").first_failure
    assert failure is not None
    assert (failure.exit_code, failure.exception) == (1, "ValueError: bad batch")


@row("a run in a child process", RUN)
def children(run: disttrack.Run, said: list[str]) -> Row:
    """Logging by children is held by tests/road/test_children.py."""
    assert b"attach" in pickle.dumps(run)
    yield


def rows_of(title: str) -> dict[str, str]:
    """Returns the verdict of each row of a section of the page."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    cells = [line.strip("|").split(" | ") for line in found[1].splitlines() if line.startswith("| ")]
    return {first.strip(): last.strip() for first, *_, last in cells[1:]}


@pytest.mark.parametrize(("title", "table"), [("log", LOG), ("The run", RUN)])
def test_every_row_of_the_page_has_its_check_and_a_verdict(title: str, table: dict[str, Any]) -> None:
    rows = rows_of(title)
    assert list(rows) == list(table)
    assert set(rows.values()) <= VERDICTS


@pytest.mark.real(timeout_s=90)
@pytest.mark.parametrize("table", [LOG, RUN], ids=["log", "run"])
def test_every_row_is_as_the_page_says(table: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener()
    logging.getLogger("disttrack").addHandler(listener)
    try:
        run = disttrack.init(project="p", id="mine")
        checks = {item: check(run, said) for item, check in table.items()}
        for check in checks.values():
            next(check)
        run.finish(143 if table is RUN else 0)
        with disttrack.Api() as api:
            for item, check in checks.items():
                with pytest.raises(StopIteration):  # whatever is not as it should be is another error
                    check.send(api.run("mine"))
                assert item
    finally:
        logging.getLogger("disttrack").removeHandler(listener)
