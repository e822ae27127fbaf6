"""The ranks of a run side by side: who is slow, behind, or gone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from disttrack.diagnostics.stragglers import RankSkew, skew
from disttrack.errors import UsageError
from disttrack.index.blocks import Places
from disttrack.index.chunks import Floats, Ints
from disttrack.index.snapshots import Snapshot
from disttrack.query.members import Observer, RankState, members, newest_team
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, rank_rows, row_of
from disttrack.query.selection import blocks_with

__all__ = ["RankComparison", "RankPace", "compare_ranks", "comparison_of"]


@dataclass(frozen=True)
class RankPace:
    """One rank against the others; median, p95 and skew are None where it has no sample."""

    rank: int
    node: str | None
    job_type: str | None
    state: RankState
    last_step: int | None
    steps_behind: int | None  # the rank that is furthest
    last_seen_s: float | None  # ago
    median: float | None
    p95: float | None
    skew: float | None  # median / median of the ranks' medians
    exit_code: int | None = field(default=None, kw_only=True)  # this and the next as in RankRow
    signal: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class RankComparison:
    """The ranks of a run's newest attempt by one metric; by the seconds between their rows where metric is None."""

    id: str
    project: str
    name: str
    metric: str | None
    ranks: list[RankPace]


def compare_ranks(root: Path, run_id: str, metric: str | None = None) -> RankComparison:
    """Return the ranks of a run side by side.

    Raises RunNotFound, UnsupportedFormat, or UsageError where no rank ever logged the metric.
    """
    with Reader(root) as reader:
        return reader.asked(run_id, lambda snapshot: comparison_of(snapshot, metric, Observer.here(root)))


def comparison_of(
    snapshot: Snapshot,
    metric: str | None,
    observer: Observer,
    *,
    detail: RunDetail | None = None,
    alone_too: bool = True,
) -> RankComparison:
    """Return the ranks of a snapshot side by side; raise UsageError where no rank ever logged the metric.

    detail: the run's, where it is known. alone_too: whether the samples of a rank without others are looked at.
    """
    record = snapshot.record
    team = newest_team(members(record))
    number_of = {source.incarnation: src for src, source in enumerate(record.sources)}
    sources = {number_of[source.incarnation]: rank for rank, source in team.joined.items()}
    skews: Mapping[int, RankSkew] = {}
    if alone_too or len(sources) > 1:
        skews = skew(_row_times(snapshot, sources) if metric is None else _values(snapshot, sources, metric))
    rows = rank_rows(record, team, observer) if detail is None else detail.ranks
    furthest = max((row.last_step for row in rows if row.last_step is not None), default=0)
    paces = [
        RankPace(
            row.rank,
            row.node,
            row.job_type,
            row.state,
            row.last_step,
            None if row.last_step is None else furthest - row.last_step,
            row.last_seen_s,
            *(skews.get(row.rank) or (None, None, None)),
            exit_code=row.exit_code,
            signal=row.signal,
        )
        for row in rows
    ]
    name = (row_of(record, observer) if detail is None else detail).name
    return RankComparison(record.run_id, record.project, name, metric, paces)


def _row_times(snapshot: Snapshot, sources: Mapping[int, int]) -> dict[int, Floats]:
    """Return the seconds between the rows of each rank; sources: source numbers to ranks.

    Calls for one step are one row, at the time of the last of them. A clock that was set back between two rows
    says nothing about the time between them: that pair is left out.
    """
    parts: dict[int, list[tuple[Ints, Ints, Ints]]] = {}
    for block in snapshot.blocks:
        places = block.places()
        for src, rows in _rows_of(places, sources):
            parts.setdefault(src, []).append((places.at[rows], places.step[rows], places.time_us[rows]))
    found: dict[int, Floats] = {}
    for src, rank in sources.items():
        at, step, time_us = (np.concatenate(axis) for axis in zip(*parts.get(src, [(_NONE,) * 3]), strict=True))
        if (at[1:] < at[:-1]).any():  # else they were called in the order of their steps
            order = np.argsort(at)
            step, time_us = step[order], time_us[order]
        between = np.diff(time_us[np.append(step[1:] != step[:-1], True)]) if len(step) else _NONE
        found[rank] = between[between >= 0] / 1e6
    return found


def _values(snapshot: Snapshot, sources: Mapping[int, int], metric: str) -> dict[int, Floats]:
    """Return the numbers that each rank logged as metric."""
    parts: dict[int, list[Floats]] = {}
    for block, _ in blocks_with(snapshot, [metric]):
        places, column = block.places(), block.column(metric)
        if isinstance(column, list):
            continue  # text, or numbers beyond 64 bits
        for rank in sources.values():
            parts.setdefault(rank, [])
        for src, rows in _rows_of(places, sources):
            parts[sources[src]].append(column[rows].astype(np.float64))
    if not parts:
        raise _unknown(snapshot, metric)
    return {rank: np.concatenate(values) if values else np.zeros(0) for rank, values in parts.items()}


def _rows_of(places: Places, sources: Mapping[int, int]) -> Iterator[tuple[int, slice]]:
    """Yield which rows of a block each of these sources has: those that have any."""
    bounds, mine = places.slices
    for src, (first, end) in zip(mine.tolist(), pairwise(bounds.tolist()), strict=True):
        if src in sources:
            yield src, slice(first, end)


def _unknown(snapshot: Snapshot, metric: str) -> UsageError:
    known = sorted({key for block in snapshot.blocks for key in block.keys})
    near = difflib.get_close_matches(metric, known, n=3, cutoff=0.5) or known[:5]
    return UsageError(
        f"Ranks of {snapshot.record.run_id} cannot be compared by {metric!r}",
        "no rank logged numbers of that name",
        f"There are {', '.join(near)}." if near else "No rank logged anything yet.",
    )


_NONE = np.zeros(0, np.int64)
