"""Which runs, and in which order: found by what is filed of them, looked into only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import overload

import numpy as np

from disttrack.errors import RunNotFound
from disttrack.index.chunks import Ints
from disttrack.index.facets import Columns, as_list
from disttrack.query.matching import Flags, Matcher
from disttrack.query.members import Observer
from disttrack.query.ordering import Order
from disttrack.query.reader import Reader
from disttrack.query.runs import created_s
from disttrack.query.subjects import ARCHIVED, CREATED, ID, PLACE, PROJECT, Subject
from disttrack.records.names import directory_name

__all__ = ["Found", "check_search", "find_named", "find_runs"]

LOOK_AT_ONCE = 500


class Found(Sequence[Subject]):
    """Runs that were found, in their order. Each is looked into when it is asked for, and then kept.

    A run that was removed after it was found is left out on the way through; asked for alone, it is RunNotFound.
    """

    def __init__(
        self,
        reader: Reader,
        observer: Observer,
        count: int,
        ordered: Callable[[], list[int]],
        known: dict[int, Subject],
    ) -> None:
        """ordered: returns the index's numbers of so many runs in their order; known: those that were looked into."""
        self._reader, self._observer = reader, observer
        self._count, self._ordered, self._known = count, ordered, known

    @cached_property
    def _numbers(self) -> list[int]:
        return self._ordered()

    @property
    def numbers(self) -> list[int]:
        """The index's numbers of the runs, in their order."""
        return self._numbers

    @property
    def known(self) -> Mapping[int, Subject]:
        """The runs among these, and maybe others, that were looked into, by their numbers."""
        return self._known

    def ordered(self, numbers: list[int]) -> Found:
        """Return the same runs in another order."""
        return Found(self._reader, self._observer, len(numbers), lambda: numbers, self._known)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Subject: ...
    @overload
    def __getitem__(self, index: slice) -> Found: ...
    def __getitem__(self, index: int | slice) -> Subject | Found:
        if isinstance(index, slice):
            count = len(range(*index.indices(self._count)))
            return Found(self._reader, self._observer, count, lambda: self._numbers[index], self._known)
        for run in self._looked_into([self._numbers[index]]):
            return run
        raise RunNotFound(f"number {index} of the {len(self)} that were found", self._reader.root)

    def __iter__(self) -> Iterator[Subject]:
        for start in range(0, len(self), LOOK_AT_ONCE):
            yield from self._looked_into(self._numbers[start : start + LOOK_AT_ONCE])

    def _looked_into(self, numbers: Sequence[int]) -> list[Subject]:
        missing = [number for number in numbers if number not in self._known]
        if missing:
            self._known.update(self._reader.subjects(missing, self._observer))
        return [self._known[number] for number in numbers if number in self._known]


def check_search(filters: str, order: str | None) -> tuple[Matcher, Order | None]:
    """Return what says whether a run passes, and what orders them; raise FilterError, before anything is read."""
    return Matcher(filters), None if order is None else Order(order)


def find_runs(reader: Reader, project: str | None, filters: str, order: str | None, *, archived: bool = False) -> Found:
    """Return the runs that pass the filters, newest first or in the order of a field; raise FilterError.

    Looked into are the runs of which nothing is filed, and those left over by what is, where filter or order ask more.
    """
    passes, by = check_search(filters, order)
    place = None if project is None else directory_name(project)
    asked = {CREATED, *passes.facets}
    asked.update(
        [PLACE] if place is not None else [], [] if archived else [ARCHIVED], by.facets if by is not None else []
    )
    columns, others = reader.listed(asked)
    filed = np.flatnonzero(passes.filed(columns) & _wanted(columns, place, archived=archived))
    observer = Observer.here(reader.root)
    look_at = [record for record in others if place in (None, record.project_directory)]
    if passes.needs_runs or (by is not None and not by.facets):
        look_at += reader.numbered(filed.tolist())
        filed = filed[:0]
    known: dict[int, Subject] = {}
    for run in (Subject(record, observer) for record in look_at):
        if passes(run) and (archived or not (run.record.facts.edits and run.row.archived)):
            known[run.record.number] = run
    looked_into = dict(known)
    return Found(
        reader,
        observer,
        len(filed) + len(known),
        lambda: _ordered(reader, filed, looked_into, columns, by),
        known,
    )


