"""The clocks: nothing is ordered or timed out by them, but what people read is, and orphans are matched by them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning

__all__ = ["check_clock", "compared"]

NOTABLE_S = 2.0
MATCHING_S = 600.0  # writer.earlier.MEETING_US: apart by more, a rank that met nobody is not found its run
WATCH_S = 0.2
STEP_S = 0.05


def compared(check: str, clock: str, ahead_s: float, within_s: float) -> Finding:
    """Return how another clock stands against this node's.

    clock: which, as a subject. ahead_s: of ours. within_s: how exactly that is known.
    """
    facts = {"ahead_s": ahead_s, "within_s": within_s}
    apart_s = max(0.0, abs(ahead_s) - within_s)
    text = f"{clock} is {abs(ahead_s):.3g} s {'ahead of' if ahead_s > 0 else 'behind'} this node's"
    if apart_s <= NOTABLE_S:
        return good(check, f"{clock} and this node's agree to {max(abs(ahead_s), within_s):.1g} s", **facts)
    if apart_s <= MATCHING_S:
        text += ": times of ranks on different nodes cannot be compared; nothing is lost or misplaced"
        return warning(check, text, "chronyc makestep, or ask whoever runs this cluster for NTP", **facts)
    text += ": a rank that meets nobody may be filed as a run of its own"
    return failed(check, text, "set the clocks: chronyc makestep, or ask whoever runs this cluster for NTP", **facts)


def check_clock(_around: Surroundings) -> Iterator[Finding]:
    """Tell whether this node's clock runs like the monotonic one, and shows a time that may be."""
    wall, monotonic = time.time(), time.monotonic()
    time.sleep(WATCH_S)
    drift_s = (time.time() - wall) - (time.monotonic() - monotonic)
    if abs(drift_s) > STEP_S:
        text = f"this node's clock moved by {drift_s:+.3f} s within {WATCH_S} s: somebody is setting it"
        yield warning("clocks.steady", text, "look again; a virtual machine may need its time service", drift_s=drift_s)
    else:
        yield good("clocks.steady", "this node's clock runs evenly", drift_s=drift_s)
    installed = Path(__file__).stat().st_mtime
    if time.time() < installed:
        yield warning(
            "clocks.plausible",
            f"this node's clock shows {time.strftime('%Y-%m-%d %H:%M')}, before disttrack was installed on it",
            "set it: chronyc makestep",
        )
