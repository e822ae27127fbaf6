"""One run being written: what is taken, when it is committed, and which attempt a rank belongs to."""

from pathlib import Path

import pytest

from benchmarks.rows import run_header
from disttrack.environments.endings import Ending
from disttrack.journal.segment import Frame, FrameKind, entries, read_frames, segment_paths
from disttrack.records.types import Join, Rank, RunId, Sighting, changed, new_incarnation
from disttrack.writer.ingest import RunIngest
from disttrack.writer.roster import Source
from tests.journal.joins import make_join


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def join(rank: int = 0, **fields: object) -> Join:
    made = changed(make_join(), incarnation=new_incarnation(), rank=Rank(rank=rank, world_size=4, source="test"))
    return changed(made, **fields)


def dead(_: Source) -> bool:
    return False


def living(_: Source) -> bool:
    return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(tmp_path: Path, clock: Clock) -> RunIngest:
    return RunIngest(tmp_path / "p" / "run", run_header("run", name="name-1"), clock)


def data_frames(run: RunIngest) -> list[list[tuple[int, bytes]]]:
    frames = [frame for path in segment_paths(run.directory / "log") for frame in read_frames(path)]
    return [
        [(entry.end, bytes(entry.data)) for entry in entries(frame)]
        for frame in frames
        if isinstance(frame, Frame) and frame.kind == FrameKind.DATA
    ]


def test_little_waits_for_half_a_second_and_a_kilobyte_for_a_tenth(run: RunIngest, clock: Clock) -> None:
    source = run.admit(join(), dead)
    assert run.due_in() is None
    run.receive(source, 0, b"x" * 100)
    assert run.due_in() == 0.5
    clock.now += 0.2
    assert run.due_in() == pytest.approx(0.3)
    run.commit()
    run.receive(source, 100, b"x" * 2000)
    assert run.due_in() == pytest.approx(0.1)
    clock.now += 0.2
    assert run.due_in() == 0.0


def test_what_is_urgent_or_much_is_due_at_once(run: RunIngest) -> None:
    source = run.admit(join(), dead)
    run.receive(source, 0, b"x", urgent=True)
    assert run.due_in() == 0.0
    run.commit()
    run.receive(source, 1, b"x" * (1 << 20))
    assert run.due_in() == 0.0


def test_bytes_sent_again_are_taken_once_and_after_a_gap_nothing_is(run: RunIngest) -> None:
    source = run.admit(join(), dead)
    run.receive(source, 0, b"abc")
    run.receive(source, 0, b"abc")
    run.receive(source, 0, b"abcdef")
    run.receive(source, 9, b"jkl")
    run.commit()
    assert (source.end, source.committed) == (6, 6)
    assert data_frames(run) == [[(6, b"abcdef")]]


def test_one_commit_is_one_frame_with_all_ranks_in_it(run: RunIngest) -> None:
    sources = [run.admit(join(rank), dead) for rank in range(4)]
    for source in sources:
        run.receive(source, 0, b"a")
        run.receive(source, 1, b"b")
    assert len(run.commit()) == 4
    assert data_frames(run) == [[(2, b"ab")] * 4]


def test_a_commit_beyond_a_mebibyte_is_split(run: RunIngest) -> None:
    source = run.admit(join(), dead)
    for piece in range(5):
        run.receive(source, piece * 400_000, b"x" * 400_000)
    run.commit()
    assert [[end for end, _ in frame] for frame in data_frames(run)] == [[800_000], [1_600_000], [2_000_000]]


def test_where_the_disk_takes_nothing_the_rank_is_asked_again_and_nothing_is_lost(
    run: RunIngest, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "p").write_text("in the way")
    source = run.admit(join(), dead)
    run.receive(source, 0, b"abc")
    with pytest.raises(OSError, match="p"):
        run.commit()
    assert (source.end, source.committed) == (0, 0)
    run.receive(source, 0, b"abc")
    assert run.due_in() is None  # not at once again
    (tmp_path / "p").unlink()
    clock.now += 2
    run.receive(source, 0, b"abc")
    run.commit()
    assert data_frames(run) == [[(3, b"abc")]]


def test_the_next_writer_goes_on_where_the_log_ends_in_a_segment_of_its_own(run: RunIngest, clock: Clock) -> None:
    who = join()
    source = run.admit(who, dead)
    run.receive(source, 0, b"abc")
    run.commit()
    run.close()
    after = RunIngest(run.directory, changed(run_header("run", name="name-1"), name="other-2", nonce="next"), clock)
    again = after.admit(who, dead)
    assert (again.end, after.header.name, after.header.nonce) == (3, "name-1", "next")
    after.receive(again, 0, b"abcdef")
    after.commit()
    assert len(segment_paths(run.directory / "log")) == 2
    assert data_frames(after) == [[(3, b"abc")], [(6, b"def")]]


