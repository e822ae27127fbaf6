"""What changed in a root since it was looked at last: runs that came, went, grew, or are in another state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from disttrack.index.facets import as_list
from disttrack.index.queries import RunRecord
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.subjects import ID, PROJECT, Subject, is_shown

__all__ = ["Beat", "Change", "Pulse"]

LOOK_AGAIN_S = 2.0  # at runs of which no byte came: a process may have died, or a marker become old


@dataclass(frozen=True)
class Change:
    """A run as it is now. lines: its ranks printed more; about: labels, states of ranks or attempts changed."""

    run: str
    project: str
    state: str
    last_step: int | None
    rows: int
    ranks_alive: int
    at: float | None  # unix seconds, of the newest thing known of it
    lines: bool
    about: bool
    is_new: bool


@dataclass(frozen=True)
class Beat:
    """What one look found; live: whether any run may still grow."""

    changes: list[Change]
    gone: list[tuple[str, str]]  # run, project
    live: bool


@dataclass
class _Known:
    run: str
    project: str
    record: RunRecord
    printed: int
    about: tuple[object, ...]


class Pulse:
    """Looks at a root again and again. Not for several threads at once."""

    def __init__(self, reader: Reader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._clock = reader, clock
        self._versions: dict[int, int] | None = None
        self._known: dict[int, _Known] = {}  # of the runs that are not over
        self._names: dict[int, tuple[str, str]] = {}  # of all: the run's, and its project's
        self._looked_s = clock()

    def beat(self) -> Beat:
        """Return what changed since the last call; the first one finds nothing changed. Raises OSError."""
        self._reader.catch_up()
        found = self._reader.versions()
        is_first = self._versions is None
        before = self._versions or {}
        changed = [] if found is before else [run for run, version in found.items() if before.get(run) != version]
        observer = Observer.here(self._reader.root)
        if is_first:
            columns, others = self._reader.listed([PROJECT, ID])
            projects, ids = (columns.facets[facet] for facet in (PROJECT, ID))
            filed = zip(ids.runs.tolist(), as_list(projects.values), as_list(ids.values), strict=True)
            self._names = {run: (f"{project}/{run_id}", str(project)) for run, project, run_id in filed}
            for record in others:
                self._known[record.number] = known = _known(Subject(record, observer))
                self._names[record.number] = known.run, known.project
            self._looked_s = self._clock()
            self._versions = found
            return Beat([], [], bool(others))
        changes: list[Change] = []
        for record in self._reader.numbered(changed) if changed else ():
            if is_shown(record):
                changes += self._changes(Subject(record, observer), is_new=record.number not in before)
        if self._clock() - self._looked_s >= LOOK_AGAIN_S:
            self._looked_s = self._clock()
            seen = set(changed)
            for number, known in list(self._known.items()):
                if number not in seen:
                    changes += self._changes(Subject(known.record, observer), is_new=False)
        left = [self._names.pop(run) for run in sorted(before.keys() - found.keys()) if run in self._names]
        still = self._names.values()  # an index that was built anew gives other numbers
        gone = [name for name in left if name not in still]
        self._known = {run: known for run, known in self._known.items() if run in found}
        self._versions = found  # not before: what could not be looked at is looked at again
        live = any(known.record.facts.over_us is None for known in self._known.values())
        return Beat(changes, gone, live)

    def _changes(self, run: Subject, *, is_new: bool) -> list[Change]:
        """Return the change of a run, if it is one, and remember how it is now."""
        number = run.record.number
        before, now = self._known.get(number), _known(run)
        self._known[number] = now
        self._names[number] = now.run, now.project
        if run.is_settled and run.record.facts.over_us is not None:
            del self._known[number]  # nothing but its log changes it, and the index tells of that
        if before is not None and before.record is run.record and before.about == now.about:
            return []
        lasts = [source.last_time_us for source in run.record.sources if source.last_time_us is not None]
        voices = [source for sources in run.team.voices.values() for source in sources]
        return [
            Change(
                run=now.run,
                project=now.project,
                state=run.row.state,
                last_step=max((source.max_step for source in voices if source.max_step is not None), default=None),
                rows=sum(source.rows for source in voices),
                ranks_alive=run.ranks_alive,
                at=max(lasts) / 1e6 if lasts else None,
                lines=before is None or before.printed != now.printed,
                about=before is None or before.about != now.about,
                is_new=is_new,
            )
        ]


def _known(run: Subject) -> _Known:
    record, row = run.record, run.row
    labels = row.state, row.name, row.notes, tuple(row.tags), row.archived, row.attempt
    ranks = row.ranks_joined, row.world_size, run.ranks_alive, record.facts.over_us
    facts = tuple(len(source.alerts) + len(source.config) + len(source.about) for source in record.sources)
    return _Known(
        run=f"{row.project}/{row.id}",
        project=row.project,
        record=record,
        printed=sum(source.captured for source in record.sources) + record.facts.prints,
        about=(labels, ranks, facts),
    )
