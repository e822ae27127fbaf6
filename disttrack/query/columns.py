"""Columns of a table of runs: fields and keys as filters name them, and metrics reduced over all that was logged."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from disttrack.index.facets import BLOCK_RUNS
from disttrack.index.snapshots import Snapshot
from disttrack.query.filters import Field, field_of
from disttrack.query.reader import Reader
from disttrack.query.reducing import Reduced, simply_reduced
from disttrack.query.statistics import summary_of
from disttrack.query.subjects import Asked, Subject
from disttrack.query.summaries import Spread, spreads

__all__ = ["Cells", "Column", "Row", "column_of"]

Reducer = Literal["min", "max", "mean", "last"]
_REDUCED = re.compile(r"(min|max|mean|last)\((.+)\)", re.DOTALL)
AT_ONCE = 200  # runs whose rows are asked of the index in one transaction: others wait for its end
SIMPLE_AT_ONCE = 2 * BLOCK_RUNS  # the same of those that need not be looked into: 35 ms
MAX_KEPT = 200_000  # reduced metrics, 0.3 KB each


@dataclass(frozen=True)
class Column:
    """A column as it is named: `config.lr`, `state`, `summary.loss`, or `min(loss)`."""

    name: str
    field: Field
    reducer: Reducer | None


class Row:
    """What a run has in some columns: its values, and how those of its ranks are spread where that is known."""

    def __init__(self, run: Subject) -> None:
        self.run = run
        self.values: dict[str, object] = {}
        self.spreads: dict[str, Spread] = {}


def column_of(name: str) -> Column:
    """Return the column of a name; raise FilterError where it names none."""
    reduced = _REDUCED.fullmatch(name)
    if reduced is None:
        return Column(name, field_of(name), None)
    field = field_of(reduced[2])
    if field.scope == "summary":
        field = dataclasses.replace(field, scope=None)
    return Column(name, field, cast(Reducer, reduced[1]))


class Cells:
    """The cells of runs. What a metric is reduced to is kept until rows of its run come: all of them must be read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[tuple[int, str], tuple[int, Reduced | None]] = {}  # by run and key, with the run's version

    def of(self, runs: Sequence[Subject], columns: Iterable[Column]) -> list[Row]:
        """Return what each of these runs has in columns; a key that it has not is None."""
        rows = [Row(run) for run in runs]
        for column in columns:
            if column.reducer is not None:
                reduced = self.reduced([run.record.number for run in runs], column)
                for row in rows:
                    row.values[column.name] = reduced.get(row.run.record.number)
                continue
            asked = Asked(column.field)
            for row in rows:
                found = list(asked.of(row.run))
                row.values[column.name] = found if asked.has_many else found[0] if found else None
            if column.field.scope == "summary":
                self._spread(rows, column)
        return rows

    @staticmethod
    def _spread(rows: Iterable[Row], column: Column) -> None:
        for row in rows:
            if len(row.run.team.joined) > 1:
                spread = spreads(row.run.team.voices, [column.field.name]).get(column.field.name)
                if spread is not None:
                    row.spreads[column.name] = spread

    def reduced(self, runs: Sequence[int], column: Column) -> Mapping[int, float]:
        """Return by the numbers of runs what a metric's values come to; those that have none are left out."""
        key, reducer = column.field.name, column.reducer or "last"
        versions = self._reader.versions(runs)
        missing = [run for run, version in versions.items() if self._kept.get((run, key), (None,))[0] != version]
        rest: list[int] = []
        for start in range(0, len(missing), SIMPLE_AT_ONCE):
            batch = missing[start : start + SIMPLE_AT_ONCE]
            simple = simply_reduced(self._reader, key, batch)
            self._keep(key, {run: (versions[run], reduced) for run, reduced in simple.items()})
            rest += [run for run in batch if run not in simple]
        for start in range(0, len(rest), AT_ONCE):
            records = self._reader.numbered(rest[start : start + AT_ONCE])
            self._reader.asked_of_all(records, lambda snapshots: self._look_into(snapshots, key, versions))
        found: dict[int, float] = {}
        for run in versions:
            known = self._kept.get((run, key))
            if known is not None and known[1] is not None:
                found[run] = getattr(known[1], reducer)
        return found

    def _look_into(self, snapshots: Sequence[Snapshot], key: str, versions: Mapping[int, int]) -> None:
        for snapshot in snapshots:
            logged = any(key in block.keys for block in snapshot.blocks)
            summary = summary_of(snapshot, key) if logged else None
            reduced = None if summary is None else Reduced(summary.min, summary.max, summary.mean, summary.last)
            run = snapshot.record.number
            self._keep(key, {run: (versions[run], reduced)})

    def _keep(self, key: str, reduced: Mapping[int, tuple[int, Reduced | None]]) -> None:
        if len(self._kept) > MAX_KEPT:
            self._kept.clear()
        self._kept.update(((run, key), known) for run, known in reduced.items())
