"""One metric of one run for a chart: a line for each rank, or what the ranks agree and differ on, along some x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from disttrack.index.chunks import Floats
from disttrack.index.snapshots import Snapshot
from disttrack.query.alignment import RankAggregate, aligned, as_numbers
from disttrack.query.attempts import attempt_rows
from disttrack.query.charts import Points
from disttrack.query.members import Observer, RankState, Team, members, newest_team, nodes, rank_states
from disttrack.query.metrics import definitions_of
from disttrack.query.receipts import drop_rows
from disttrack.query.runs import created_s
from disttrack.query.selection import RankChoice
from disttrack.query.series import along_metric, is_filled
from disttrack.query.wide import Wide, wide_form

__all__ = ["Band", "ChartLines", "Hole", "Mode", "RankLine", "chart_lines", "holes_of", "x_metric"]

Mode = Literal["lines", "mean", "band"]
NOTABLE_SKEW = 0.1  # below that, ranks of a healthy job differ, too (facts/ui.md)
MAX_OUTLIERS = 3
_X, _Y = "\0x", "\0y"  # no keys: these have no NUL


@dataclass(frozen=True)
class RankLine:
    """What one rank logged, all attempts; rank None: of the run as a whole."""

    rank: int | None
    node: str | None
    state: str
    points: Points
    low: Floats | None = None  # beside the points: the least and the greatest of the ranks; None for one rank
    high: Floats | None = None
    skew: float | None = None  # of an outlier


@dataclass(frozen=True)
class Band:
    """What ranks agree and differ on, along one x: each [x]."""

    x: Floats
    ranks: int  # at most so many at one place
    columns: dict[str, Floats]  # min, p05, p50, p95, max, mean


@dataclass(frozen=True)
class Hole:
    """Where a rank logged what is not kept, or nobody logged between two attempts (rank: None), in units of x."""

    rank: int | None
    start: float
    end: float
    why: str


@dataclass(frozen=True)
class ChartLines:
    """A run's part of a chart: lines, or a band and its outliers; empty: why there is nothing."""

    lines: list[RankLine]
    band: Band | None
    ranks: int  # that logged the metric
    empty: Literal["no key", "no x"] | None


def x_metric(x: str) -> str | None:
    """Return the metric that an x is; None for those that every row has."""
    return None if x in ("step", "relative", "wall") else x


def chart_lines(
    snapshot: Snapshot,
    observer: Observer,
    key: str,
    mode: Mode | None,
    ranks: RankChoice,
    x: str,
    *,
    max_lines: int,
    superseded: bool = False,
    past: Sequence[tuple[Snapshot, int]] = (),
) -> ChartLines:
    """Return a metric of a run as a chart wants it.

    mode: None for lines up to 8 ranks, else a band. x: step, relative (s since the run began), wall (unix s), or a
    metric. past: as for series_of.
    """
    metric = x_metric(x)
    keys = [key] if metric in (None, key) else [key, str(metric)]
    snapshots = [*(parent for parent, _ in past), snapshot]
    wide = wide_form(snapshots, keys, ranks, superseded=superseded, untils=[until for _, until in past])
    if metric is not None:
        definitions = definitions_of(members(snapshot.record))
        if not len(wide.step) or np.isnan(as_numbers(wide.keys[metric])).all():
            there = any(key in block.keys for one in snapshots for block in one.blocks)
            return ChartLines([], None, 0, "no x" if there else "no key")
        wide = along_metric(wide, metric, fills=is_filled(definitions, metric, [key]))
        wide = wide.rows(np.flatnonzero(~np.isnan(as_numbers(wide.keys[key]))).astype(np.int64))
    y = as_numbers(wide.keys[key])
    if not len(y) or (wide.keys[key].dtype == np.object_ and np.isnan(y).all()):
        return ChartLines([], None, 0, "no key")
    team = newest_team(members(snapshot.record))
    states = rank_states(team, snapshot.record, observer)
    begun_s = created_s(snapshot.record)
    found = [rank for rank, _, _ in _spans(wide)]
    if mode is None:
        mode = "lines" if len(found) <= 8 else "band"
    along = _along(wide, x, begun_s)
    if mode == "lines" or (mode == "mean" and len(found) == 1):
        lines = [
            _line(rank, along[start:end], y[start:end], team, states) for rank, start, end in _spans(wide)[:max_lines]
        ]
        return ChartLines(lines, None, len(found), None)
    hows: list[RankAggregate] = ["mean", "minmax", "quantiles"]
    columns = _aligned(wide, y, None if x == "step" else along, hows if mode == "band" else hows[:2])
    at, step, count = columns.pop("x"), columns.pop("step"), int(columns.pop("ranks").max())
    if mode == "mean":
        line = RankLine(None, None, "", Points(at, columns["mean"]), columns["min"], columns["max"])
        return ChartLines([line], None, len(found), None)
    return ChartLines(
        _outliers(wide, y, along, step, columns["p50"], team, states),
        Band(at, count, columns),
        len(found),
        None,
    )


