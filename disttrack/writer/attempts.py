"""Which attempt of a run an incarnation belongs to: a decision over what is known of those that came before it.

An elastic launcher stops all processes of a round before it starts the next round. Its restart count is kept by each
node's agent: after a failure on one node it rises there only, and on a change of size nowhere. So hints are compared
within a node, and what one node's processes do says more about their own node's round than what others do.
No clock is compared: the order of starts is that of one boot's process table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from disttrack.records.types import Join, Role

__all__ = ["Member", "place", "requeued", "restarted", "same_node", "same_process"]

# A launcher starts a node's processes of one round within this time of each other. Between the starts of two rounds
# lie the import and init of a script, a failure, and the nodes' agreement on the next round.
TOGETHER_S = 2.0


class Member(NamedTuple):
    """A rank that was placed: gone if its process is known not to live; clean if it ended well by itself.

    heard: whether this writer has heard of it, or only read of it in the log of an earlier one.
    stopped: it said that it was ended before it was done.
    """

    join: Join
    attempt: int
    gone: bool
    clean: bool
    heard: bool = True
    stopped: bool = False


def same_node(one: Join, other: Join) -> bool:
    """Say whether two incarnations were started by the same launcher process on the same node."""
    return (one.boot_id, one.node, one.launch_key) == (other.boot_id, other.node, other.launch_key)


def same_process(one: Join, other: Join) -> bool:
    """Say whether two incarnations are of one process: of two ranks of a run, the later was executed over the other."""
    return (one.boot_id, one.pid, one.start_time) == (other.boot_id, other.pid, other.start_time)


def requeued(one: Join, other: Join) -> bool:
    """Say whether a scheduler has started the job of an incarnation anew, with the other: then nothing of it lives."""
    return bool(one.job) and one.job == other.job and one.requeues < other.requeues


def place(join: Join, lives: bool, members: Sequence[Member]) -> tuple[int, Role]:
    """Return attempt and role of an incarnation that is no helper.

    lives: whether its process does; members: the ranks of the run, without helpers and claimants.
    """
    if not members:
        return 0, "rank"
    newest = max(member.attempt for member in members)
    team = [member for member in members if member.attempt == newest]
    another = _another_round(join, team)
    if not lives and (_began_before(join, team) or (another and not all(member.gone for member in team))):
        return _place_late(join, [member for member in members if member.attempt < newest or not another])
    twins = [member for member in team if member.join.rank.rank == join.rank.rank]
    if twins and _goes_on(join, team, twins):
        return newest, "rank"
    for twin in twins:
        # One that lives comes in place of one that nobody has heard of since the launch began anew: a node that went
        # without a word, or a container that was made again.
        if not twin.gone and (twin.heard or not lives) and (_same_host(twin.join, join) or not another):
            return newest, "claimant"
    return (newest + 1 if twins or another else newest), "rank"


def _goes_on(join: Join, team: Sequence[Member], twins: Sequence[Member]) -> bool:
    """Say whether an incarnation takes up again what its scheduler had stopped: a paused trial is no new try."""
    same_size = all(member.join.rank.world_size == join.rank.world_size for member in team)
    return same_size and all(twin.gone and twin.stopped for twin in twins)


def restarted(join: Join, members: Sequence[Member]) -> bool:
    """Say whether the launcher of an incarnation says that it is not of the round of those of its node, or of any."""
    return any(
        requeued(member.join, join) or (same_node(member.join, join) and member.join.hints != join.hints)
        for member in members
    )


def _another_round(join: Join, team: Sequence[Member]) -> bool:
    """Say whether an attempt cannot be the one of this incarnation, whatever its rank."""
    mine = [member for member in team if same_node(member.join, join)]
    if any(member.join.rank.world_size != join.rank.world_size for member in team):
        return True
    if restarted(join, team) or any(requeued(join, member.join) for member in team):
        return True
    if any(_is_local_twin(member, join) for member in mine):
        return True
    if mine:
        return _failed(mine) and not any(_together(member.join, join) for member in mine)
    return _failed(team) or any(_of_an_earlier_launch(member, join) for member in team)


def _failed(team: Sequence[Member]) -> bool:
    """Say whether all of them are gone, and not all ended well."""
    return all(member.gone for member in team) and not all(member.clean for member in team)


def _is_local_twin(member: Member, join: Join) -> bool:
    """Say whether a failed member had this local rank: the launcher gave the node other ranks in the next round."""
    local_rank = join.rank.local_rank
    return local_rank is not None and member.join.rank.local_rank == local_rank and member.gone and not member.clean


def _of_an_earlier_launch(member: Member, join: Join) -> bool:
    """Say whether a member ended on the same node, where another launcher had started it."""
    return _same_host(member.join, join) and member.gone and member.join.launch_key != join.launch_key


def _same_host(one: Join, other: Join) -> bool:
    return (one.boot_id, one.node) == (other.boot_id, other.node)


def _together(one: Join, other: Join) -> bool:
    return _started_s(one) is not None and abs(_after_s(one, other)) <= TOGETHER_S


def _began_before(join: Join, team: Sequence[Member]) -> bool:
    """Say whether those of an attempt on its node, of whichever launch, were started a round later, or more."""
    here = [member.join for member in team if _same_host(member.join, join)]
    return bool(here) and _started_s(join) is not None and all(_after_s(other, join) > TOGETHER_S for other in here)


def _place_late(join: Join, members: Sequence[Member]) -> tuple[int, Role]:
    """Place an incarnation that met nobody while it lived, and whose launch has gone on to a later round.

    members: those of the attempts that may be its own. It belongs to those of its node that were started with it. No
    attempt can be put between two others: where there are none of them, it is kept apart.
    """
    newest = 0
    for attempt in sorted({member.attempt for member in members}, reverse=True):
        team = [member for member in members if member.attempt == attempt]
        if _began_before(join, team):
            continue
        newest = max(newest, attempt)
        mine = [member for member in team if same_node(member.join, join)]
        taken = any(
            member.join.rank.rank == join.rank.rank or member.join.rank.world_size != join.rank.world_size
            for member in team
        )
        if not taken and not restarted(join, mine) and any(_together(member.join, join) for member in mine):
            return attempt, "rank"
    return newest, "claimant"


def _started_s(join: Join) -> float | None:
    """Return when a process was started, in seconds since boot; None where this is not known."""
    return join.start_time / _ticks_a_second() if join.start_time else None


def _after_s(one: Join, other: Join) -> float:
    return (one.start_time - other.start_time) / _ticks_a_second()


def _ticks_a_second() -> int:
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
