"""Who joins the newest attempt beyond doubt, so that nobody else need be asked."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from disttrack.records.types import Admission, Join, Rank
from disttrack.writer.attempts import Member, place
from disttrack.writer.team import Team
from tests.journal.joins import make_join


@dataclass(frozen=True)
class Known:
    """A source, as far as a team asks."""

    admission: Admission
    over: bool = False
    clean: bool = False
    alive: bool = True


def lives(source: Known) -> bool:
    return source.alive


def join(rank: int, world_size: int, node: int = 0, launch: int = 0, restarts: int = 0, start: int = 0) -> Join:
    return make_join(
        rank=Rank(rank=rank, world_size=world_size, local_rank=rank % 2, source="test"),
        boot_id="boot",
        node=f"node{node}",
        launch_key=f"launch{launch}",
        hints=(("RESTARTS", str(restarts)),),
        start_time=1 + 1_000 * start,
    )


small = st.integers(0, 2)
joins = st.builds(join, st.integers(0, 4), st.sampled_from([5, 5, 5, 6]), small, small, small, small)
knowns = st.builds(
    Known,
    st.builds(Admission, join=joins, attempt=small, role=st.just("rank")),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(knowns, max_size=8), joins)
def test_whom_a_team_takes_is_placed_in_its_attempt(sources: list[Known], joining: Join) -> None:
    newest = max((source.admission.attempt for source in sources), default=0)
    team = Team[Known](newest)
    for source in sources:
        if source.admission.attempt == newest:
            team.add(source)
    members = [
        Member(source.admission.join, source.admission.attempt, source.over or not source.alive, source.clean)
        for source in sources
    ]
    if team.takes(joining, lives):
        assert place(joining, True, members) == (newest, "rank")


def test_a_rank_of_a_large_launch_takes_its_place_without_a_look_at_all_others() -> None:
    asked = 0

    def counted(_: Known) -> bool:
        nonlocal asked
        asked += 1
        return True

    team = Team[Known](0)
    for rank in range(4_096):
        joining = join(rank, 4_096, node=rank // 8)
        assert rank == 0 or team.takes(joining, counted)
        team.add(Known(Admission(join=joining, attempt=0, role="rank")))
    assert asked <= 4_096 * 8


def test_a_rank_that_died_elsewhere_does_not_make_the_others_ask_everybody() -> None:
    team = Team[Known](0)
    for rank in range(16):
        team.add(Known(Admission(join=join(rank, 32, node=rank // 8), attempt=0, role="rank"), over=rank < 8))
    assert team.takes(join(16, 32, node=2), lives)
    assert not team.takes(join(17, 32, node=0), lives)  # of the node whose ranks died
    assert not team.takes(join(3, 32, node=2), lives)  # it comes again


def test_a_team_ended_well_once_all_of_it_did() -> None:
    team = Team[Known](0)
    assert team.ended_well()
    team.add(Known(Admission(join=join(0, 2), attempt=0, role="rank"), over=True, clean=True))
    assert team.ended_well()
    team.add(Known(Admission(join=join(1, 2), attempt=0, role="rank")))
    assert not team.ended_well()
