"""How the process of a journal ended, noted beside it by who saw it, before a scheduler kills them, too."""

from __future__ import annotations

import os
import time
from pathlib import Path

from disttrack.environments.endings import UNKNOWN, Ending
from disttrack.environments.files import open_plain, read_plain
from disttrack.journal.directories import is_journal
from disttrack.records.codec import decode, pack
from disttrack.records.types import Join, Sighting

__all__ = ["note_death", "noted_death", "noted_ending"]

DEATH_NAME = "death"  # beside the journal
MAX_BYTES = 1 << 20


def note_death(join: Join, ending: Ending) -> int:
    """Note how an incarnation's process ended, unless somebody has; return when that was first seen, in µs."""
    known = noted_death(join)
    if known is not None:
        return known.time_us
    now_us = time.time_ns() // 1000
    directory = Path(join.journal)
    if is_journal(directory):
        seen = Sighting(incarnation=join.incarnation, seen="crashed", time_us=now_us, **ending._asdict())
        try:
            fd = open_plain(directory / DEATH_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:  # a full disk, or the journal is removed this moment: then we alone know
            return now_us
        try:
            os.write(fd, pack(seen))
        except OSError:
            pass  # a full disk, as above
        finally:
            os.close(fd)
    return now_us


def noted_death(join: Join) -> Sighting | None:
    """Return what was noted of how an incarnation's process ended; None where nothing was."""
    try:
        seen = decode(read_plain(Path(join.journal) / DEATH_NAME, MAX_BYTES), Sighting)
    except (OSError, ValueError):
        return None  # nothing; or cut off, as whoever wrote it was killed
    return seen if seen.incarnation == join.incarnation else None


def noted_ending(join: Join) -> Ending:
    """Return how an incarnation's process ended as somebody noted it; UNKNOWN where nobody did."""
    seen = noted_death(join)
    return UNKNOWN if seen is None else Ending(seen.exit_code, seen.signal, seen.exception)
