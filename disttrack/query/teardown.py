"""Ranks that did not fail themselves: their launcher ended them, since a peer had failed or it was told to end."""

from __future__ import annotations

import signal
from typing import Literal

from disttrack.index.facts import SourceFacts

__all__ = ["Following", "following", "torn_down"]

Following = Literal["retry", "resize"]

TOLD = 128 + signal.SIGTERM  # the exit code of who handles SIGTERM, by custom
KILLED_AFTER_US = 20_000_000  # torchelastic and Slurm kill whoever still lives 30 s after SIGTERM


def torn_down(badly: dict[int, SourceFacts], followed: Following | None) -> set[int]:
    """Return which of the ranks that ended badly were ended by their launcher.

    badly: by rank, in the order of the log, which has those first that may be why others ended. The first one is its
    own cause, unless torchrun, which ends all ranks of a node together, ended all there were, and counted no failure.
    """
    if not badly:
        return set()
    first = next(iter(badly))
    told = {rank for rank, source in badly.items() if _was_told(source, badly[first])}
    rest = {rank for rank, source in badly.items() if _is_unknown(source)}
    if len(told) == len(badly) and followed != "retry" and all(_has_agent(source) for source in badly.values()):
        return told
    return (told | rest) - {first}


def _was_told(source: SourceFacts, first: SourceFacts) -> bool:
    """Say whether a rank ended as one that is told to; first: who fell first."""
    if source.ended is not None:
        return source.ended.exit_code == TOLD and source.ended.exception is None
    seen = source.fell
    if seen is None:
        return False
    if seen.signal == signal.SIGKILL and first.fell is not None:
        return seen.time_us - first.fell.time_us >= KILLED_AFTER_US
    return seen.signal == signal.SIGTERM or seen.exit_code == TOLD


def _is_unknown(source: SourceFacts) -> bool:
    """Say whether a rank of torchrun's went without a word: kernels before 6.15 do not tell how, once it was reaped."""
    seen = source.fell
    silent = (
        seen is not None and seen.seen == "crashed" and (seen.exit_code, seen.signal, seen.exception) == (None,) * 3
    )
    return silent and source.ended is None and _has_agent(source)


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
    return "resize" if all(counts[node] == after[node] for node in common) else "retry"


def _counts(sources: list[SourceFacts]) -> dict[str, tuple[tuple[str, str], ...]]:
    joins = [source.join for source in sources if source.join is not None and _has_agent(source)]
    return {join.node or join.host: join.hints for join in joins}
