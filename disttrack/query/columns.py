"""Columns of a table of runs: fields and keys as filters name them, and metrics reduced over all that was logged."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from disttrack.index.snapshots import Snapshot
from disttrack.query.filters import Field, field_of
from disttrack.query.reader import Reader
from disttrack.query.statistics import KeySummary, summary_of
from disttrack.query.subjects import Asked, Subject
from disttrack.query.summaries import Spread, spreads

__all__ = ["Cells", "Column", "Row", "column_of"]

Reducer = Literal["min", "max", "mean", "last"]
_REDUCED = re.compile(r"(min|max|mean|last)\((.+)\)", re.DOTALL)
AT_ONCE = 200  # runs whose rows are asked of the index in one transaction: others wait for its end
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
        self._kept: dict[tuple[int, str], tuple[int, KeySummary | None]] = {}  # by run and key, with the run's version

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
        for start in range(0, len(missing), AT_ONCE):
            batch = self._reader.numbered(missing[start : start + AT_ONCE])
            self._reader.asked_of_all(batch, lambda snapshots: self._keep(snapshots, key, versions))
        found: dict[int, float] = {}
        for run in versions:
            known = self._kept.get((run, key))
            if known is not None and known[1] is not None:
                found[run] = getattr(known[1], reducer)
        return found

    def _keep(self, snapshots: Sequence[Snapshot], key: str, versions: Mapping[int, int]) -> None:
        if len(self._kept) > MAX_KEPT:
            self._kept.clear()
        for snapshot in snapshots:
            run = snapshot.record.number
            logged = any(key in block.keys for block in snapshot.blocks)
            self._kept[run, key] = versions[run], summary_of(snapshot, key) if logged else None
