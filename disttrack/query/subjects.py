"""What can be asked of runs: their properties and the keys they have, of a run itself or of what is filed of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Literal, NoReturn, cast

import numpy as np

from disttrack.index.facets import Columns, Facet, Facets, Scope, Values, as_list
from disttrack.index.queries import RunRecord
from disttrack.query.filters import Field
from disttrack.query.members import Member, Observer, Team, is_final, members, newest_team, rank_states
from disttrack.query.metrics import summary_of_run
from disttrack.query.runs import RunDetail, RunRow, created_s, detail_of_team, row_of_team
from disttrack.query.summaries import by_precedence, merged_config

__all__ = [
    "ARCHIVED",
    "CREATED",
    "ID",
    "PLACE",
    "PROJECT",
    "PROPERTIES",
    "Asked",
    "Subject",
    "describe",
    "is_property",
    "is_shown",
]

Kind = Literal["text", "state", "number", "time"]


class Subject:
    """A run that is asked about; what costs something is looked up once, when it is asked for."""

    def __init__(self, record: RunRecord, observer: Observer) -> None:
        self.record = record
        self._observer = observer

    @cached_property
    def row(self) -> RunRow:
        """The run as a row."""
        return row_of_team(self.record, self._members, self.team, self._observer)

    @cached_property
    def detail(self) -> RunDetail:
        """The run with its ranks."""
        return detail_of_team(self.record, self._members, self.team, self._observer, self.row)

    @property
    def ranks_alive(self) -> int:
        """How many ranks of the newest attempt run, as far as can be known here."""
        if self.is_settled:
            return 0
        states = rank_states(self.team, self.record, self._observer)
        return sum(state in ("running", "pending") for state in states.values())

    @property
    def is_settled(self) -> bool:
        """Whether row and detail are the same whenever they are asked for: all sources have ended."""
        return all(member.source.ended is not None for member in self._members)

    @cached_property
    def _members(self) -> list[Member]:
        return members(self.record)

    @cached_property
    def team(self) -> Team:
        """The newest attempt."""
        return newest_team(self._members)

    @cached_property
    def summary(self) -> dict[str, object]:
        """The run's summary: for this alone, its state need not be found out."""
        return summary_of_run(self.record, self._members)

    @cached_property
    def config(self) -> dict[str, object]:
        """The run's config."""
        return merged_config(by_precedence(self._members))

    @cached_property
    def ranks(self) -> list[int]:
        """The ranks that joined the newest attempt."""
        return list(self.team.joined)

    @cached_property
    def nodes(self) -> list[str]:
        """The nodes these are on."""
        joined = self.team.joined.values()
        return list(dict.fromkeys(source.join.host for source in joined if source.join is not None))


#: By field: what kind it is, and its values in a run. A comparison holds where it does for any of them.
PROPERTIES: dict[str, tuple[Kind, Callable[[Subject], Iterable[object]]]] = {
    "id": ("text", lambda run: [run.record.run_id]),
    "name": ("text", lambda run: [run.row.name]),
    "project": ("text", lambda run: [run.record.project]),
    "group": ("text", lambda run: _known(run.row.group)),
    "job_type": ("text", lambda run: _known(run.row.job_type)),
    "state": ("state", lambda run: [run.row.state]),
    "tag": ("text", lambda run: run.row.tags),
    "attempt": ("number", lambda run: [run.row.attempt]),
    "world_size": ("number", lambda run: [run.row.world_size]),
    "ranks_joined": ("number", lambda run: [run.row.ranks_joined]),
    "created": ("time", lambda run: [created_s(run.record)]),
    "ended": ("time", lambda run: _known(run.row.ended_at)),
    "duration_s": ("number", lambda run: [run.row.duration_s]),
    "rank": ("number", lambda run: run.ranks),
    "node": ("text", lambda run: run.nodes),
}
_MANY = ("tag",)
_NOT_FILED = ("rank", "node")  # as long as the launch is wide

ARCHIVED: Facet = ("run", "archived")  # of those runs only that are
CREATED: Facet = ("run", "created")
ID: Facet = ("run", "id")
PLACE: Facet = ("run", "directory")  # its project's
PROJECT: Facet = ("run", "project")
_FILED: dict[str, Facet] = {name: ("run", name) for name in PROPERTIES if name not in _NOT_FILED}


