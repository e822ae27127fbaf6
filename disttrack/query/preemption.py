"""Whether an attempt failed by itself, or its scheduler took it down: it was preempted, cancelled, or out of time.

Slurm tells no rank but by SIGTERM, and kills what a step leaves behind, its writer too, as soon as its tasks are gone:
often nobody is left to see how a rank ended, or that it did. A failure of a rank's own is seen, as a rule: its process
dies of another signal, or says what it ended with, while others live. Where one did, the attempt failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from disttrack.index.facts import SourceFacts
from disttrack.query.causes import MEANWHILE_US, at_us, is_unknown
from disttrack.query.teardown import was_told

__all__ = ["taken_down"]


def taken_down(gone: Sequence[SourceFacts], others: Sequence[SourceFacts]) -> bool:
    """Say whether a scheduler took an attempt down.

    gone: its ranks that did not end well, the likely cause first (causes.in_order). others: that live or ended well.
    """
    if not gone or not all(source.join is not None and source.join.job for source in gone):
        return False
    if was_told(gone[0]):
        return not _went_alone(gone, others)
    return all(was_told(source) or is_unknown(source) for source in gone)


def _went_alone(gone: Sequence[SourceFacts], others: Sequence[SourceFacts]) -> bool:
    """Say whether only one rank was told to end while others went on: a scheduler tells all of them."""
    later_us = at_us(gone[0]) + MEANWHILE_US
    return len(gone) == 1 and any(
        other.ended is not None or (other.last_time_us is not None and other.last_time_us > later_us)
        for other in others
    )