def test_a_writer_heeds_what_others_store_of_whom_it_has_heard_nothing(run: RunIngest, clock: Clock) -> None:
    """A node boots again whose ranks another node's writer waits for: a command there stores how they ended."""
    silent, known = run.admit(join(0), dead), run.admit(join(1), dead)
    run.open([silent, known])
    run.close()
    after = RunIngest(run.directory, run_header("run", name="name-1"), clock)
    after.open([after.admit(known.join, living)])  # this one came again
    after.heed_others()
    assert not any(source.over for source in after.sources.values())
    other = RunIngest(run.directory, run_header("run", name="name-1"), clock)
    for source in list(other.sources.values()):
        other.see(source, Sighting(incarnation=source.join.incarnation, seen="crashed", time_us=1, signal=9))
        other.sync()
        clock.now += 1
        after.heed_others()
    other.close()
    over = [source for source in after.sources.values() if source.over]
    assert [(source.join.incarnation, source.ending) for source in over] == [
        (silent.join.incarnation, Ending(signal=9))
    ]
    assert after.changed_at == clock.now - 1
    after.close()


def test_the_next_writer_knows_that_a_run_is_an_alias(run: RunIngest, clock: Clock) -> None:
    run.open([run.admit(join(), dead)])
    run.become_alias(RunId("other"))
    run.close()
    after = RunIngest(run.directory, run_header("run", name="name-1"), clock)
    assert after.moved
    after.close()


def test_ends_are_stored_together_and_whoever_was_committed_with_them_is_acknowledged(run: RunIngest) -> None:
    sources = [run.admit(join(rank), dead) for rank in range(3)]
    for source in sources:
        run.receive(source, 0, b"a")
    for source in sources[:2]:
        run.see(source, Sighting(incarnation=source.join.incarnation, seen="ended", time_us=1, exit_code=0))
    assert [source.over for source in sources] == [True, True, False]
    assert not run.synced
    assert run.due_in() == 0.0
    assert set(run.commit()) == set(sources)
    assert run.synced
    assert run.due_in() is None
    assert [source.committed for source in sources] == [1, 1, 1]


def test_a_run_is_marked_live_until_it_ends_and_again_when_somebody_joins(run: RunIngest) -> None:
    source = run.admit(join(), dead)
    run.open([source])
    assert run.marker.exists()
    run.end()
    assert not run.marker.exists()
    run.open([run.admit(join(1), dead)])
    assert run.marker.exists()
    assert not run.ended


def test_ranks_of_one_launch_are_one_attempt(run: RunIngest) -> None:
    assert [run.admit(join(rank), living).admission.attempt for rank in (2, 0, 3, 1)] == [0, 0, 0, 0]


def test_a_rank_that_comes_again_after_its_death_opens_the_next_attempt_for_all(run: RunIngest) -> None:
    for rank in range(2):
        source = run.admit(join(rank), dead)
        run.see(source, Sighting(incarnation=source.join.incarnation, seen="crashed", time_us=1))
    assert [run.admit(join(rank), dead).admission.attempt for rank in (1, 0)] == [1, 1]


def test_other_restart_hints_open_the_next_attempt(run: RunIngest) -> None:
    run.admit(join(0), living)
    restarted = (("TORCHELASTIC_RESTART_COUNT", "1"),)
    assert run.admit(join(1, hints=restarted), living).admission.attempt == 1
    assert run.admit(join(0, hints=restarted), living).admission.attempt == 1


def test_a_second_living_process_of_a_rank_is_kept_apart(run: RunIngest) -> None:
    first = run.admit(join(0), living)
    second = run.admit(join(0, pid=first.join.pid + 1), living)
    assert (second.admission.attempt, second.admission.role) == (0, "claimant")


def test_a_program_executed_over_a_rank_is_its_next_attempt(run: RunIngest) -> None:
    run.admit(join(0), living)
    second = run.admit(join(0), living)
    assert (second.admission.attempt, second.admission.role) == (1, "rank")


def test_a_helper_belongs_to_its_parents_attempt(run: RunIngest) -> None:
    parent = run.admit(join(0), living)
    helper = run.admit(join(0, role="helper", parent=parent.join.incarnation), living)
    assert (helper.admission.attempt, helper.admission.role) == (0, "helper")


def test_a_launch_that_ended_well_is_not_taken_for_a_failed_one(run: RunIngest) -> None:
    source = run.admit(join(0), dead)
    assert not run.sources.finished_before(join(0))
    run.see(source, Sighting(incarnation=source.join.incarnation, seen="ended", time_us=1, exit_code=0))
    assert run.sources.finished_before(join(0))
    assert not run.sources.finished_before(join(1))  # a late rank of the same launch
