"""Who looks at a run in tests: nothing of this machine, but what the test says."""

from __future__ import annotations

from collections.abc import Collection

from disttrack.query.members import Observer
from tests.index.logs import START_US

#: When these observers look: a minute after every run here began.
NOW_S = START_US / 1e6 + 60


def observer(
    hostname: str = "elsewhere",
    boot_id: str = "another boot",
    alive: Collection[int] = (),
    touched_s: float | None = None,
    now_s: float = NOW_S,
) -> Observer:
    """Returns one who finds these pids alive, and the run's marker touched at touched_s."""
    return Observer(now_s, hostname, boot_id, lambda pid, _start_time: pid in alive, lambda _record: touched_s)
