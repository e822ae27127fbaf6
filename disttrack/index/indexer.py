"""The index of one root: opened, kept up with its run logs, asked, and built anew where it proves damaged.

In: a root, and questions from query. Out: records, facets and snapshots of its runs. One process indexes at a time
(index.upkeep); who finds it busy serves what is there.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from disttrack.index.aggregates import Aggregate, Aggregates, none_at_all
from disttrack.index.checksums import IndexDamaged
from disttrack.index.chunks import Column
from disttrack.index.decoders import Decoders
from disttrack.index.facets import Columns, Facet, Scope, Values, columns, names_of
from disttrack.index.fetch import Fetched, fetch_log
from disttrack.index.plan import make_plan
from disttrack.index.queries import RunRecord, Vanished, answering, not_filed, numbered, records, versions
from disttrack.index.snapshots import Snapshot, Snapshots
from disttrack.index.sole import sole_columns
from disttrack.index.sqlite import CACHES, MEMORY, Busy, is_damaged, open_index, reading, remove
from disttrack.index.store import Describe, Store, is_same, look_at_all
from disttrack.index.upkeep import COLD_VALUES, LIVE_VALUES, Upkeep
from disttrack.records.names import directory_name

__all__ = ["Index", "IndexFile"]

_T = TypeVar("_T")

LOCK_WAIT_S = 2.0  # for another indexer, before what is there is served: four of its transactions (index.upkeep)


@dataclass(frozen=True)
class IndexFile:
    """Where the index of a root lies, for other processes of the same host that are to read the same one."""

    path: Path
    inode: int
    environ: Mapping[str, str]  # what says where caches lie

    def is_there(self) -> bool:
        """Say whether the file is still the one that it was."""
        return _inode(self.path) == self.inode


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
        aggregate: Aggregate = none_at_all,
    ) -> None:
        """root need not exist yet. environ says where caches lie (sqlite.index_path).

        cold_values, live_values: how many values may wait until they are sealed, within a log and at its end.
        fetch: how the log of a run that is not known yet is read; it may be called by several threads.
        describe: what lists ask of a run (without it, they find none filed).
        aggregate: what a run keeps of the metrics that it defines (without it, nothing).
        """
        self.root = root
        self._environ = environ
        self._describe = describe
        self._lock = threading.RLock()
        self._is_damaged = threading.Event()
        self._decoders = Decoders()
        aggregates = Aggregates(aggregate, self._lock, self._is_damaged)
        self._upkeep = Upkeep(root, self._decoders, aggregates, fetch, cold_values, live_values)
        self._snapshots = Snapshots(root, self._decoders, aggregates, self._lock, self._is_damaged)
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
        self._versions: tuple[tuple[int, int], dict[int, int]] | None = None
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

    @property
    def file(self) -> IndexFile | None:
        """Where it lies; None where it lives in memory."""
        if self._path == MEMORY:
            return None
        return IndexFile(
            self._path, self._file, {name: self._environ[name] for name in CACHES if name in self._environ}
        )

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
            plan = make_plan(self._store, self.root if self._has_root else None, time.time_ns())
            self._upkeep.carry_out(self._store, plan, wait_s)
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

    # Answering

    def versions(self, runs: Collection[int] | None = None) -> dict[int, int]:
        """Return by the number of each run (runs: of these) what changes whenever something is applied of its log.

        Of all runs it is the same dict as long as nothing is written to the index.
        """
        with self._lock:
            if runs is None:
                return self._mended(self._all_versions)
            return self._mended(lambda: versions(self._store.connection, runs))

    def _all_versions(self) -> dict[int, int]:
        connection = self._store.connection
        # Before the runs are read: what is written meanwhile is found by the next call. Other connections' and ours.
        state = int(connection.execute("PRAGMA data_version").fetchone()[0]), connection.total_changes
        if self._versions is None or self._versions[0] != state:
            self._versions = state, versions(connection)
        return self._versions[1]

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

    def named_facets(self, scopes: Collection[Scope], runs: Collection[int]) -> dict[Facet, Values]:
        """Return all facets in some scopes of these runs at least, as far as they are filed."""

        def asked() -> dict[Facet, Values]:
            with reading(self._store.connection):
                names = names_of(self._store.connection, scopes)
                return columns(self._store.connection, names, runs).facets

        with self._lock:
            return self._mended(asked)

    def sole_columns(self, key: str, runs: Collection[int]) -> dict[int, list[Column]]:
        """Return by the numbers of runs the values of a key by step, of those where it takes no more than to read."""

        def asked() -> dict[int, list[Column]]:
            with reading(self._store.connection):
                return sole_columns(self._store.connection, key, runs)

        with self._lock:
            return self._mended(asked)

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
            same = [known] if known is not None and known.number in rows and is_same(known, rows[known.number]) else []
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
                found = self._snapshots.take(self._store, [record])
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
            return ask(self._snapshots.take(self._store, records))


def _place(record: RunRecord) -> tuple[str, str]:
    return record.project_directory, record.directory


def _inode(path: Path) -> int:
    try:
        return 0 if path == MEMORY else os.stat(path).st_ino
    except OSError:
        return 0
