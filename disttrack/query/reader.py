"""One root, read: finds its runs, and brings the index up with it before every answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from disttrack.errors import RootGone, RunNotFound, UnsupportedFormat
from disttrack.index.chunks import Column
from disttrack.index.facets import Columns, Facet, Scope, Values
from disttrack.index.indexer import Index, IndexFile
from disttrack.index.queries import RunRecord, Vanished
from disttrack.index.snapshots import Snapshot
from disttrack.index.survey import project_directories
from disttrack.journal.segment import FORMAT_VERSION
from disttrack.query.lineage import ancestors
from disttrack.query.members import Observer, members
from disttrack.query.metrics import aggregates
from disttrack.query.subjects import Subject, describe, is_shown
from disttrack.settings import load

__all__ = ["Reader"]

_T = TypeVar("_T")

MAX_FOUND = 64  # runs that are open, 0.3 MB each with 256 ranks, whose sources need not be decoded again: 4 ms
MAX_KEPT = 2_000  # settled runs, some 10 KB each: the pages that are looked at


class Reader:
    """Reads the runs below a root, which need not exist."""

    def __init__(self, root: Path, environ: Mapping[str, str] | None = None) -> None:
        """environ says where an index lies that cannot lie in the root; None: this process's, and the settings."""
        self.root = root
        self._device: int | None = None  # the file system that the root was on when it was there last; None: not yet
        self._is_followed = False  # it was read before
        if environ is None:
            environ = {**os.environ, "DISTTRACK_CACHE_DIR": load().cache_dir or ""}
        self._found: dict[str, RunRecord] = {}  # by how they were asked for
        self._kept: dict[int, tuple[int, Subject]] = {}
        self._index = Index(root, environ, describe=describe, aggregate=aggregates)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index; nothing may be asked afterwards."""
        self._index.close()

    @property
    def index_file(self) -> IndexFile | None:
        """Where the index lies; None where it lives in memory."""
        return self._index.file

    def catch_up(self) -> None:
        """Bring the index up with the run logs, for several snapshots of runs that were found already.

        Raises RootGone where the root was there, and is not any more: not as if its runs had been deleted.
        """
        if self._is_followed:  # who reads once pays nothing for this
            self._look()
        self._index.catch_up()
        if self._is_followed:  # gone meanwhile, its runs are no more for the index
            self._look()
        self._is_followed = True

    def _look(self) -> None:
        """Note that the root is there; raises RootGone where it was, and is not any more."""
        device = _device(self.root)
        if self._device is not None and device is None:
            raise RootGone(self.root, "is not there any more: it was removed, moved or unmounted")
        if self._device not in (None, device) and not project_directories(self.root):
            raise RootGone(self.root, "has no runs, and is on another file system than before: it was unmounted")
        self._device = device

    def _not_found(self, wanted: str, runs: Sequence[str] = ()) -> RunNotFound:
        """Return that no run, or several, are meant; raises RootGone where another thread found just that."""
        self._look()
        return RunNotFound(wanted, self.root, runs)

    def versions(self, runs: Collection[int] | None = None) -> dict[int, int]:
        """Return by the number of each run (runs: of these) what changes whenever something of it is caught up with."""
        return self._index.versions(runs)

    def runs(self, project: str | None = None) -> list[RunRecord]:
        """Return the runs that lists show, in no order: neither aliases of others nor those nothing is known of."""
        self.catch_up()
        return [record for record in self._index.runs(project) if is_shown(record)]

    def listed(self, facets: Iterable[Facet]) -> tuple[Columns, list[RunRecord]]:
        """Return facets of the runs that lists show, as far as they are filed, and the other runs that lists show."""
        self.catch_up()
        found, others = self._index.listed(facets)
        return found, [record for record in others if is_shown(record)]

    def facets(self, facets: Iterable[Facet], runs: Collection[int]) -> Columns:
        """Return facets of these runs at least, as far as they are filed."""
        return self._index.facets(facets, runs)

    def named_facets(self, scopes: Collection[Scope], runs: Collection[int]) -> dict[Facet, Values]:
        """Return all facets in these scopes of these runs at least, as far as they are filed."""
        return self._index.named_facets(scopes, runs)

    def sole_columns(self, key: str, runs: Collection[int]) -> dict[int, list[Column]]:
        """Return by the numbers of runs the values of a key by step, of those where it takes no more than to read."""
        return self._index.sole_columns(key, runs)

    def numbered(self, runs: Collection[int]) -> list[RunRecord]:
        """Return the runs with these numbers, in no order: those of them that are still there."""
        return self._index.numbered(runs)

    def subjects(self, runs: Sequence[int], observer: Observer) -> dict[int, Subject]:
        """Return the runs with these numbers that are still there; settled ones are kept for the next time."""
        versions = self._index.versions(runs)
        kept = self._kept
        found = {run: known[1] for run, version in versions.items() if (known := kept.get(run)) and known[0] == version}
        missing = [run for run in versions if run not in found]
        for record in self._index.numbered(missing) if missing else ():
            found[record.number] = subject = Subject(record, observer)
            if subject.is_settled:
                if len(kept) >= MAX_KEPT:
                    kept = self._kept = {}
                kept[record.number] = versions[record.number], subject
        return found

    def find(self, wanted: str, known: RunRecord | None = None) -> RunRecord:
        """Return the run that answers to `id`, `project/id` or `entity/project/id`; an alias stands for its run.

        known: what was found before, returned again where nothing of it has changed.
        Raises RunNotFound where none or several do, UnsupportedFormat where a newer disttrack wrote it.
        """
        self.catch_up()
        project, slash, name = wanted.rpartition("/")
        project = project.rpartition("/")[2]
        found = [
            (self._resolved(record), alias)
            for record, alias in self._index.find(name, known or self._found.get(wanted))
            if not slash or record.project == project
        ]
        own = {record.number: record for record, alias in found if not alias}
        runs = list((own or {record.number: record for record, _ in found}).values())
        if len(runs) != 1:
            raise self._not_found(wanted, [record.path for record in runs])
        if runs[0].facts.newer is not None:
            path, version = runs[0].facts.newer
            raise UnsupportedFormat(Path(path), version, FORMAT_VERSION)
        if len(self._found) >= MAX_FOUND:
            self._found = {}
        self._found[wanted] = runs[0]
        return runs[0]

    def _resolved(self, record: RunRecord) -> RunRecord:
        """Return the run that an alias is part of; itself where that one is not there."""
        seen = {record.number}
        while (target := record.facts.alias_of) is not None:
            there = [
                other
                for other, alias in self._index.find(target)
                if not alias and other.project == record.project and other.number not in seen
            ]
            if not there:
                return record
            record = there[0]
            seen.add(record.number)
        return record

    def snapshot(self, wanted: str, *, check: bool = False) -> Snapshot:
        """Return a run with its rows, up to what its log holds now; raises as find does.

        check: read all of it once. Its blocks will hardly raise Vanished then, which means: read half, ask again.
        """
        return self.asked(wanted, Snapshot.checked if check else lambda snapshot: snapshot)

    def asked(self, wanted: str, ask: Callable[[Snapshot], _T], known: RunRecord | None = None) -> _T:
        """Return what ask says of a run's snapshot; known as for find, raises as that does.

        Where that is gone half way (the index was damaged or deleted, the run replaced), ask the one that came after.
        """
        try:
            return ask(self._index.snapshot(self.find(wanted, known)))
        except Vanished:
            pass
        try:
            return ask(self._index.snapshot(self.find(wanted)))
        except Vanished:
            raise self._not_found(wanted) from None

    def asked_of_all(self, records: Sequence[RunRecord], ask: Callable[[list[Snapshot]], _T]) -> _T:
        """Return what ask says of runs that were found already, as of now; those that are gone are left out."""
        return self._index.asked_of_all(records, ask)

    def past(self, record: RunRecord) -> list[tuple[RunRecord, int]]:
        """Return the runs that a run is a fork of, the oldest first, each with the step from which on it is not."""
        return ancestors(members(record), record.project, self.find, members)

    def asked_with_past(
        self,
        wanted: str,
        past: Sequence[tuple[RunRecord, int]],
        ask: Callable[[Snapshot, Sequence[tuple[Snapshot, int]]], _T],
    ) -> _T:
        """Return what ask says of a run and of those it is a fork of, all at one moment; raises as find does."""
        untils = {record.run_id: until for record, until in past}
        run = self.find(wanted)

        def asked(snapshots: list[Snapshot]) -> _T:
            if not snapshots or snapshots[-1].record.run_id != run.run_id:
                raise self._not_found(wanted)
            return ask(snapshots[-1], [(other, untils[other.record.run_id]) for other in snapshots[:-1]])

        return self.asked_of_all([*(record for record, _ in past), run], asked)


def _device(directory: Path) -> int | None:
    """Return the file system that a directory is on; None where it is not there."""
    try:
        return os.stat(directory).st_dev
    except (FileNotFoundError, NotADirectoryError):
        return None