class Asked:
    """A field of runs that is asked for, as a filter or an order names it."""

    def __init__(self, field: Field) -> None:
        self._name = field.name
        self._scopes: tuple[Scope, ...] = ("summary", "config") if field.scope is None else (field.scope,)
        self._of: Callable[[Subject], Iterable[object]] | None = None
        self.has_many = False  # whether filed returns lists of values
        self.facets: list[Facet] = []  # what filed needs; empty: only the run itself can be asked
        if is_property(field):
            self._of = PROPERTIES[field.name][1]
            self.has_many = field.name in _MANY
            self.facets = [_FILED[field.name]] if field.name in _FILED else []
        else:
            self.facets = [(scope, key) for scope in self._scopes for key in _paths(field.name)]

    def of(self, run: Subject) -> Iterable[object]:
        """Return the values of a run."""
        if self._of is not None:
            return self._of(run)
        for scope in self._scopes:
            found = _looked_up(run.summary if scope == "summary" else run.config, self._name)
            if found:
                return found
        return []

    def filed(self, columns: Columns) -> Values:
        """Return the value of each run that has one among those that are filed; of has_many, a list of values."""
        if not self.facets:
            return _by_run({})
        if self._of is not None:
            return columns.facets[self.facets[0]]
        having = [filed for scope in self._scopes if len((filed := _filed_key(columns, scope, self._name)).runs)]
        if len(having) < 2:
            return having[0] if having else columns.facets[self.facets[0]]
        first, other = (dict(zip(filed.runs.tolist(), as_list(filed.values), strict=True)) for filed in having)
        return _by_run(other | first)


def _filed_key(columns: Columns, scope: Scope, name: str) -> Values:
    """Return the values of a key, or of a path of keys with dots between them."""
    filed = {path: columns.facets[scope, path] for path in _paths(name)}
    if not any(_holds_mappings(values) for path, values in filed.items() if path != name):
        return filed[name]
    mappings: dict[int, dict[str, object]] = {}
    for path, (runs, values) in filed.items():
        for run, value in zip(runs.tolist(), as_list(values), strict=True):
            mappings.setdefault(run, {})[path] = value
    return _by_run({run: value for run, mine in mappings.items() for value in _looked_up(mine, name)})


def _holds_mappings(values: Values) -> bool:
    return isinstance(values.values, list) and any(isinstance(value, Mapping) for value in values.values)


def _by_run(values: Mapping[int, object]) -> Values:
    runs = sorted(values)
    return Values(np.array(runs, np.int64), [values[run] for run in runs])


def is_property(field: Field) -> bool:
    """Say whether a field is a property of runs, not a key."""
    return field.scope is None and not field.quoted and field.name in PROPERTIES


def _paths(name: str) -> list[str]:
    """Return the keys under which a name may be found: itself, then the mappings it may lie in, the longest first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _looked_up(values: Mapping[str, object], name: str) -> list[object]:
    """Return the value of a key, or of a path of keys with dots between them; none where there is none."""
    if name in values:
        return [values[name]]
    for path in _paths(name)[1:]:
        inner = values.get(path)
        if isinstance(inner, Mapping):
            return _looked_up(cast("Mapping[str, object]", inner), name[len(path) + 1 :])
    return []


def _known(value: object) -> list[object]:
    return [] if value is None else [value]


# What is filed


def is_shown(record: RunRecord) -> bool:
    """Say whether lists show a run: neither aliases of others nor those that nothing is known of."""
    return record.facts.alias_of is None and (record.facts.header is not None or bool(record.sources))


def describe(record: RunRecord) -> Facets | None:
    """Return what lists ask of a run that is over: None where the answer depends on who asks, and when.

    Nothing where lists do not show it. Whoever changes what it returns raises index.schema.SCHEMA_VERSION.
    """
    if not is_shown(record):
        return {}
    run = Subject(record, _NOBODY)
    if not all(map(is_final, run.team.joined.values())):
        return None
    facets: dict[Facet, object] = {PLACE: record.project_directory}
    for name, facet in _FILED.items():
        values = list(PROPERTIES[name][1](run))
        if values:
            facets[facet] = values if name in _MANY else values[0]
    if run.row.archived:
        facets[ARCHIVED] = True
    facets.update((("summary", key), value) for key, value in run.row.summary.items())
    facets.update((("config", key), value) for key, value in run.config.items())
    return facets


def _asked_nobody(*_: object) -> NoReturn:
    raise AssertionError("a run whose ranks' states are final was looked at")


_NOBODY = Observer(math.nan, "", "", _asked_nobody, _asked_nobody)
