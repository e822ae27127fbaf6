"""How ranks of a launch ended, noted in the logs of their runs: as they said, as their node saw, or as found dead."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from disttrack.environments import ray
from disttrack.environments.endings import UNKNOWN, Ending
from disttrack.journal.deaths import noted_death
from disttrack.journal.directories import mark_home
from disttrack.journal.stored import end_record
from disttrack.records.payloads import End
from disttrack.records.types import Sighting
from disttrack.writer.ingest import RunIngest, now_us
from disttrack.writer.roster import Source
from disttrack.writer.watches import Process, process_of

__all__ = ["Ends"]


class Ends:
    """What Launch has for the ends of its ranks."""

    def __init__(self) -> None:
        self._last_of: dict[Process, Source] = {}  # what a process became last

    def bury_again(self, run: RunIngest, source: Source) -> None:
        """Store all of a source that was over, once more."""
        source.over = False
        self.bury(run, source, source.ending)

    def bury(self, run: RunIngest, source: Source, ending: Ending = UNKNOWN) -> None:
        """Store the rest of a rank whose process is gone, and how it ended; raise OSError if the disk is full."""
        if not source.over:
            noted = noted_death(source.join)
            time_us = None if noted is None else noted.time_us
            self.gone(run, source, run.drain_journal(source), ending, time_us)
            run.sync()
            mark_home(Path(source.join.journal))

    def gone(
        self, run: RunIngest, source: Source, said: End | None, ending: Ending, time_us: int | None = None
    ) -> None:
        """Note how a rank ended whose process is gone and whose journal is stored: as it said, and as its node saw.

        time_us: when its node saw that, in µs; None for now.
        """
        if source.over or said is not None:
            if not source.over:
                self._see_end(run, source, said)
            self.outlived(run, source, ending)
        else:
            # Helpers go without a word (multiprocessing children run no exit hooks): that is how they end.
            helper = source.admission.role in ("helper", "node")
            self._see(run, source, "ended" if helper else "crashed", time_us or now_us(), ending)

    def died(self, run: RunIngest, source: Source, ending: Ending, time_us: int | None = None) -> None:
        """Note how a rank's process on another node ended whose journal is still to come: others may end for it."""
        if ending.failed and not source.over and source.admission.role == "rank":
            self._see(run, source, "silent", time_us or now_us(), ending)

    def ended(self, run: RunIngest, source: Source, data: bytes) -> None:
        """Note that a rank said its last record, which data ends with."""
        self._see_end(run, source, end_record(data))

    def outlived(self, run: RunIngest, source: Source, ending: Ending) -> None:
        """Note how the process of a rank ended after it, where it failed and the rank did not say so.

        Only of the last rank that a process was, and only while its run is open: what becomes of a process long after
        is nothing of that run. Ray kills the processes of trials and workers that are done.
        """
        if (
            not run.ended
            and not source.join.launch_key.startswith(ray.PREFIX)
            and ending.failed
            and ending != source.ending
            and source is self._last_of[process_of(source.join)]
        ):
            self._see(run, source, "ended", now_us(), ending)

    def _see_end(self, run: RunIngest, source: Source, said: End | None) -> None:
        time_us, exit_code = (said.time_us, said.exit_code) if said is not None else (now_us(), 0)
        self._see(run, source, "ended", time_us, Ending(exit_code), stopped=said is not None and said.stopped)

    def _see(
        self,
        run: RunIngest,
        source: Source,
        seen: Literal["ended", "crashed", "silent"],
        time_us: int,
        ending: Ending,
        *,
        stopped: bool = False,
    ) -> None:
        incarnation = source.join.incarnation
        how = ending._asdict()
        run.see(source, Sighting(incarnation=incarnation, seen=seen, time_us=time_us, stopped=stopped, **how))
