"""Whether an attempt failed by itself, or its scheduler took it down: it was preempted, cancelled, or out of time.

Slurm tells no rank but by SIGTERM, and kills what a step leaves behind, its writer too, as soon as its tasks are gone:
often nobody is left to see how a rank ended, or that it did. A failure of a rank's own is seen, as a rule: its process
dies of another signal, or says what it ended with, while others live. Where one did, the attempt failed.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from disttrack.index.facts import SourceFacts
from disttrack.query.teardown import was_told

__all__ = ["taken_down"]

# After the first SIGTERM: what another rank dies of meanwhile may be why it came. Slurm's own SIGKILL comes later
# (KillWait is 30 s by default).
MEANWHILE_US = 5_000_000


def taken_down(gone: Sequence[SourceFacts]) -> bool:
    """Say whether a scheduler took an attempt down; gone: its ranks that did not end well, in the order of the log."""
    if not gone or not all(source.join is not None and source.join.job for source in gone):
        return False
    if was_told(gone[0]):
        began_us = _at_us(gone[0])
        return not any(_was_killed(source) and began_us <= _at_us(source) <= began_us + MEANWHILE_US for source in gone)
    return all(was_told(source) or _is_unknown(source) for source in gone)


def _is_unknown(source: SourceFacts) -> bool:
    seen = source.fell
    said = seen is not None and (seen.exit_code, seen.signal, seen.exception) != (None,) * 3
    return source.ended is None and not said


def _was_killed(source: SourceFacts) -> bool:
    return source.fell is not None and source.fell.signal not in (None, signal.SIGTERM)


def _at_us(source: SourceFacts) -> int:
    return source.fell.time_us if source.fell is not None else 0