def find_named(reader: Reader, names: Sequence[str]) -> dict[str, Subject]:
    """Return runs by their names, each as project/id; those that are not there are left out.

    All at once: Reader.find takes 1.5 ms for each of 10,000 runs.
    """
    columns, others = reader.listed([PROJECT, ID])
    projects, ids = (columns.facets[facet] for facet in (PROJECT, ID))
    wanted = set(names)
    filed = zip(ids.runs.tolist(), as_list(projects.values), as_list(ids.values), strict=True)
    numbers = {name: run for run, project, run_id in filed if (name := f"{project}/{run_id}") in wanted}
    observer = Observer.here(reader.root)
    found = {record.path: Subject(record, observer) for record in others}
    subjects = reader.subjects(list(numbers.values()), observer)
    found.update({name: subjects[run] for name, run in numbers.items() if run in subjects})
    return {name: found[name] for name in names if name in found}


def _wanted(columns: Columns, place: str | None, *, archived: bool) -> Flags:
    """Say of each filed run whether it lies in this place, if any, and whether it was put away."""
    wanted = np.zeros(columns.size, np.bool_)
    if place is None:
        wanted[columns.facets[CREATED].runs] = True
    else:
        runs, places = columns.facets[PLACE]
        wanted[runs] = [given == place for given in as_list(places)]
    if not archived:
        wanted[columns.facets[ARCHIVED].runs] = False
    return wanted


def _ordered(
    reader: Reader, filed: Ints, known: Mapping[int, Subject], columns: Columns, by: Order | None
) -> list[int]:
    """Return runs newest first, or in an order and then newest first."""
    runs = np.concatenate([filed, np.array(list(known), np.int64)])
    age = np.zeros(columns.size)
    age[columns.facets[CREATED].runs] = -np.asarray(columns.facets[CREATED].values, np.float64)
    for number, run in known.items():
        age[number] = -created_s(run.record)
    places = np.zeros(columns.size) if by is None else by.places(columns, known)
    found = runs[np.lexsort((age[runs], places[runs]))]
    alike = age[found[1:]] == age[found[:-1]]
    alike &= (places[found[1:]] == places[found[:-1]]) | (np.isnan(places[found[1:]]) & np.isnan(places[found[:-1]]))
    if not alike.any():
        return _as_ints(found)
    # Project and id decide between them: names are read of those only, since text costs more than all the rest.
    tied = found[np.append(alike, False) | np.append(False, alike)].tolist()
    name = np.zeros(columns.size)
    name[_by_name(reader, tied, known)] = np.arange(len(tied))
    return _as_ints(runs[np.lexsort((name[runs], age[runs], places[runs]))])


def _by_name(reader: Reader, runs: Collection[int], known: Mapping[int, Subject]) -> list[int]:
    """Return runs in the order of their projects and ids."""
    wanted = set(runs)
    columns = reader.facets([PROJECT, ID], wanted - known.keys())
    projects, ids = (
        {run: value for run, value in zip(filed.runs.tolist(), as_list(filed.values), strict=True) if run in wanted}
        for filed in columns.facets.values()
    )
    for run in wanted & known.keys():
        projects[run], ids[run] = known[run].record.project, known[run].record.run_id
    if len(set(projects.values())) > 1:
        return sorted(runs, key=lambda run: (str(projects.get(run, "")), str(ids.get(run, ""))))
    return sorted(runs, key=lambda run: str(ids.get(run, "")))


def _as_ints(runs: Ints) -> list[int]:
    return runs.tolist()  # type: ignore[no-any-return]  # numpy's stubs: Any, of any shape
