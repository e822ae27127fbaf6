"""Keeps the index of one root up with its run logs, and answers what it knows of them.

One process indexes at a time, in transactions of TRANSACTION_S; who finds it busy serves what is
there. The rows of a live run that lie in no chunk yet are decoded by each reader for itself.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from disttrack.index.blocks import Block
from disttrack.index.checksums import IndexDamaged, signed, verified
from disttrack.index.decoder import Replaced, RunDecoder, SegmentSeen
from disttrack.index.facets import Columns, Facet, columns
from disttrack.index.facts import RunFacts, SourceFacts, pack
from disttrack.index.fetch import Fetched, ahead, fetch_log
from disttrack.index.progress import Meter
from disttrack.index.queries import (
    RunRecord,
    StoredBlock,
    Vanished,
    answering,
    not_filed,
    numbered,
    records,
    sealed_blocks,
)
from disttrack.index.sqlite import MEMORY, Busy, is_damaged, open_index, reading, remove
from disttrack.index.store import Describe, RunRow, Store, look_at_all
from disttrack.index.survey import NEVER, ProjectTimes, changed_ns, look, project_directories, runs, segments, trusted
from disttrack.records.codec import decode
from disttrack.records.names import directory_name

__all__ = ["Index", "Snapshot"]

_T = TypeVar("_T")

TRANSACTION_S = 0.5
LOCK_WAIT_S = 2.0  # for another indexer, before what is there is served: four of its transactions
COLD_VALUES = 1_000_000  # pending values at which a log being read is sealed (facts/runlog.md §2: 81 MB of memory)
LIVE_VALUES = 256_000  # ... at the end of a log that grows
MAX_DECODERS = 64
MAX_SIZED = 100  # runs whose sizes are looked up to say how much there is to index


class Snapshot(NamedTuple):
    """A run at one moment: what is known of it, and all its rows. Blocks may be read as long as the index is open."""

    record: RunRecord
    blocks: list[Block]

    def checked(self) -> Snapshot:
        """Return it after reading all of it once; raise Vanished where the run is gone, or the index damaged."""
        for block in self.blocks:
            if isinstance(block, StoredBlock):
                block.check()
        return self


class _Work(NamedTuple):
    """A run to look into; inode is None where it is gone."""

    project: str
    directory: str
    inode: int | None
    is_new: bool = False  # nothing is known of it


class _Reached(NamedTuple):
    """How far a run's log was read."""

    is_end: bool
    position: int = 0  # bytes of it, in all segments


class _Plan(NamedTuple):
    work: list[_Work]
    remember: dict[str, ProjectTimes]
    gone: list[int]  # projects


