"""Whether an attempt failed by itself, or its scheduler took it down: it was preempted, cancelled, or out of time.

Slurm tells no rank but by SIGTERM, and kills what a step leaves behind, its writer too, as soon as its tasks are gone:
often nobody is left to see how a rank ended, or that it did. A failure of a rank's own is seen, as a rule: its process
dies of another signal, or says what it ended with, while others live. Where one did, the attempt failed.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from disttrack.environments.endings import signal_name
from disttrack.index.facts import SourceFacts

__all__ = ["torn_down"]

TERMINATED = signal_name(signal.SIGTERM)
TERMINATED_CODE = 128 + signal.SIGTERM  # of a shell whose child died of it, and of handlers that follow suit
# After the first SIGTERM: what another rank dies of meanwhile may be why it came. Slurm's own SIGKILL comes later
# (KillWait is 30 s by default).
MEANWHILE_US = 5_000_000


def torn_down(ended_badly: Mapping[int, SourceFacts], endings: Mapping[int, tuple[int | None, str | None]]) -> bool:
    """Say whether a scheduler took an attempt down.

    ended_badly: those of its ranks, in the order in which their ends stand in the log; endings: exit code and signal of
    each, None where nobody knows.
    """
    if not ended_badly or not all(source.join is not None and source.join.job for source in ended_badly.values()):
        return False
    first = next(iter(ended_badly))
    if _asked_to_go(endings[first]):
        began_us = _at_us(ended_badly[first])
        return not any(
            _fatal(endings[rank]) and began_us <= _at_us(source) <= began_us + MEANWHILE_US
            for rank, source in ended_badly.items()
        )
    return all(
        source.ended is None and (endings[rank] == (None, None) or _asked_to_go(endings[rank]))
        for rank, source in ended_badly.items()
    )


def _asked_to_go(ending: tuple[int | None, str | None]) -> bool:
    exit_code, signal = ending
    return signal == TERMINATED or (signal is None and exit_code == TERMINATED_CODE)


def _fatal(ending: tuple[int | None, str | None]) -> bool:
    return ending[1] not in (None, TERMINATED)


def _at_us(source: SourceFacts) -> int:
    return source.fell.time_us if source.fell is not None else 0
