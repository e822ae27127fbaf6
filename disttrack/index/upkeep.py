"""Carries out plans: what is new in run logs goes into the tables, in transactions of TRANSACTION_S.

In: a Plan, and the logs it names. Out: the tables, through the Store. Called by whoever holds the index's lock
(Index.catch_up); another process may have been first with any of it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from disttrack.index.aggregates import Aggregates
from disttrack.index.decoder import Replaced, RunDecoder
from disttrack.index.decoders import Decoders
from disttrack.index.fetch import Fetched, ahead
from disttrack.index.plan import Plan, Work, log_of, size_bytes
from disttrack.index.progress import Meter
from disttrack.index.queries import RunRecord
from disttrack.index.store import RunRow, Store
from disttrack.index.survey import changed_ns, segments, trusted

__all__ = ["COLD_VALUES", "LIVE_VALUES", "Upkeep"]

TRANSACTION_S = 0.5
COLD_VALUES = 1_000_000  # pending values at which a log being read is sealed (facts/runlog.md §2: 81 MB of memory)
LIVE_VALUES = 256_000  # ... at the end of a log that grows


class _Reached(NamedTuple):
    """How far a run's log was read."""

    is_end: bool
    position: int = 0  # bytes of it, in all segments


class Upkeep:
    """The writing side of one root's index."""

    def __init__(
        self,
        root: Path,
        decoders: Decoders,
        aggregates: Aggregates,
        fetch: Callable[[str], Fetched | None],
        cold_values: int,
        live_values: int,
    ) -> None:
        """fetch, cold_values, live_values: as of Index."""
        self._root = root
        self._decoders = decoders
        self._aggregates = aggregates
        self._fetch = fetch
        self._cold_values, self._live_values = cold_values, live_values

    def carry_out(self, store: Store, plan: Plan, wait_s: float) -> None:
        """Apply a plan in as many transactions as it takes; raise Busy where the index cannot be written."""
        new = [log_of(self._root, work.project, work.directory) for work in plan.work if work.is_new]
        with closing(ahead(self._fetch, new)) as fetched:
            self._apply_all(store, plan, fetched, wait_s)

    def _apply_all(self, store: Store, plan: Plan, fetched: Iterator[Fetched | None], wait_s: float) -> None:
        work = deque(plan.work)
        meter = Meter(len(work), lambda: size_bytes(self._root, plan.work))
        read_bytes = 0  # of the logs that are done
        while work or plan.remember or plan.gone:
            numbers: dict[str, int] = {}
            reached = _Reached(True)
            with store.transaction(wait_s):
                deadline = time.monotonic() + TRANSACTION_S
                while work and time.monotonic() < deadline:
                    one = work.popleft()
                    reached = self._do(store, one, deadline, next(fetched) if one.is_new else None, numbers)
                    if reached.is_end:
                        read_bytes += reached.position
                    else:
                        work.appendleft(one._replace(is_new=False))
                if not work:  # only now: who is killed half way finds the rest by the times still unknown
                    for project, times in plan.remember.items():
                        store.remember(project, times)
                    for number in plan.gone:
                        store.drop_project(number)
                    plan.remember.clear()
                    plan.gone.clear()
            # Not within the transaction: a terminal may keep whoever listens waiting.
            meter.reached(len(plan.work) - len(work), read_bytes + (0 if reached.is_end else reached.position))

    def _do(
        self, store: Store, work: Work, deadline: float, fetched: Fetched | None, numbers: dict[str, int]
    ) -> _Reached:
        """Apply what is new in one run; return how far that went.

        fetched: its log, where it is known; numbers: of the projects, as this transaction knows them.
        """
        project = numbers.get(work.project)
        if project is None:
            project = numbers[work.project] = store.project(work.project)
        row = store.row(project, work.directory)
        if row is not None and row.inode != work.inode:
            self._drop(store, row)
            row = None
        if work.inode is None:
            return _Reached(True)
        log = log_of(self._root, work.project, work.directory)
        try:
            if row is not None or fetched is None:  # another process was first with it, or it was not new
                fetched = Fetched(trusted(changed_ns(log), time.time_ns()), segments(log), {})
            if not fetched.seen:
                self._drop(store, row)  # no log yet, or none any more
                return _Reached(True)
            row = row or store.create(project, work.directory, work.inode)
            return self._apply(store, work, row, log, fetched, deadline)
        except Replaced:
            self._drop(store, store.row(project, work.directory))
            return _Reached(False)  # once more, from the start
        except OSError:
            return _Reached(True)  # it vanishes, or is another user's

    def _drop(self, store: Store, row: RunRow | None) -> None:
        if row is not None:
            self._decoders.drop(row.number)
            store.drop(row.number)

    def _apply(self, store: Store, work: Work, row: RunRow, log: str, fetched: Fetched, deadline: float) -> _Reached:
        """Read on in a run's log until its end or the deadline."""
        decoder, generation = self._decoders.of(row, store), row.generation
        done = True
        for _ in _read_whole(decoder, log, fetched):
            if decoder.weight >= self._cold_values:
                store.seal(row.number, decoder, work[:2])
                generation += 1
            if time.monotonic() >= deadline:
                done = False
                break
        if done:
            self._aggregates.note(store, RunRecord(row.number, *work[:2], decoder.facts, decoder.sources), decoder)
        log_ns = fetched.log_ns if done else -1
        over = done and decoder.facts.over_us is not None
        if decoder.weight >= self._live_values or (over and not decoder.drained):
            store.seal(row.number, decoder, work[:2], log_ns)
            generation += 1
        else:
            store.save(row.number, decoder, work[:2], log_ns)
        self._decoders.keep(row.number, generation, decoder)
        return _Reached(done, sum(segment.position for segment in decoder.facts.segments))


def _read_whole(decoder: RunDecoder, log: str, fetched: Fetched) -> Iterator[None]:
    """Read what is new in a log, yielding as decoder.read does; of a run that is over, all that anybody can read.

    Nobody looks into it again, so an older segment that seemed shorter than it is would stay so.
    """
    yield from decoder.read(log, fetched.seen, fetched.content)
    if decoder.facts.over_us is not None and not fetched.content:
        yield from decoder.read(log, segments(log, opened=True))
