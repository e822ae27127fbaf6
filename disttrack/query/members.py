"""Whose bytes are whose: the sources of a run as ranks and attempts, and the state each of them is in."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from disttrack.environments import host
from disttrack.index.facts import SourceFacts
from disttrack.index.queries import RunRecord
from disttrack.query.causes import in_order
from disttrack.query.preemption import taken_down
from disttrack.query.teardown import Following, following, torn_down
from disttrack.records.names import LIVE
from disttrack.records.types import Incarnation

__all__ = [
    "Member",
    "Observer",
    "RankState",
    "RunState",
    "Team",
    "is_final",
    "members",
    "newest_team",
    "nodes",
    "rank_states",
    "run_state",
    "team_of",
]

RankState = Literal[
    "absent",
    "pending",
    "running",
    "silent",
    "finished",
    "stopped",
    "failed",
    "crashed",
    "preempted",
    "terminated",
    "lost",
]
RunState = Literal["running", "finished", "failed", "crashed", "preempted", "stopped", "lost", "unknown"]

FRESH_S = 120.0  # a writer touches its runs' markers about every 15 s
MAX_RANKS = 65_536  # entries a frame can hold; a larger world size is a mistake, and no reason to list a billion ranks
_WORST_FIRST: tuple[RunState, ...] = ("crashed", "failed", "lost", "preempted", "stopped")
_ENDED_BADLY = ("failed", "crashed", "lost")
_GONE = (*_ENDED_BADLY, "silent")
_FINAL = ("ended", "crashed", "lost")
_ROLES = {"rank": 0, "helper": 1, "claimant": 2, "node": 3}
_Place = tuple[int, int]  # in a log: a segment, and a position in it


class Member(NamedTuple):
    """A source and whose it is: a helper's rows are its parent's rank's, a claimant's those of the rank it claims."""

    src: int
    rank: int
    attempt: int
    source: SourceFacts


@dataclass(frozen=True)
class Observer:
    """Who looks at a run, when, and from which host."""

    now_s: float
    hostname: str
    boot_id: str
    is_alive: Callable[[int, int], bool]  # pid, start time
    touched_s: Callable[[RunRecord], float | None]  # when the run's marker was last touched; None where there is none

    @classmethod
    def here(cls, root: Path) -> Observer:
        """Return this process, now."""

        def touched_s(record: RunRecord) -> float | None:
            try:
                return os.stat(root / record.project_directory / LIVE / record.directory).st_mtime
            except OSError:
                return None

        return cls(time.time(), host.hostname(), host.boot_id(), host.is_alive, touched_s)

    def sees_marker(self, record: RunRecord) -> bool:
        """Say whether a writer of this run, wherever it runs, was alive a moment ago."""
        touched_s = self.touched_s(record)
        return touched_s is not None and self.now_s - touched_s < FRESH_S


def members(record: RunRecord) -> list[Member]:
    """Return the sources of a run by rank, attempt, role and time of joining: an order that no arrival changes.

    Of a rank that was stopped and went on in one attempt, the source that went on comes first.
    """
    by_incarnation = {source.incarnation: source for source in record.sources}
    found = [
        Member(src, _rank(source, by_incarnation), source.attempt, source)
        for src, source in enumerate(record.sources)
        if not _is_elsewhere(source)
    ]
    stopped_at = _stopped_at(record.sources)
    return sorted(found, key=lambda member: (member.rank, member.attempt, *_seniority(member.source, stopped_at)))


def nodes(record: RunRecord) -> list[SourceFacts]:
    """Return the sources that speak for no rank but for a node: what its process found out by itself."""
    found = [source for source in record.sources if source.role == "node"]
    return sorted(found, key=lambda source: (source.attempt, *_seniority(source, {})))


def _is_elsewhere(source: SourceFacts) -> bool:
    """Whether a source speaks for no rank of this run: it moved to another, is a node, or was but seen."""
    moved = source.sighted is not None and source.sighted.seen == "moved"
    return moved or source.role == "node" or (source.join is None and not source.stored)


def _rank(source: SourceFacts, by_incarnation: dict[Incarnation, SourceFacts]) -> int:
    seen = {source.incarnation}
    while source.role == "helper" and source.join is not None and source.join.parent is not None:
        parent = by_incarnation.get(source.join.parent)
        if parent is None or parent.incarnation in seen:
            break
        source = parent
        seen.add(source.incarnation)
    return source.join.rank.rank if source.join is not None else source.rank_hint


def _seniority(source: SourceFacts, stopped_at: Mapping[Incarnation, _Place]) -> tuple[int, float, int, int, int]:
    segment, position = stopped_at.get(source.incarnation, (math.inf, 0))
    return _ROLES[source.role], -segment, -position, _joined_us(source), source.incarnation


def _stopped_at(sources: Sequence[SourceFacts]) -> dict[Incarnation, _Place]:
    """Return where in the log the ranks among sources were stopped; those that were not are left out.

    Of the sources that a rank has in one attempt, each took up what the one before it had been stopped at. Their clocks
    do not tell which: they may be of different nodes. But on one node they do, and there the log may not: what ends
    goes on before it is stored, and its writer may hear of several at once.
    """
    places: dict[Incarnation, _Place] = {}
    of_node: dict[tuple[int, int, str], list[SourceFacts]] = {}
    for source in sources:
        if source.role == "rank" and source.ended is not None and source.ended.stopped and source.sighted is not None:
            places[source.incarnation] = source.sighted.place
            if source.join is not None:
                rank = (source.join.rank.rank, source.attempt)
                of_node.setdefault((*rank, source.join.boot_id), []).append(source)
    for together in of_node.values():
        in_log = sorted(places[source.incarnation] for source in together)
        in_time = [source.incarnation for source in sorted(together, key=_joined_us)]
        places.update(zip(in_time, in_log, strict=True))
    return places


def _joined_us(source: SourceFacts) -> int:
    return source.join.time_us if source.join is not None else 0


@dataclass(frozen=True)
class Team:
    """One attempt of a run: the newest source of each rank that joined, and everybody who speaks for it."""

    attempt: int
    world_size: int
    joined: dict[int, SourceFacts]  # by rank, ascending
    voices: dict[int, list[SourceFacts]]  # by rank: its sources, helpers and claimants of this attempt
    followed: Following | None = None  # why another attempt came after it, where its launcher tells

    def local_rank(self, rank: int) -> int | None:
        """Return a joined rank's local rank: as it says, else its place among the ranks of its node."""
        join = self.joined[rank].join
        if join is None or join.rank.local_rank is not None:
            return join.rank.local_rank if join is not None else None
        node = [other for other, source in self.joined.items() if source.join and source.join.host == join.host]
        return node.index(rank)