def _spans(wide: Wide) -> list[tuple[int, int, int]]:
    """Return each rank that has rows, and where these begin and end: the sources of a rank follow each other."""
    found: list[tuple[int, int, int]] = []
    start = 0
    for rank, end in zip(wide.owners.rank.tolist(), wide.ends.tolist(), strict=True):
        if end > start:
            if found and found[-1][0] == rank:
                found[-1] = (rank, found[-1][1], end)
            else:
                found.append((rank, start, end))
        start = end
    return found


def _along(wide: Wide, x: str, begun_s: float) -> Floats:
    """Return the x of each row."""
    if x == "step":
        return wide.step.astype(np.float64)
    if x in ("relative", "wall"):
        return wide.time - (begun_s if x == "relative" else 0.0)
    return as_numbers(wide.keys[x])


def _line(rank: int, x: Floats, y: Floats, team: Team, states: dict[int, RankState]) -> RankLine:
    if len(x) > 1 and (x[1:] < x[:-1]).any():  # several attempts, or steps in any order
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    source = team.joined.get(rank)
    node = source.join.host if source is not None and source.join is not None else None
    return RankLine(rank, node, states.get(rank, "absent"), Points(x, y))


def _aligned(wide: Wide, y: Floats, along: Floats | None, hows: Sequence[RankAggregate]) -> dict[str, Floats]:
    """Return x, step, ranks and what ranks come to at each, as columns: mean; min and max; p05, p50 and p95.

    y, along: the value and the x of each row; along None: its step. Ranks are laid over each other by step, at the
    mean of their x: no two of them log at one moment, and many steps have one epoch. hows: mean is the first.
    """
    wide = wide._replace(keys={_Y: y} if along is None else {_Y: y, _X: along})
    found: dict[str, Floats] = {}
    for how in hows:
        _, first, columns = aligned(wide, "step", how)
        if how == "mean":
            found["ranks"], found["step"] = (np.asarray(first[name], np.float64) for name in ("ranks", "step"))
            found["x"] = found["step"] if along is None else np.asarray(columns.pop(_X), np.float64)
            wide.keys.pop(_X, None)
        found |= {name[len(_Y) + 1 :] or "mean": np.asarray(column, np.float64) for name, column in columns.items()}
    if (found["x"][1:] < found["x"][:-1]).any():
        order = np.argsort(found["x"], kind="stable")
        found = {name: column[order] for name, column in found.items()}
    return found


def _outliers(
    wide: Wide, y: Floats, x: Floats, step: Floats, median: Floats, team: Team, states: dict[int, RankState]
) -> list[RankLine]:
    """Return the ranks that stray furthest from the median rank, the furthest first.

    Each value against the median of ranks at its own step: a rank that died early is no outlier for the curve's later
    part, which it has no share in. step, median: [places].
    """
    spans = {rank: (start, end) for rank, start, end in _spans(wide)}
    order = np.argsort(step, kind="stable")
    places = order[np.minimum(np.searchsorted(step, wide.step, sorter=order), len(step) - 1)]
    with np.errstate(divide="ignore", invalid="ignore"):
        strays = (y - median[places]) / np.abs(median[places])
    skews: dict[int, float] = {}
    for rank, (start, end) in spans.items():
        mine = strays[start:end]
        mine = mine[np.isfinite(mine)]
        if len(mine):
            skews[rank] = float(np.median(mine))
    furthest = sorted(((abs(stray), rank) for rank, stray in skews.items() if abs(stray) >= NOTABLE_SKEW), reverse=True)
    found: list[RankLine] = []
    for _, rank in furthest[:MAX_OUTLIERS]:
        start, end = spans[rank]
        line = _line(rank, x[start:end], y[start:end], team, states)
        found.append(RankLine(line.rank, line.node, line.state, line.points, skew=skews[rank]))
    return found


def holes_of(snapshot: Snapshot, observer: Observer, x: str) -> list[Hole]:
    """Return where there are no rows, along step, relative or wall time; along a metric nobody knows.

    Those of a rank that are not kept, and along time what lies between the end of an attempt and the next one's start.
    """
    record = snapshot.record
    if x_metric(x) is not None:
        return []
    everybody = members(record)
    rows = drop_rows(everybody, nodes(record), observer, over=record.facts.over_us is not None)
    begun_s = created_s(record) if x == "relative" else 0.0
    found: list[Hole] = []
    anew = x != "step" and len({member.attempt for member in everybody}) > 1
    for before, after in pairwise(attempt_rows(record, everybody, observer, None)) if anew else ():
        end_s, start_s = before.ended_at, after.started_at
        if end_s is not None and start_s is not None and end_s < start_s:
            why = f"between attempts {before.attempt} and {after.attempt}"
            found.append(Hole(None, end_s - begun_s, start_s - begun_s, why))
    for row in rows:
        first, last = (row.first_step, row.last_step) if x == "step" else (row.first_at, row.last_at)
        if row.rank is not None and first is not None and last is not None and row.record_class == "metrics":
            shift = 0.0 if x == "step" else begun_s
            found.append(Hole(row.rank, float(first) - shift, float(last) - shift, row.reason))
    return found
