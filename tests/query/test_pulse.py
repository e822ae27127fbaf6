"""What a stream of events is made from: each look tells what came since the one before, and nothing else."""

from __future__ import annotations

from pathlib import Path

from disttrack.query.edits import delete_run, edit_run, new_edit
from disttrack.query.members import Observer
from disttrack.query.pulse import Beat, Pulse
from disttrack.query.reader import Reader
from tests.index.logs import RunLog, finished_run, process_of


def told(beat: Beat) -> list[tuple[str, str, int, bool, bool]]:
    return [(one.run, one.state, one.rows, one.about, one.is_new) for one in beat.changes]


def test_each_look_tells_what_came_since_the_one_before(tmp_path: Path) -> None:
    finished_run(tmp_path, [(0, {"a": 1.0})], run_id="old")
    with Reader(tmp_path) as reader:
        pulse = Pulse(reader, clock=lambda: 0.0)
        assert pulse.beat() == Beat([], [], False)
        assert pulse.beat() == Beat([], [], False)
        log, process = RunLog(tmp_path, run_id="new"), process_of()
        process.row({"a": 1.0}, 7)
        log.commit_all(process)
        beat = pulse.beat()
        assert told(beat) == [("demo/new", "running", 1, True, True)]
        assert (beat.live, beat.changes[0].last_step) == (True, 7)
        assert told(pulse.beat()) == []
        process.row({"a": 2.0}, 8)
        log.commit((process, 1, None))
        assert told(pulse.beat()) == [("demo/new", "running", 2, False, False)]
        process.end()
        log.commit((process, 2, None))
        log.end()
        log.close()
        assert told(pulse.beat()) == [("demo/new", "finished", 2, True, False)]
        beat = pulse.beat()
        assert (beat.changes, beat.live) == ([], False)
        edit_run(tmp_path, "demo/old", new_edit(name="other"))
        assert told(pulse.beat()) == [("demo/old", "finished", 1, True, False)]
        delete_run(tmp_path, "demo/old", do=True)
        assert pulse.beat().gone == [("demo/old", "demo")]
        assert pulse.beat() == Beat([], [], False)


def test_a_rank_that_dies_without_a_word_is_noticed_at_the_next_second_look(tmp_path: Path) -> None:
    now_s = 0.0
    log, process = RunLog(tmp_path), process_of()
    process.row({"a": 1.0}, 0)
    log.commit_all(process)
    with Reader(tmp_path) as reader:
        pulse = Pulse(reader, clock=lambda: now_s)
        assert pulse.beat().live
        log.marker.unlink()  # as the writer does that ends: nobody says anything of the run any more
        now_s = 1.0
        assert told(pulse.beat()) == []
        now_s = 3.0
        assert told(pulse.beat()) == [("demo/run1", "unknown", 1, True, False)]
    log.close()


def test_an_index_that_is_built_anew_makes_no_run_come_or_go(tmp_path: Path) -> None:
    for name in ("a", "b"):
        finished_run(tmp_path, [(0, {"a": 1.0})], run_id=name)
    with Reader(tmp_path) as reader:
        pulse = Pulse(reader, clock=lambda: 0.0)
        pulse.beat()
        delete_run(tmp_path, "demo/a", do=True)
        assert pulse.beat().gone == [("demo/a", "demo")]
        for file in tmp_path.glob("index-*"):
            file.unlink()
        beat = pulse.beat()  # b has a's number now
        assert beat.gone == []
        assert {change.run for change in beat.changes} <= {"demo/b"}
        assert [run.row.id for run in reader.subjects([1, 2], Observer.here(tmp_path)).values()] == ["b"]


def test_the_versions_of_all_runs_are_read_again_once_somebody_wrote_to_the_index(tmp_path: Path) -> None:
    finished_run(tmp_path, [(0, {"loss": 1.0})], "one")
    with Reader(tmp_path) as reader, Reader(tmp_path) as other:
        reader.catch_up()
        other.catch_up()
        first = reader.versions()
        assert reader.versions() is first
        assert len(first) == 1
        finished_run(tmp_path, [(0, {"loss": 1.0})], "two")
        other.catch_up()  # through another connection
        second = reader.versions()
        assert len(second) == 2
        finished_run(tmp_path, [(0, {"loss": 1.0})], "three")
        reader.catch_up()  # through this one
        assert len(reader.versions()) == 3
        assert reader.versions([]) == {}
