"""What a run says of itself, and what can be set of it: nothing of it raises into training."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import disttrack
from disttrack.query.runs import RunDetail
from tests.road.site import Site

ENDED = """
import disttrack

for number in range(3):
    run = disttrack.init(project="p")
    run.log({"a": number})
    run.end()
"""


@pytest.fixture(autouse=True)
def finished() -> Iterator[None]:
    """Ends the run that a test left open."""
    yield
    disttrack.finish()


def test_everything_that_can_be_read_of_a_run(tmp_path: Path) -> None:
    with disttrack.init(project="p", id="mine", dir=str(tmp_path), tags="one", mode="offline") as run:
        run.log({"a": 1}, step=4)
        assert (run.id, run.path, run.tags, run.notes) == ("mine", "p/mine", ("one",), None)
        assert (run.rank, run.world_size, run.attempt, run.step) == (0, 1, 0, 4)
        assert (run.resumed, run.offline, run.disabled, run.finished, run.starting_step) == (
            *(False, True, False, False),
            0,
        )
        assert (run.entity, run.url, run.project_url, run.sweep_id, run.sweep_url) == (None,) * 5
        assert run.node == os.uname().nodename
        assert run.settings.project == "p"
        assert Path(run.dir) == tmp_path / "disttrack-runs" / "p" / "mine" / "files"
        (Path(run.dir) / "note.txt").write_text("kept beside the log")
        assert Path(run.sync_dir, "log").is_dir()
    assert run.finished
    assert (tmp_path / "disttrack-runs" / "p" / "mine" / "files" / "note.txt").is_file()


def test_a_run_that_is_set_back_from_being_disabled_to_scratch_files_still_has_a_directory() -> None:
    run = disttrack.init(mode="disabled")
    assert Path(run.dir).is_dir()
    assert run.dir == run.dir
    os.rmdir(run.dir)


@pytest.mark.parametrize("name", ["id", "group", "job_type", "project", "rank", "attempt"])
def test_what_a_run_was_opened_with_cannot_be_set(name: str) -> None:
    run = disttrack.init(mode="disabled")
    with pytest.raises(AttributeError):
        setattr(run, name, "other")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("summry", "Did you mean summary"),
        ("get_url", r"Use run\.url"),
        ("project_name", r"Use run\.project"),
        ("join", r"Use run\.finish\(\)"),
        ("zzzzzz", "A run has no attribute 'zzzzzz'"),
    ],
)
def test_an_attribute_that_is_not_there_is_answered_with_the_near_ones(name: str, says: str) -> None:
    run = disttrack.init(mode="disabled")
    with pytest.raises(AttributeError, match=says):
        getattr(run, name)
    assert not hasattr(run, name)


def open_run(**settings: Any) -> disttrack.Run:
    return disttrack.init(project="p", id="mine", name="given", tags=["a"], settings=settings)


def stored() -> RunDetail:
    return disttrack.Api().run("mine")  # type: ignore[return-value]  # a RunView has all of it


def test_labels_that_are_set_are_stored_and_read_back() -> None:
    run = open_run()
    run.name = run.id
    run.notes = "several\nlines"
    run.tags = "new"
    assert (run.name, run.notes, run.tags) == ("mine", "several\nlines", ("new",))
    run.notes = None
    run.finish()
    assert (stored().name, stored().notes, stored().tags) == ("mine", None, ["new"])


def test_labels_that_are_none_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    run = open_run()
    with caplog.at_level(logging.WARNING, "disttrack"):
        for label, value in [("name", 3), ("notes", object()), ("tags", [1]), ("tags", 5), ("name", "x" * 20_000)]:
            setattr(run, label, value)
    assert (run.name, run.notes, run.tags) == ("given", None, ("a",))
    assert len([record for record in caplog.records if "stays as it is" in record.getMessage()]) == 5
    run.name = "half \ud800"
    run.finish()
    assert stored().name == "half \\ud800"


def test_strict_settings_raise_for_a_label_that_is_none() -> None:
    run = open_run(strict=True)
    with pytest.raises(ValueError, match=r"run\.name stays as it is"):
        run.name = 3  # type: ignore[assignment]


def test_what_comes_after_finish_is_ignored_and_said(caplog: pytest.LogCaptureFixture) -> None:
    run = open_run()
    run.finish()
    with caplog.at_level(logging.WARNING, "disttrack"):
        run.name = "late"
        run.alert("late")
        run.summary["late"] = 1
    assert run.name == "given"
    told = [record.getMessage() for record in caplog.records]
    assert [sum(kind in text for text in told) for kind in ("LabelUpdate", "Alert", "SummaryUpdate")] == [1, 1, 1]
    assert stored().name == "given"


def test_alerts_are_stored_and_those_of_one_title_counted() -> None:
    run = open_run()
    disttrack.alert("loss is nan", "at step 3", level="error")
    disttrack.alert("loss is nan")
    disttrack.alert("loss is nan", wait_duration=0, level=disttrack.AlertLevel.WARN)
    disttrack.alert("other", wait_duration=timedelta(seconds=5))
    disttrack.alert("hub", "token hf_" + "a1B2" * 10)
    run.finish()
    alerts = {(alert.level, alert.title, alert.text) for alert in stored().alerts}
    assert alerts == {
        ("ERROR", "loss is nan", "at step 3"),
        ("WARN", "loss is nan", "(1 more of this title since the one before)"),
        ("INFO", "other", ""),
        ("INFO", "hub", "token [redacted]"),
    }


def test_an_odd_alert_is_kept_and_said(caplog: pytest.LogCaptureFixture) -> None:
    run = open_run()
    with caplog.at_level(logging.WARNING, "disttrack"):
        run.alert(3, level="loud", wait_duration="soon")  # type: ignore[arg-type]
    run.finish()
    assert [(alert.level, alert.title) for alert in stored().alerts] == [("WARN", "3")]
    assert len(caplog.records) == 2


def test_status_is_the_receipt_so_far() -> None:
    run = open_run()
    run.log({"a": 1})
    so_far = run.status()
    assert so_far.logged == 1 == so_far.stored + so_far.pending + so_far.dropped
    receipt = run.finish()
    assert run.status() == receipt
    assert disttrack.init(mode="disabled").status().logged == 0


def test_a_run_that_is_preempted_says_so() -> None:
    run = open_run()
    disttrack.mark_preempting()
    run.finish(143)
    assert stored().state == "preempted"


def test_a_run_that_somebody_stops_says_so_and_goes_on_in_its_attempt() -> None:
    run = open_run(id="trial")
    run.mark_stopped()
    run.finish()
    assert (stored().state, stored().attempt) == ("stopped", 0)
    again = open_run(id="trial")
    assert again.attempt == 0
    again.mark_stopped()
    again.finish(1)  # it failed before it was stopped
    assert (stored().state, stored().attempt) == ("failed", 0)


def test_a_run_that_has_ended_is_waited_for_where_its_next_incarnation_opens_and_nowhere_else() -> None:
    run = open_run()
    run.log({"a": 1})
    run.mark_stopped()
    run.end()
    assert run.finished
    run.log({"a": 2})  # said once, and counted
    other = disttrack.init(project="p")
    assert disttrack.run is other
    again = disttrack.init(project="p", id="mine", reinit="create_new")
    assert run.status().stored == 1, "it is stored before another incarnation of its rank is heard of"
    assert (again.attempt, again.rank) == (0, 0)
    again.finish()
    other.finish()
    receipt = run.finish()
    assert (receipt.logged, receipt.stored, receipt.dropped) == (2, 1, 1)
    assert [(rank.state, rank.attempt) for rank in stored().ranks] == [("finished", 0)]


def test_a_run_that_ended_and_was_not_finished_is_whole_once_the_process_has_ended(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.python(site.script(ENDED))
    assert {(run["state"], run["summary"]["a"]) for run in site.ls()} == {("finished", number) for number in range(3)}


def test_finish_is_quiet_where_it_is_asked_to_be(capfd: pytest.CaptureFixture[str]) -> None:
    open_run().finish(quiet=True)
    assert capfd.readouterr().err == ""
