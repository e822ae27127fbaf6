"""In which order ranks fell that did not end well: whoever may be why others did comes first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from disttrack.environments.endings import UNKNOWN
from disttrack.index.facts import SourceFacts
from disttrack.query.teardown import ending_seen, was_told

__all__ = ["MEANWHILE_US", "at_us", "in_order", "is_unknown"]

# After the first SIGTERM: what another rank dies of meanwhile may be why it came. Slurm's own SIGKILL comes later
# (KillWait is 30 s by default).
MEANWHILE_US = 5_000_000


def in_order(ranks: Iterable[int], joined: Mapping[int, SourceFacts]) -> list[int]:
    """Return ranks that did not end well, the likely cause first; what only the observer sees comes last.

    By the order of the log, not by clocks. Only under a scheduler, which ends all ranks within a moment and kills the
    processes that could tell, the word on what happened on another node may come last: where the log's first was told
    to end, or nobody knows how it ended, a rank that fell otherwise before it, or was killed meanwhile, comes first, by
    the clocks of their nodes.
    """
    order = sorted(ranks, key=lambda rank: _place(joined[rank]))
    if not order or not (was_told(joined[order[0]]) or is_unknown(joined[order[0]])):
        return order
    began_us = at_us(joined[order[0]])
    causes = sorted((rank for rank in order if _is_cause(joined[rank], began_us)), key=lambda rank: at_us(joined[rank]))
    return causes + [rank for rank in order if rank not in causes]


def at_us(source: SourceFacts) -> int:
    """Return when a rank is first said not to have ended well; 0 where nobody says so."""
    return source.fell.time_us if source.fell is not None else 0


def is_unknown(source: SourceFacts) -> bool:
    """Say whether nobody saw how a rank ended, and it said nothing."""
    return source.ended is None and ending_seen(source) == UNKNOWN


def _place(source: SourceFacts) -> tuple[float, int]:
    return source.fell.place if source.fell is not None else (math.inf, 0)


def _is_cause(source: SourceFacts, began_us: int) -> bool:
    """Say whether a rank may be why a scheduler ended others at began_us."""
    seen = source.fell
    if seen is None or source.join is None or not source.join.job or was_told(source):
        return False
    if seen.signal is not None:
        return seen.time_us <= began_us + MEANWHILE_US
    return bool(seen.exit_code) and seen.time_us < began_us
