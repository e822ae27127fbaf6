"""How metrics are to be read: what run.define_metric said of them, and the aggregates that it asked for.

Aggregates are computed from rows when the index takes them in, and only of runs that define some: once for a run that
is over, however many lists show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from disttrack.index.blocks import Block
from disttrack.index.queries import RunRecord
from disttrack.index.snapshots import Snapshot
from disttrack.query.alignment import as_numbers
from disttrack.query.members import Member, members
from disttrack.query.summaries import by_precedence, merged_summary
from disttrack.query.wide import Array, wide_form
from disttrack.records.metrics import Definitions
from disttrack.records.payloads import Goal, MetricDefinition

__all__ = ["MetricRow", "aggregates", "definitions_of", "metric_rows", "summary_of_rank", "summary_of_run"]


@dataclass(frozen=True)
class MetricRow:
    """What is said of a metric, or of all that a name with `*` stands for; None and () where nothing is."""

    name: str
    step_metric: str | None
    step_sync: bool
    summary: list[str]
    goal: Goal | None
    hidden: bool


def definitions_of(everybody: Iterable[Member]) -> Definitions:
    """Return what the sources of a run said of its metrics, of two words that of the newest attempt's lowest rank."""
    said: list[MetricDefinition] = []
    for source in reversed(by_precedence(list(everybody))):
        said.extend(definition for _, definition in sorted(source.definitions.items()))
    return Definitions(said)


def metric_rows(everybody: Iterable[Member]) -> list[MetricRow]:
    """Return a row for each name that was defined, in alphabetical order."""
    return [
        MetricRow(
            one.name, one.step_metric, bool(one.step_sync), list(one.summary or ()), one.goal, hidden=bool(one.hidden)
        )
        for one in sorted(definitions_of(everybody).by_name.values(), key=lambda one: one.name)
    ]


def summary_of_run(record: RunRecord, everybody: Sequence[Member]) -> dict[str, object]:
    """Return the last values of a run and the aggregates of its metrics, as `loss.min`.

    What was set by hand stands, also under the name of an aggregate, or of a metric whose summary is "none". It and the
    aggregates come first (they were found worth it), each group in alphabetical order.
    """
    if not any(member.source.definitions for member in everybody):  # as of most runs
        return merged_summary(by_precedence(everybody))
    return _summary(everybody, definitions_of(everybody), record.facts.aggregates)


def summary_of_rank(snapshot: Snapshot, mine: Sequence[Member]) -> dict[str, object]:
    """Return the same of one rank alone, whose sources are these; definitions are those of all ranks."""
    definitions = definitions_of(members(snapshot.record))
    return _summary(mine, definitions, _aggregates(snapshot.record, definitions, mine, lambda: snapshot.blocks))


def _summary(
    sources: Sequence[Member], definitions: Definitions, aggregates: Mapping[str, object]
) -> dict[str, object]:
    by_hand = {key for member in sources for key in member.source.by_hand}
    merged = merged_summary(by_precedence(sources))
    if not definitions.by_name:
        return merged
    kept = {key: value for key, value in merged.items() if key in by_hand or not definitions.hides(key)}
    worth = {key: value for key, value in aggregates.items() if key not in kept}
    worth.update((key, value) for key, value in kept.items() if key in by_hand)
    return {key: worth[key] for key in sorted(worth)} | kept


def aggregates(record: RunRecord, blocks: Callable[[], list[Block]]) -> dict[str, object]:
    """Return the aggregates that a run's definitions ask for, by `KEY.REDUCER`; blocks: returns all its rows.

    Of the rank whose last value the summary has, over its rows of all attempts that are not superseded; NaN is left out
    unless there is nothing else. `first` is the value of the lowest step, `last` that of the last call.
    """
    everybody = members(record)
    return _aggregates(record, definitions_of(everybody), everybody, blocks)


def _aggregates(
    record: RunRecord, definitions: Definitions, whose: Sequence[Member], blocks: Callable[[], list[Block]]
) -> dict[str, object]:
    if not definitions.reduces:
        return {}
    last: dict[str, object] = {}
    keys: dict[int, dict[str, tuple[str, ...]]] = {}  # by rank, with their reducers
    for member in sorted(whose, key=lambda member: (-member.attempt, member.rank)):
        for key in member.source.last.keys() - last.keys():
            last[key] = member.source.last[key]
            reducers = definitions.reducers(key)
            if reducers and isinstance(last[key], int | float):
                keys.setdefault(member.rank, {})[key] = reducers
    found: dict[str, object] = {}
    snapshot = Snapshot(record, blocks() if keys else [])
    logged = {key for block in snapshot.blocks for key in block.keys}  # the others were but set by hand
    for rank, wanted in keys.items():
        columns = wide_form([snapshot], [key for key in wanted if key in logged], [rank]).keys
        for key in columns.keys() & wanted.keys():
            reducers = wanted[key]
            values = _reduced(columns[key], reducers, definitions.goal(key))
            found.update({f"{key}.{name}": value for name, value in values.items()})
            if "last" in reducers:
                found[f"{key}.last"] = last[key]
    return found


def _reduced(column: Array, reducers: Iterable[str], goal: Goal | None) -> Mapping[str, object]:
    """Return what some reducers make of a metric's values in the order of their steps."""
    values = column if column.dtype == np.int64 else as_numbers(column)
    if values.dtype == np.float64:
        known = values[~np.isnan(values)]
        values = known if len(known) else values
    if not len(values):
        return {}
    found: dict[str, object] = {}
    with np.errstate(invalid="ignore"):  # both infinities
        for name in reducers:
            how = name if name != "best" else {None: "", "minimize": "min", "maximize": "max"}[goal]
            if how == "min":
                found[name] = values.min().item()
            elif how == "max":
                found[name] = values.max().item()
            elif how == "mean":
                found[name] = float(values.mean())
            elif how == "first":
                found[name] = values[0].item()
    return found