class Index:
    """The index of one root. May be used by several threads; not across a fork."""

    def __init__(
        self,
        root: Path,
        environ: Mapping[str, str],
        *,
        cold_values: int = COLD_VALUES,
        live_values: int = LIVE_VALUES,
        fetch: Callable[[str], Fetched | None] = fetch_log,
        describe: Describe = look_at_all,
    ) -> None:
        """root need not exist yet. environ says where caches lie (sqlite.index_path).

        cold_values, live_values: how many values may wait until they are sealed, within a log and at its end.
        fetch: how the log of a run that is not known yet is read; it may be called by several threads.
        describe: what lists ask of a run (without it, they find none filed).
        """
        self.root = root
        self._environ = environ
        self._fetch, self._describe = fetch, describe
        self._cold_values, self._live_values = cold_values, live_values
        self._lock = threading.RLock()
        self._is_damaged = threading.Event()
        self._decoders: OrderedDict[int, tuple[int, RunDecoder]] = OrderedDict()  # by run: generation, decoder
        self._path, self._file, self._has_root = MEMORY, 0, False
        self._store = self._opened()

    def close(self) -> None:
        """Close the index; nothing may be asked of it afterwards."""
        with self._lock:
            self._store.connection.close()

    def __del__(self) -> None:
        if hasattr(self, "_store"):  # else it was never opened
            self._store.connection.close()

    def _opened(self) -> Store:
        self._has_root = self.root.is_dir()
        self._path, connection = open_index(self.root if self._has_root else None, self._environ)
        self._file = _inode(self._path)
        return Store(connection, self._describe)

    def _reopen(self) -> None:
        """Open the index anew where its file was deleted or is damaged, or where its root has come to be or gone."""
        if self._is_damaged.is_set():
            self._is_damaged.clear()
            if self._path != MEMORY and self._file == _inode(self._path):  # else another process made a new one
                remove(self._path)
            self._file = -1
        # Its own file is there, so the root it lies in is, too.
        if self._file != _inode(self._path) or (
            self._path.parent != self.root and self._has_root != self.root.is_dir()
        ):
            self._store.connection.close()
            self._decoders.clear()
            self._store = self._opened()

    # Keeping up

    def catch_up(self, wait_s: float = LOCK_WAIT_S) -> bool:
        """Apply what is new in the root; return False where another process indexes, and what is there must do.

        Raises UnsafeDirectory or OSError where no index can be opened or the root cannot be read.
        """
        with self._lock:
            return self._mended(lambda: self._caught_up(wait_s))

    def _caught_up(self, wait_s: float) -> bool:
        self._reopen()
        try:
            self._carry_out(self._plan(time.time_ns()), wait_s)
        except BaseException as error:
            # What the transaction had sealed is unsealed again, but the decoders have let go of it.
            self._decoders.clear()
            self._store.forget()
            if isinstance(error, Busy):
                return False
            raise
        return True

    def _mended(self, ask: Callable[[], _T]) -> _T:
        """Return what ask returns; where the index proves damaged, once more from one that is built anew."""
        try:
            return ask()
        except (sqlite3.DatabaseError, UnicodeDecodeError, IndexDamaged) as error:
            if not is_damaged(error):
                raise
        self._is_damaged.set()
        self._caught_up(LOCK_WAIT_S)
        return ask()

    def _carry_out(self, plan: _Plan, wait_s: float) -> None:
        """Apply a plan in as many transactions as it takes; raise Busy where the index cannot be written."""
        new = [self._log(work.project, work.directory) for work in plan.work if work.is_new]
        with closing(ahead(self._fetch, new)) as fetched:
            self._apply_all(plan, fetched, wait_s)

    def _apply_all(self, plan: _Plan, fetched: Iterator[Fetched | None], wait_s: float) -> None:
        work = deque(plan.work)
        meter = Meter(len(work), lambda: self._size_bytes(plan.work))
        read_bytes = 0  # of the logs that are done
        while work or plan.remember or plan.gone:
            numbers: dict[str, int] = {}
            reached = _Reached(True)
            with self._store.transaction(wait_s):
                deadline = time.monotonic() + TRANSACTION_S
                while work and time.monotonic() < deadline:
                    one = work.popleft()
                    reached = self._do(one, deadline, next(fetched) if one.is_new else None, numbers)
                    if reached.is_end:
                        read_bytes += reached.position
                    else:
                        work.appendleft(one._replace(is_new=False))
                if not work:  # only now: who is killed half way finds the rest by the times still unknown
                    for project, times in plan.remember.items():
                        self._store.remember(project, times)
                    for number in plan.gone:
                        self._store.drop_project(number)
                    plan.remember.clear()
                    plan.gone.clear()
            # Not within the transaction: a terminal may keep whoever listens waiting.
            meter.reached(len(plan.work) - len(work), read_bytes + (0 if reached.is_end else reached.position))

    def _size_bytes(self, work: Sequence[_Work]) -> int | None:
        """Return how large the logs of some runs are together; None where to find out would take long itself."""
        if len(work) > MAX_SIZED:
            return None
        logs = (_segments(self._log(one.project, one.directory)) or {} for one in work)
        return sum(segment.size for log in logs for segment in log.values())

    def _plan(self, now_ns: int) -> _Plan:
        """Find out, without writing, which runs came, went or may have grown."""
        known = self._store.projects()
        plan = _Plan([], {}, [])
        there = project_directories(self.root) if self._has_root else []
        for project in there:
            number, times = known.get(project, (-1, NEVER))
            try:
                self._plan_project(plan, project, number, times, now_ns)
            except OSError:
                continue  # vanished meanwhile, or another user's
        plan.gone.extend(number for project, (number, _) in known.items() if project not in there)
        return plan

    def _plan_project(self, plan: _Plan, project: str, number: int, times: ProjectTimes, now_ns: int) -> None:
        found = look(self.root / project, times, now_ns)
        rows = self._store.rows(number, only_live=True)
        for name in (found.live | found.edited) - rows.keys():
            if (row := self._store.row(number, name)) is not None:
                rows[name] = row
        candidates = set(rows)
        if found.changed or not found.live <= rows.keys():
            rows = self._store.rows(number)
            there = {name: inode for name, inode in runs(self.root / project).items() if name not in found.deleted}
            other = [name for name, row in rows.items() if there.get(name) != row.inode]
            plan.work.extend(_Work(project, name, there.get(name)) for name in other)
            plan.work.extend(_Work(project, name, inode, True) for name, inode in there.items() if name not in rows)
            if found.woken:
                logs = (self._log(project, name) for name in rows)
                changed = ahead(_changed_ns, logs)
                candidates |= {
                    name for name, time_ns in zip(rows, changed, strict=True) if time_ns != rows[name].log_ns
                }
            candidates = (candidates - set(other)) & rows.keys()  # who dropped one meanwhile knows why
        if found.times != times:
            plan.remember[project] = found.times
        looked = ahead(_segments, (self._log(project, name) for name in sorted(candidates)))
        plan.work.extend(
            _Work(project, name, rows[name].inode)
            for name, there in zip(sorted(candidates), looked, strict=True)
            if there is not None and _differs(decode(verified(rows[name].facts), RunFacts), there)
        )

    def _log(self, project: str, directory: str) -> str:
        return f"{self.root}/{project}/{directory}/log"

    def _do(self, work: _Work, deadline: float, fetched: Fetched | None, numbers: dict[str, int]) -> _Reached:
        """Apply what is new in one run; return how far that went.

        fetched: its log, where it is known; numbers: of the projects, as this transaction knows them.
        """
        project = numbers.get(work.project)
        if project is None:
            project = numbers[work.project] = self._store.project(work.project)
        row = self._store.row(project, work.directory)
        if row is not None and row.inode != work.inode:
            self._drop(row)
            row = None
        if work.inode is None:
            return _Reached(True)
        log = self._log(work.project, work.directory)
        try:
            if row is not None or fetched is None:  # another process was first with it, or it was not new
                fetched = Fetched(trusted(changed_ns(log), time.time_ns()), segments(log), {})
            if not fetched.seen:
                self._drop(row)  # no log yet, or none any more
                return _Reached(True)
            row = row or self._store.create(project, work.directory, work.inode)
            return self._apply(work, row, log, fetched, deadline)
        except Replaced:
            self._drop(self._store.row(project, work.directory))
            return _Reached(False)  # once more, from the start
        except OSError:
            return _Reached(True)  # it vanishes, or is another user's

    def _drop(self, row: RunRow | None) -> None:
        if row is not None:
            self._decoders.pop(row.number, None)
            self._store.drop(row.number)

    def _apply(self, work: _Work, row: RunRow, log: str, fetched: Fetched, deadline: float) -> _Reached:
        """Read on in a run's log until its end or the deadline."""
        decoder, generation = self._decoder(row), row.generation
        done = True
        for _ in decoder.read(log, fetched.seen, fetched.content):
            if decoder.weight >= self._cold_values:
                self._store.seal(row.number, decoder, work[:2])
                generation += 1
            if time.monotonic() >= deadline:
                done = False
                break
        log_ns = fetched.log_ns if done else -1
        over = done and decoder.facts.over_us is not None
        if decoder.weight >= self._live_values or (over and not decoder.drained):
            self._store.seal(row.number, decoder, work[:2], log_ns)
            generation += 1
        else:
            self._store.save(row.number, decoder, work[:2], log_ns)
        self._keep(row.number, generation, decoder)
        return _Reached(done, sum(segment.position for segment in decoder.facts.segments))

    def _decoder(self, row: RunRow) -> RunDecoder:
        """Return the decoder of a run: this process's own if it goes on from what is sealed, else a new one."""
        kept = self._decoders.get(row.number)
        if kept is not None and kept[0] == row.generation:
            return kept[1]
        return self._store.load(row)

    def _keep(self, run: int, generation: int, decoder: RunDecoder) -> None:
        self._decoders[run] = (generation, decoder)
        self._decoders.move_to_end(run)
        if decoder.facts.over_us is not None and decoder.drained:
            del self._decoders[run]
        while len(self._decoders) > MAX_DECODERS:
            self._decoders.popitem(last=False)

    # Answering

    def runs(self, project: str | None = None) -> list[RunRecord]:
        """Return every run, or those of one project."""
        with self._lock:
            return self._mended(lambda: self._runs(project))

    def _runs(self, project: str | None) -> list[RunRecord]:
        with reading(self._store.connection):
            if project is None:
                return records(self._store.connection)
            return records(self._store.connection, "project.directory = ?", directory_name(project))

    def listed(self, facets: Iterable[Facet]) -> tuple[Columns, list[RunRecord]]:
        """Return facets of the runs that are filed, and all runs to be looked at one by one: no run is in both."""
        with self._lock:
            return self._mended(lambda: self._listed(facets))

    def _listed(self, facets: Iterable[Facet]) -> tuple[Columns, list[RunRecord]]:
        with reading(self._store.connection):
            found = columns(self._store.connection, facets)
            return found, numbered(self._store.connection, found.long.union(not_filed(self._store.connection)))

    def facets(self, facets: Iterable[Facet], runs: Collection[int]) -> Columns:
        """Return facets of these runs at least, as far as they are filed."""
        with self._lock:
            return self._mended(lambda: columns(self._store.connection, facets, runs))

    def numbered(self, runs: Collection[int]) -> list[RunRecord]:
        """Return the runs with these numbers, in no order: those of them that are still there."""
        with self._lock:
            return self._mended(lambda: self._numbered(runs))

    def _numbered(self, runs: Collection[int]) -> list[RunRecord]:
        with reading(self._store.connection):
            return numbered(self._store.connection, runs)

    def find(self, name: str, known: RunRecord | None = None) -> list[tuple[RunRecord, bool]]:
        """Return the runs that answer to an id, and whether it is but an alias of theirs.

        known: one of them as it was found before; it is not read again where it is the same.
        """
        with self._lock:
            return self._mended(lambda: self._find(name, known))

    def _find(self, name: str, known: RunRecord | None) -> list[tuple[RunRecord, bool]]:
        with reading(self._store.connection):
            answer = answering(self._store.connection, name)
            rows = self._store.numbered(list(answer))
            same = [known] if known is not None and known.number in rows and _is_same(known, rows[known.number]) else []
            found = same + numbered(self._store.connection, rows.keys() - {record.number for record in same})
            return [(record, answer[record.number]) for record in sorted(found, key=lambda record: record.number)]

    def snapshot(self, record: RunRecord) -> Snapshot:
        """Return a run with all its rows, up to what its log holds now; raise Vanished where it is gone."""
        try:
            return self._snapshot(record)
        except (sqlite3.DatabaseError, UnicodeDecodeError, IndexDamaged) as error:
            if not is_damaged(error):
                raise
        with self._lock:
            self._is_damaged.set()
            self._caught_up(LOCK_WAIT_S)
            anew = [known for known in self._runs(None) if _place(known) == _place(record)]
        if not anew:
            raise Vanished
        return self._snapshot(anew[0])

    def _snapshot(self, record: RunRecord) -> Snapshot:
        with self._lock:
            with reading(self._store.connection):
                found = self._snapshots([record])
            if not found:
                raise Vanished
            return found[0]

    def asked_of_all(self, records: Sequence[RunRecord], ask: Callable[[list[Snapshot]], _T]) -> _T:
        """Return what ask says of all these runs as they are at one moment; those that are gone are left out.

        Where the index proves damaged meanwhile, it is built anew and asked once more.
        """
        with self._lock:
            try:
                return self._asked(records, ask)
            except (sqlite3.DatabaseError, UnicodeDecodeError, IndexDamaged, Vanished) as error:
                if not isinstance(error, Vanished) and not is_damaged(error):
                    raise
            self._is_damaged.set()  # within a transaction no run vanishes for any other reason
            self._caught_up(LOCK_WAIT_S)
            anew = {_place(known): known for known in self._runs(None)}
            return self._asked([anew[_place(record)] for record in records if _place(record) in anew], ask)

    def _asked(self, records: Sequence[RunRecord], ask: Callable[[list[Snapshot]], _T]) -> _T:
        with reading(self._store.connection):
            return ask(self._snapshots(records))

    def _snapshots(self, wanted: Sequence[RunRecord]) -> list[Snapshot]:
        """Return the runs that are still there with all their rows, within a transaction."""
        connection = self._store.connection
        rows = self._store.numbered([record.number for record in wanted])
        there = [record for record in wanted if record.number in rows]
        stale = [record.number for record in there if not _is_same(record, rows[record.number])]
        fresh = {record.number: record for record in numbered(connection, stale)}
        known = [fresh.get(record.number, record) for record in there]
        blocks = sealed_blocks(connection, self._lock, known, self._is_damaged)
        return [self._with_tail(Snapshot(record, blocks[record.number]), rows[record.number]) for record in known]

    def _with_tail(self, sealed: Snapshot, row: RunRow) -> Snapshot:
        """Return a run with the rows of its log that lie in no chunk yet."""
        if row.is_over:
            return sealed
        record = sealed.record
        decoder = self._decoder(row)
        log = self._log(record.project_directory, record.directory)
        try:
            for _ in decoder.read(log, segments(log)):
                pass
        except (Replaced, OSError):
            self._decoders.pop(record.number, None)  # the next catch_up sees to it
            return sealed
        self._keep(record.number, row.generation, decoder)
        return Snapshot(_copy(record, decoder), sealed.blocks + [block for _, block in decoder.tail()])