def newest_team(everybody: list[Member]) -> Team:
    """Return the newest attempt among members (in their order)."""
    ranks = [member for member in everybody if member.source.role == "rank"]
    return team_of(everybody, max((member.attempt for member in ranks or everybody), default=0))


def team_of(everybody: list[Member], attempt: int) -> Team:
    """Return an attempt among members (in their order)."""
    joined: dict[int, SourceFacts] = {}
    for member in everybody:
        if member.source.role == "rank" and member.attempt == attempt:
            joined.setdefault(member.rank, member.source)
    voices: dict[int, list[SourceFacts]] = {}
    for member in everybody:
        if member.attempt == attempt:
            voices.setdefault(member.rank, []).append(member.source)
    places = [source.join.rank for source in joined.values() if source.join is not None]
    settled = [place for place in places if place.settled] or places
    world_size = max((place.world_size for place in settled), default=0)
    later = [member for member in everybody if member.source.role == "rank" and member.attempt > attempt]
    nearest = min((member.attempt for member in later), default=0)
    after = [member.source for member in later if member.attempt == nearest]
    return Team(attempt, min(world_size, MAX_RANKS), joined, voices, following(list(joined.values()), after))


def rank_states(team: Team, record: RunRecord, observer: Observer) -> dict[int, RankState]:
    """Return the state of each rank that joined an attempt.

    A rank that its launcher ended since a peer had failed is terminated; where no peer had, the launcher was told to
    end, and all are preempted, unless it goes on with another number of ranks. So are they where a scheduler took the
    attempt down.
    Where a rank said that its machine is being taken away (Run.mark_preempting), it is preempted if it ended otherwise
    than well; so are other ranks of the attempt whose end came no earlier than that word, by their clocks.
    """
    states: dict[int, RankState] = {rank: _rank_state(source, record, observer) for rank, source in team.joined.items()}
    if team.followed is None and _taken_down(team, states, record, observer):
        return {rank: "preempted" if state in _GONE else state for rank, state in states.items()}
    badly = in_order((rank for rank, state in states.items() if state in _ENDED_BADLY), team.joined)
    unseen = [rank for rank in badly if states[rank] == "crashed" and team.joined[rank].fell is None]
    told = torn_down({rank: team.joined[rank] for rank in badly}, team.followed, unseen)
    for rank in told:
        states[rank] = "terminated" if team.followed == "resize" or len(told) < len(badly) else "preempted"
    said_us = [
        source.preempting_us
        for sources in team.voices.values()
        for source in sources
        if source.preempting_us is not None
    ]
    if not said_us:
        return states
    for rank, state in states.items():
        if state in (*_ENDED_BADLY, "terminated"):
            itself = any(source.preempting_us is not None for source in team.voices.get(rank, ()))
            ended_us = _ended_us(team.joined[rank])
            if itself or ended_us is None or ended_us >= min(said_us):
                states[rank] = "preempted"
    return states


