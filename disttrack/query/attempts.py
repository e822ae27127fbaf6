"""The attempts of a run one below the other: how each went, which rank failed first, and what was lost with it."""

from __future__ import annotations

from dataclasses import dataclass

from disttrack.environments.endings import signal_name
from disttrack.index.facts import SourceFacts
from disttrack.index.queries import RunRecord
from disttrack.query.causes import in_order
from disttrack.query.members import Member, Observer, RankState, RunState, Team, rank_states, run_state, team_of
from disttrack.query.superseded import cuts

__all__ = ["AttemptRow", "Failure", "attempt_rows", "ending_of", "exception_of", "first_failure", "last_s", "may_go_on"]

_FAILED = ("failed", "crashed", "lost")
_OPEN = ("running", "pending", "silent")


@dataclass(frozen=True)
class Failure:
    """The rank that failed first in its attempt, in the order of the run's log; others may only have followed it."""

    rank: int
    node: str | None
    state: RankState
    exit_code: int | None
    signal: str | None  # its name
    exception: str | None
    at: float  # unix seconds
    others: int  # ranks that failed after it
    terminated: int = 0  # ranks that their launcher ended since it failed


@dataclass(frozen=True)
class AttemptRow:
    """One try of a run. Steps are those of all its ranks; times are unix seconds."""

    attempt: int
    state: RunState
    world_size: int
    ranks_joined: int
    started_at: float | None
    ended_at: float | None
    first_step: int | None  # the lowest
    last_step: int | None  # the greatest
    lost_steps: int  # from where a later attempt began up to last_step: they were gone over again, or will be
    first_failure: Failure | None


def attempt_rows(
    record: RunRecord, everybody: list[Member], observer: Observer, ended_s: float | None
) -> list[AttemptRow]:
    """Return the attempts of a run, the first one first; ended_s: when the run ended."""
    superseded = cuts(record)
    attempts = sorted({member.attempt for member in everybody if member.source.role == "rank"})
    return [
        _row(record, team_of(everybody, attempt), observer, superseded.get(attempt), attempt == attempts[-1], ended_s)
        for attempt in attempts
    ]


def _row(
    record: RunRecord, team: Team, observer: Observer, cut: int | None, newest: bool, ended_s: float | None
) -> AttemptRow:
    states = list(rank_states(team, record, observer).values())
    voices = [source for sources in team.voices.values() for source in sources]
    first = min((source.min_step for source in voices if source.min_step is not None), default=None)
    last = max((source.max_step for source in voices if source.max_step is not None), default=None)
    begun_us = [source.join.time_us for source in team.joined.values() if source.join is not None]
    return AttemptRow(
        attempt=team.attempt,
        state=run_state(states, record, observer),
        world_size=team.world_size,
        ranks_joined=len(team.joined),
        started_at=min(begun_us) / 1e6 if begun_us else None,
        ended_at=ended_s if newest else None if may_go_on(states) else last_s(team),
        first_step=first,
        last_step=last,
        lost_steps=0 if cut is None or first is None or last is None else max(0, last - max(cut, first) + 1),
        first_failure=first_failure(record, team, observer),
    )


def may_go_on(states: list[RankState]) -> bool:
    """Say whether any of the joined ranks, which are in these states, may still say something."""
    return any(state in _OPEN for state in states)


def last_s(team: Team) -> float | None:
    """Return the newest time known of any of the joined ranks."""
    times_us = [source.last_time_us for source in team.joined.values() if source.last_time_us is not None]
    return max(times_us) / 1e6 if times_us else None


def first_failure(record: RunRecord, team: Team, observer: Observer) -> Failure | None:
    """Return the rank of an attempt that failed first, in the order of causes.in_order; None where no rank failed."""
    states = rank_states(team, record, observer)
    failed = [rank for rank, state in states.items() if state in _FAILED]
    if not failed:
        return None
    rank = in_order(failed, team.joined)[0]
    source = team.joined[rank]
    exit_code, signal = ending_of(source)
    at_us = source.fell.time_us if source.fell is not None else source.last_time_us
    return Failure(
        rank=rank,
        node=source.join.host if source.join is not None else None,
        state=states[rank],
        exit_code=exit_code,
        signal=signal,
        exception=exception_of(source),
        at=(at_us or 0) / 1e6,
        others=len(failed) - 1,
        terminated=sum(state == "terminated" for state in states.values()),
    )


def exception_of(source: SourceFacts) -> str | None:
    """Return the exception that a rank failed with: as it said, else as it left it for its launcher."""
    said = source.ended.exception if source.ended is not None else None
    left = (seen.exception for seen in (source.fell, source.sighted) if seen is not None)
    return said or next(filter(None, left), None)


def ending_of(source: SourceFacts) -> tuple[int | None, str | None]:
    """Return the exit code of a rank, and the name of the signal its process died of; None where unknown.

    A rank that finished has the code it finished with, unless its process had another than 0 afterwards.
    """
    seen = [sighted for sighted in (source.sighted, source.fell) if sighted is not None]
    signal = next((sighted.signal for sighted in seen if sighted.signal is not None), None)
    codes = [sighted.exit_code for sighted in seen] + [source.ended.exit_code if source.ended is not None else None]
    known = [code for code in codes if code is not None]
    exit_code = next(filter(None, known), known[0] if known else None)
    return exit_code, None if signal is None else signal_name(signal)
