"""The runs of one launch: found again by the next writer, and the journals of the dead brought home."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from disttrack.environments.endings import UNKNOWN, Ending
from disttrack.environments.host import boot_id, process_start_time
from disttrack.environments.launch import own_key
from disttrack.journal.deaths import note_death, noted_death
from disttrack.journal.directories import is_home, note_place
from disttrack.journal.outbox import Outbox
from disttrack.journal.segment import Frame, FrameKind, read_frames, segment_paths
from disttrack.records.codec import RowEncoder, encode
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Join, Rank, Role, RunId, Sighting, changed, new_incarnation
from disttrack.transport.rendezvous import Claim
from disttrack.writer.launch import Launch
from disttrack.writer.node import Node
from tests.environments.test_endings import kernel_tells_of_the_reaped, start
from tests.journal.joins import make_join

KEY = own_key()


def launch(tmp_path: Path) -> Launch:
    claim = Claim(tmp_path / "runtime", KEY)
    assert claim.take()
    return Launch(tmp_path / "runtime", KEY, claim, "nonce")


def join(tmp_path: Path, pid: int | None = None, **fields: object) -> Join:
    """Return the Join of a living process (this one), or of a dead one."""
    incarnation = new_incarnation()
    pid = os.getpid() if pid is None else pid
    made = changed(
        make_join(),
        incarnation=incarnation,
        launch_key=KEY,
        root=str(tmp_path / "root"),
        journal=str(tmp_path / "journals" / f"{incarnation:016x}"),
        own_id=RunId(f"{incarnation:08x}"),
        given_id=None,
        boot_id=boot_id(),
        pid=pid,
        start_time=process_start_time(pid),
    )
    return changed(made, **fields)


def dead_pid() -> int:
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    assert process.pid is not None
    return process.pid


def journal(tmp_path: Path, who: Join, rows: int, exit_code: int | None = None) -> Outbox:
    note_place(tmp_path / "runtime", tmp_path / "journals")
    outbox = Outbox(Path(who.journal), who)
    encoder = RowEncoder()
    for step in range(rows):
        outbox.append(encoder.encode({"a": step}, step, 1, 1, []), 1)
    if exit_code is not None:
        outbox.append(encode(RecordKind.END, End(exit_code=exit_code, logged=rows, dropped=0, time_us=1)), 0)
    return outbox


def test_the_next_writer_of_a_launch_gives_the_same_run(tmp_path: Path) -> None:
    first = launch(tmp_path)
    run, _ = first.admit(join(tmp_path))
    first.close()
    second = launch(tmp_path)
    again, source = second.admit(join(tmp_path, ordinal=0))
    assert again.header.run_id == run.header.run_id
    assert (source.admission.role, source.admission.attempt) == ("rank", 1)  # by this process, which was it already
    other, _ = second.admit(join(tmp_path, ordinal=1))
    assert other.header.run_id != run.header.run_id
    second.close()


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize("role", ["helper", "node"])
def test_who_speaks_for_a_rank_whose_run_has_ended_belongs_to_that_run(
    tmp_path: Path, exit_code: int, role: Role
) -> None:
    rank = join(tmp_path, dead_pid())
    journal(tmp_path, rank, rows=3, exit_code=exit_code).close()
    first = launch(tmp_path)
    ((run, _, _),) = first.adopt()
    first.end_run(run)
    first.close()
    (tmp_path / "runtime" / "claims").rename(tmp_path / "forgotten")  # as where the launcher is gone
    second = launch(tmp_path)
    late = join(tmp_path, role=role, parent=rank.incarnation, own_id=rank.own_id)
    again, source = second.admit(late)
    assert again.header.run_id == run.header.run_id
    assert (source.admission.role, source.admission.attempt) == (role, 0)
    second.close()


def test_names_are_numbered_within_a_project_and_a_group_is_made_for_a_distributed_launch(tmp_path: Path) -> None:
    here = launch(tmp_path)
    one, _ = here.admit(join(tmp_path, ordinal=0, group=None))
    two, _ = here.admit(join(tmp_path, ordinal=1, group=None))
    assert one.header.name.endswith("-1")
    assert two.header.name.endswith("-2")
    assert one.header.group == two.header.group
    here.close()


def test_the_journal_of_a_rank_that_never_met_a_writer_is_adopted_with_every_row(tmp_path: Path) -> None:
    who = join(tmp_path, dead_pid())
    journal(tmp_path, who, rows=10)
    here = launch(tmp_path)
    ((run, source, offset),) = here.adopt(orphans=True)
    assert (offset, source.over, source.clean, source.admission.orphan) == (0, True, False, True)
    assert source.committed == source.end > 0
    assert is_home(Path(who.journal))
    assert here.adopt(orphans=True) == []
    here.end_run(run)
    assert not Path(who.journal).exists()
    here.close()


@pytest.mark.skipif(not kernel_tells_of_the_reaped(), reason="needs Linux 6.15 or later")
def test_how_a_watched_rank_ended_is_known_also_where_its_journal_is_found_first(tmp_path: Path) -> None:
    """Its launcher reaps it at once, and the writer that watched it comes to look into journals before it hears so."""
    process = start("os.kill(os.getpid(), signal.SIGTERM)")
    who = join(tmp_path, process.pid)
    journal(tmp_path, who, rows=3).close()
    node = Node(tmp_path / "runtime", KEY, claim := Claim(tmp_path / "runtime", KEY))
    assert claim.take()
    here = Launch(node.runtime, KEY, claim, "nonce", ending=node.watches.how_ended)
    node.watches.add(who)
    process.communicate()
    ((_, source, _),) = here.adopt()
    assert (source.over, source.ending) == (True, Ending(signal=signal.SIGTERM))
    here.close()
    node.close()


def test_how_a_rank_ended_is_known_by_the_word_of_who_was_killed_after_it(tmp_path: Path) -> None:
    who = join(tmp_path, dead_pid())
    journal(tmp_path, who, rows=3).close()
    when_us = note_death(who, Ending(signal=signal.SIGKILL))
    assert note_death(who, Ending(signal=signal.SIGTERM)) == when_us  # the first word stands
    here = launch(tmp_path)
    ((run, source, _),) = here.adopt()
    assert (source.over, source.ending) == (True, Ending(signal=signal.SIGKILL))
    here.close()
    frames = [frame for path in segment_paths(run.directory / "log") for frame in read_frames(path)]
    seen = [frame.value(Sighting) for frame in frames if isinstance(frame, Frame) and frame.kind == FrameKind.SIGHTING]
    assert [(each.seen, each.signal, each.time_us) for each in seen] == [("crashed", signal.SIGKILL, when_us)]


def test_what_is_noted_of_a_death_counts_only_where_it_is_whole_and_of_that_rank(tmp_path: Path) -> None:
    who = join(tmp_path, dead_pid())
    assert note_death(who, UNKNOWN) > 0  # without a journal there is no place for it
    assert noted_death(who) is None
    journal(tmp_path, who, rows=3).close()
    note_death(who, Ending(exit_code=3))
    note = Path(who.journal) / "death"
    assert noted_death(changed(who, incarnation=new_incarnation())) is None
    note.write_bytes(note.read_bytes()[:-1])
    assert noted_death(who) is None


def test_a_journal_that_ends_with_an_end_was_no_crash(tmp_path: Path) -> None:
    journal(tmp_path, join(tmp_path, dead_pid()), rows=3, exit_code=0)
    here = launch(tmp_path)
    ((_, source, _),) = here.adopt()
    assert source.clean
    here.close()


def test_an_end_that_a_writer_stored_before_it_was_killed_was_no_crash(tmp_path: Path) -> None:
    who = join(tmp_path, dead_pid())
    outbox = journal(tmp_path, who, rows=3, exit_code=0)
    before = launch(tmp_path)
    run, source = before.admit(who)
    run.receive(source, 0, outbox.read(0, 1 << 20))
    run.commit()  # ... and not that it ended
    before.close()
    here = launch(tmp_path)
    ((_, source, _),) = here.adopt()
    assert source.clean
    here.close()


def test_a_journal_that_is_all_stored_is_known_to_be_also_where_a_killed_writer_had_no_time_to_say_so(
    tmp_path: Path,
) -> None:
    who, elsewhere = join(tmp_path, dead_pid()), join(tmp_path, node="another")
    outbox = journal(tmp_path, who, rows=3, exit_code=0)
    before = launch(tmp_path)
    run, source = before.admit(who)
    before.admit(elsewhere)
    data = outbox.read(0, 1 << 20)
    run.receive(source, 0, data)
    before.ended(run, source, data)
    run.commit()
    before.close()
    assert not is_home(Path(who.journal))
    here = launch(tmp_path)
    assert here.adopt() == []  # it waits for nothing but the end of its run, which goes on elsewhere
    assert is_home(Path(who.journal))
    here.close()


def test_who_died_before_it_met_a_writer_has_the_attempt_before_who_follows_it(tmp_path: Path) -> None:
    journal(tmp_path, join(tmp_path, dead_pid(), given_id="trial", start_time=1), rows=3).close()
    here = launch(tmp_path)
    run, source = here.admit(join(tmp_path, given_id="trial"))
    assert [(each.admission.attempt, each.over) for each in run.sources.values()] == [(0, True), (1, False)]
    assert source.admission.attempt == 1
    here.close()


def test_journals_of_living_processes_and_of_other_launches_are_left_alone(tmp_path: Path) -> None:
    journal(tmp_path, join(tmp_path), rows=3)
    journal(tmp_path, join(tmp_path, dead_pid(), launch_key="parent:elsewhere:1:1"), rows=3)
    here = launch(tmp_path)
    assert here.adopt() == []
    here.close()


def test_a_journal_is_kept_while_its_run_has_not_every_byte_of_it(tmp_path: Path) -> None:
    who = join(tmp_path)
    journal(tmp_path, who, rows=3)
    here = launch(tmp_path)
    run, _ = here.admit(who)
    here.end_run(run)
    assert Path(who.journal).exists()
    here.close()


def test_a_given_id_that_is_opened_again_while_other_ranks_are_in_it_has_one_log(tmp_path: Path) -> None:
    here = launch(tmp_path)
    two = [Rank(rank=rank, world_size=2, source="test") for rank in range(2)]
    first, zero = here.admit(join(tmp_path, given_id="mine", rank=two[0]))
    _, one = here.admit(join(tmp_path, given_id="mine", rank=two[1]))
    here.ended(first, zero, encode(RecordKind.END, End(exit_code=0, logged=0, dropped=0, time_us=1)))
    again, second = here.admit(join(tmp_path, given_id="mine", rank=two[0], ordinal=1))
    assert (again is first, zero.admission.attempt, second.admission.attempt) == (True, 0, 1)
    assert here.run_of(one.join.incarnation) is first
    here.close()


# A scheduler's job that is started anew

JOB = "slurm:cluster:7.0:train.py"


def started(tmp_path: Path, requeues: int, node: int = 0, job: str = JOB, **fields: object) -> Join:
    """Return the Join of a rank of one start of a job: on another node, and of another launch, than in other starts."""
    key = f"parent:boot:{requeues}:{node}"
    fields = {"launch_key": key, "node": f"boot{requeues}/{node}", "meeting": f"file:7.0.{requeues}", **fields}
    return join(tmp_path, dead_pid(), job=job, requeues=requeues, boot_id=f"boot{requeues}.{node}", **fields)


def launched(tmp_path: Path, who: Join) -> Launch:
    claim = Claim(tmp_path / "runtime", who.launch_key)
    assert claim.take()
    return Launch(tmp_path / "runtime", who.launch_key, claim, "nonce")


def test_a_requeued_job_goes_on_with_its_run_in_the_next_attempt(tmp_path: Path) -> None:
    ranks = [Rank(rank=rank, world_size=2, source="Slurm step") for rank in range(2)]
    before = [started(tmp_path, 0, rank=rank) for rank in ranks]
    first = launched(tmp_path, before[0])
    run, _ = [first.admit(who) for who in before][1]
    first.close()  # killed with its step: it saw no rank end
    again = [started(tmp_path, 1, rank=rank) for rank in reversed(ranks)]
    second = launched(tmp_path, again[0])
    admitted = [second.admit(who) for who in again]
    found = admitted[0][0]
    assert found.header.run_id == run.header.run_id
    assert [(source.admission.attempt, source.admission.role) for _, source in admitted] == [(1, "rank")] * 2
    second.end_earlier_starts(found)
    assert [source.over for source in found.sources.values()] == [True, True, False, False]
    second.close()


def test_a_requeued_job_goes_on_with_its_run_also_where_a_handler_ended_it_well(tmp_path: Path) -> None:
    before = started(tmp_path, 0)
    journal(tmp_path, before, rows=3, exit_code=0).close()
    first = launched(tmp_path, before)
    run, source = first.admit(before)
    first.bury(run, source)
    first.end_run(run)
    first.close()
    assert source.clean
    second = launched(tmp_path, again := started(tmp_path, 1))
    found, next_source = second.admit(again)
    assert (found.header.run_id, next_source.admission.attempt) == (run.header.run_id, 1)
    second.close()


@pytest.mark.parametrize(
    "other",
    [
        {"job": "slurm:cluster:7.1:train.py"},
        {"job": "slurm:cluster:8.0:train.py"},
        {"job": "slurm:cluster:7.0:evaluate.py"},
        {"ordinal": 1},
        {"group": "another"},
        {"given_id": "mine"},
        {"requeues": 0},
    ],
)
def test_what_is_not_the_same_launch_of_the_job_is_another_run(tmp_path: Path, other: dict[str, object]) -> None:
    first = launched(tmp_path, before := started(tmp_path, 0))
    run, _ = first.admit(before)
    first.close()
    who = changed(started(tmp_path, 1), **other)
    second = launched(tmp_path, who)
    assert second.admit(who)[0].header.run_id != run.header.run_id
    second.close()


def test_another_node_of_the_same_start_finds_the_run_whose_writer_is_gone(tmp_path: Path) -> None:
    first = launched(tmp_path, before := started(tmp_path, 0))
    run, _ = first.admit(before)
    first.close()
    who = started(tmp_path, 0, node=1, rank=Rank(rank=1, world_size=2, source="Slurm step"))
    second = launched(tmp_path, who)
    assert second.admit(who)[0].header.run_id == run.header.run_id
    second.close()


def test_of_several_launches_of_a_batch_script_none_is_guessed(tmp_path: Path) -> None:
    batch = "slurm:cluster:7.batch:train.py"
    one = started(tmp_path, 0, job=batch, meeting="")
    two = started(tmp_path, 0, node=1, job=batch, meeting="")
    for who in (one, two):
        launch = launched(tmp_path, who)
        launch.admit(who)
        launch.close()
    again = started(tmp_path, 1, job=batch, meeting="")
    here = launched(tmp_path, again)
    assert here.admit(again)[1].admission.attempt == 0
    here.close()


def test_of_two_launches_that_a_batch_script_starts_the_second_does_not_take_the_firsts_run(tmp_path: Path) -> None:
    batch = "slurm:cluster:7.batch:train.py"
    starts = [started(tmp_path, 0, job=batch, meeting="")]
    starts += [started(tmp_path, 1, node=node, job=batch, meeting="") for node in range(2)]
    runs: list[str] = []
    for who in starts:
        launch = launched(tmp_path, who)
        runs.append(launch.admit(who)[0].header.run_id)
        launch.close()
    assert runs[0] == runs[1] != runs[2]


def test_what_an_earlier_start_left_on_a_node_is_brought_home_by_the_next(tmp_path: Path) -> None:
    lost = started(tmp_path, 0)
    journal(tmp_path, lost, rows=10)
    first = launched(tmp_path, lost)
    run, _ = first.admit(lost)
    first.close()
    who = started(tmp_path, 1)
    second = launched(tmp_path, who)
    second.admit(who)
    ((found, source, offset),) = second.adopt(also=lambda left: left.job == JOB and left.requeues < 1)
    assert (found.header.run_id, source.admission.attempt, offset) == (run.header.run_id, 0, 0)
    assert source.committed == source.end > 0
    second.close()


def test_an_onlooker_belongs_to_the_newest_run_of_its_launch_whatever_it_calls_it(tmp_path: Path) -> None:
    """Whoever controls ranks knows their launch, but not what they told init."""
    first = launch(tmp_path)
    first.admit(join(tmp_path, project="theirs"))
    later, _ = first.admit(join(tmp_path, project="theirs", ordinal=1))
    seen, source = first.admit(join(tmp_path, project="another", role="helper", parent=None))
    assert seen is later
    assert (source.admission.role, source.admission.attempt) == ("helper", 0)
    first.close()
    second = launch(tmp_path)
    again, _ = second.admit(join(tmp_path, project="theirs", role="helper", parent=None))
    assert again.header.run_id == later.header.run_id
    second.close()
