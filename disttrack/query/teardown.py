"""Ranks that did not fail themselves: their launcher ended them, since a peer had failed or it was told to end."""

from __future__ import annotations

import signal
from collections.abc import Collection
from typing import Literal

from disttrack.environments.endings import UNKNOWN, Ending
from disttrack.index.facts import SourceFacts

__all__ = ["Following", "ending_seen", "following", "torn_down", "was_told"]

Following = Literal["retry", "resize"]

TOLD = 128 + signal.SIGTERM  # the exit code of who handles SIGTERM, by custom
KILLED_AFTER_US = 20_000_000  # torchelastic and Slurm kill whoever still lives 30 s after SIGTERM


def torn_down(badly: dict[int, SourceFacts], followed: Following | None, unseen: Collection[int] = ()) -> set[int]:
    """Return which of the ranks that ended badly were ended by their launcher.

    badly: by rank, in the order of the log, which has those first that may be why others ended. The first one is its
    own cause, unless torchrun, which ends all ranks of a node together, ended all there were, and counted no failure.
    unseen: of which the log says nothing yet, while their processes are gone.

    Whose end nobody knows goes with those whose end is known: an agent that is told to end reaps its ranks at once,
    while one that fails by itself waits for its agent's next look, and is seen until then.
    """
    if not badly:
        return set()
    first = next(iter(badly))
    told = {rank for rank, source in badly.items() if _was_told(source, badly[first])}
    rest = {rank for rank, source in badly.items() if _is_unknown(source, unseen=rank in unseen)}
    nobody_failed = len(told) > 0 and len(told | rest) == len(badly) and followed != "retry"
    if nobody_failed and all(_has_agent(source) for source in badly.values()):
        return told | rest
    return (told | rest) - {first}


def was_told(source: SourceFacts) -> bool:
    """Say whether a rank ended as one that SIGTERM told to."""
    if source.ended is not None:
        return source.ended.exit_code == TOLD and source.ended.exception is None
    how = ending_seen(source)
    return how.signal == signal.SIGTERM or how.exit_code == TOLD


def ending_seen(source: SourceFacts) -> Ending:
    """Return how a rank's process ended, by the first sighting that tells."""
    seen = (sighted for sighted in (source.fell, source.sighted) if sighted is not None)
    endings = (Ending(sighted.exit_code, sighted.signal, sighted.exception) for sighted in seen)
    return next((ending for ending in endings if ending != UNKNOWN), UNKNOWN)


def _was_told(source: SourceFacts, first: SourceFacts) -> bool:
    """Say whether a rank ended as one that is told to, and killed where it would not; first: who fell first."""
    seen = source.fell
    if source.ended is None and seen is not None and seen.signal == signal.SIGKILL and first.fell is not None:
        return seen.time_us - first.fell.time_us >= KILLED_AFTER_US
    return was_told(source)


def _is_unknown(source: SourceFacts, *, unseen: bool) -> bool:
    """Say whether a rank of torchrun's or Slurm's went without a word, and was reaped before anybody looked how.

    It died before its node's process watched it, or under a kernel before 6.15, which does not tell then.
    """
    crashed = unseen or (source.fell is not None and source.fell.seen == "crashed")
    ended_by = source.join is not None and (_has_agent(source) or source.join.job)
    return crashed and source.ended is None and ending_seen(source) == UNKNOWN and bool(ended_by)


def _has_agent(source: SourceFacts) -> bool:
    return source.join is not None and source.join.rank.source == "torchrun"


def following(attempt: list[SourceFacts], later: list[SourceFacts]) -> Following | None:
    """Return why torchrun ended an attempt's ranks and began a later attempt; None where it cannot be told.

    Each of its agents counts the failures of its own ranks: where none counts one more, the number of ranks changed.
    """
    counts, after = _counts(attempt), _counts(later)
    common = counts.keys() & after.keys()
    if not common:
        return None
    return "resize" if all(counts[agent] == after[agent] for agent in common) else "retry"


def _counts(sources: list[SourceFacts]) -> dict[tuple[str, str], tuple[tuple[str, str], ...]]:
    """Return what each agent counts, by its node and what tells it from another one there."""
    joins = [source.join for source in sources if source.join is not None and _has_agent(source)]
    return {(join.node or join.host, join.launch_key): join.hints for join in joins}