def _taken_down(team: Team, states: dict[int, RankState], record: RunRecord, observer: Observer) -> bool:
    """Say whether a scheduler took an attempt down; silent ranks are gone where their job's writer is."""
    gone = in_order((rank for rank, state in states.items() if state in _GONE), team.joined)
    if not gone or ("silent" in states.values() and observer.sees_marker(record)):
        return False
    others = [source for rank, source in team.joined.items() if rank not in gone]
    return taken_down([team.joined[rank] for rank in gone], others)


def _ended_us(source: SourceFacts) -> int | None:
    """Return when a rank ended otherwise than well; None where only the observer tells that it did."""
    if source.ended is not None:
        return source.ended.time_us
    return source.fell.time_us if source.fell is not None else None


def _rank_state(source: SourceFacts, record: RunRecord, observer: Observer) -> RankState:
    """Return the state of a rank's newest source."""
    if source.ended is not None:
        if source.ended.exit_code == 0 and source.ended.exception is None:
            return "stopped" if source.ended.stopped else "finished"
        return "failed"
    if source.sighted is not None:
        match source.sighted.seen:
            case "ended":  # and its End was lost to damage
                return "failed" if source.sighted.fell else "finished"
            case "crashed" | "lost" | "silent" as seen:
                return "crashed" if source.sighted.fell and seen == "silent" else seen  # its journal was to follow
            case _:
                pass
    join = source.join
    if join is None:
        return "silent"
    if join.boot_id == observer.boot_id:
        alive = observer.is_alive(join.pid, join.start_time)
        return ("running" if join.rank.settled else "pending") if alive else "crashed"
    if join.host == observer.hostname:
        return "lost"  # this host has booted since
    if observer.sees_marker(record):
        return "running" if join.rank.settled else "pending"
    return "silent"


def is_final(source: SourceFacts) -> bool:
    """Say whether a source's rank is in a state that no observer and no time changes, but only more of its log."""
    return source.ended is not None or (source.sighted is not None and source.sighted.seen in _FINAL)


def run_state(states: list[RankState], record: RunRecord, observer: Observer) -> RunState:
    """Return the state of a run whose joined ranks are in these states: the worst of them."""
    for worst in _WORST_FIRST:
        if worst in states:
            return worst
    if "running" in states or "pending" in states:
        return "running"
    if "silent" in states:
        return "unknown"
    if "terminated" in states:
        return "stopped"
    if states or record.facts.over_us is not None:
        return "finished"
    return "running" if observer.sees_marker(record) else "unknown"