def _copy(record: RunRecord, decoder: RunDecoder) -> RunRecord:
    """Return a record of what a decoder knows now: it will go on changing its own facts."""
    sources = tuple(decode(pack(stream.facts), SourceFacts) for stream in decoder.streams)
    facts = decode(pack(decoder.facts), RunFacts)
    return RunRecord(record.number, record.project_directory, record.directory, facts, sources)


def _is_same(record: RunRecord, row: RunRow) -> bool:
    """Say whether all that is known of a run is what is stored of it: how far its log was read is part of that."""
    return signed(pack(record.facts)) == row.facts


def _place(record: RunRecord) -> tuple[str, str]:
    return record.project_directory, record.directory


def _inode(path: Path) -> int:
    try:
        return 0 if path == MEMORY else os.stat(path).st_ino
    except OSError:
        return 0


def _differs(facts: RunFacts, there: Mapping[int, SegmentSeen]) -> bool:
    """Say whether a log is not what was applied of it."""
    return {segment.number: (segment.inode, segment.size) for segment in facts.segments} != there


def _segments(log: str) -> dict[int, SegmentSeen] | None:
    try:
        return segments(log)
    except OSError:
        return None  # another user's, or the file server has hiccups: what is known stays


def _changed_ns(log: str) -> int:
    try:
        return changed_ns(log)
    except OSError:
        return -1
