"""A live run in one picture: who is in which state, one metric by rank and step, the others as small lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from disttrack.index.chunks import Floats
from disttrack.index.queries import RunRecord
from disttrack.index.snapshots import Snapshot
from disttrack.query.attempts import first_failure
from disttrack.query.console import ConsoleLine, console_of
from disttrack.query.heatmaps import HeatMap, Samples, heat_map, rank_samples
from disttrack.query.keys import run_keys
from disttrack.query.members import Observer, members, newest_team
from disttrack.query.ranks import comparison_of
from disttrack.query.runs import RankRow, RunRow, rank_rows, row_of_team
from disttrack.query.verdicts import Verdict, is_step_time, verdict_on, work_metric

__all__ = ["BETWEEN_ROWS", "Picture", "Spark", "View", "picture_of", "refreshed"]

BETWEEN_ROWS = ""  # instead of a metric's name: the seconds between rows


@dataclass(frozen=True)
class View:
    """What is to be seen of a run, and how large.

    metric: by which ranks are shown, or None for that which tells most of who is slow. has_key: which metrics at all.
    last_steps: only so many of the newest steps; None for all. Sizes are in places: rows of ranks, columns of steps,
    lines of metrics and their width, lines of the console.
    """

    metric: str | None
    has_key: Callable[[str], bool] | None
    last_steps: int | None
    rows: int
    columns: int
    sparks: int
    spark_columns: int
    lines: int


@dataclass(frozen=True)
class Spark:
    """One metric of the lowest rank that logged it; values: [columns], NaN where is nothing."""

    key: str
    last: object
    low: float
    high: float
    values: Floats


@dataclass(frozen=True)
class Picture:
    """What a View shows.

    metrics: those that can be shown by rank, metric: the one that is. steps: the first and the last of the heat-map.
    """

    run: RunRow
    ranks: list[RankRow]
    metrics: list[str]
    metric: str
    heat: HeatMap | None
    steps: tuple[int, int]
    verdict: Verdict
    sparks: list[Spark]
    lines: list[ConsoleLine]


def picture_of(snapshot: Snapshot, view: View, observer: Observer) -> Picture:
    """Return the picture of a run as it is in a snapshot."""
    record = snapshot.record
    everybody = members(record)
    team = newest_team(everybody)
    run = row_of_team(record, everybody, team, observer)
    keys = _numbers(snapshot, run, view.has_key)
    metric = view.metric if view.metric in (BETWEEN_ROWS, *keys) else _telling(keys)
    samples = rank_samples(snapshot, metric or None, None, "step")
    start = end = 0.0
    heat = None
    if samples is not None:
        start, end = _window(samples, view)
        heat = heat_map(samples, view.columns, len(samples.lines), "mean", start)
        heat = None if heat is None else _folded(heat, view.rows)
    comparison = comparison_of(snapshot, metric or None, observer)
    return Picture(
        run=run,
        ranks=rank_rows(record, team, observer),
        metrics=[BETWEEN_ROWS, *keys],
        metric=metric,
        heat=heat,
        steps=(int(start), int(end)),
        verdict=verdict_on(comparison.ranks, metric or None, first_failure(record, team, observer)),
        sparks=[spark for key in keys[: view.sparks] if (spark := _spark(snapshot, key, run, view)) is not None],
        lines=console_of(snapshot, tail=view.lines) if view.lines else [],
    )


def refreshed(picture: Picture, record: RunRecord, observer: Observer) -> Picture:
    """Return a picture with the states of now: ranks fall silent and die without a word in the log."""
    everybody = members(record)
    team = newest_team(everybody)
    run = row_of_team(record, everybody, team, observer)
    return replace(picture, run=run, ranks=rank_rows(record, team, observer))


def _numbers(snapshot: Snapshot, run: RunRow, has_key: Callable[[str], bool] | None) -> list[str]:
    """Return the metrics of which there are numbers, in the order of the summary; those that are hidden left out."""
    found = {one.key for one in run_keys(snapshot) if one.kind == "number" and not one.hidden}
    order = dict.fromkeys([*(key for key in run.summary if key in found), *sorted(found)])
    return [key for key in order if has_key is None or has_key(key)]


def _telling(keys: list[str]) -> str:
    """Return the metric that tells most of who is slow."""
    return work_metric(keys) or next((key for key in keys if is_step_time(key)), BETWEEN_ROWS)


def _spark(snapshot: Snapshot, key: str, run: RunRow, view: View) -> Spark | None:
    samples = rank_samples(snapshot, key, "primary", "step") or rank_samples(snapshot, key, None, "step")
    if samples is None:
        return None
    heat = heat_map(samples, view.spark_columns, len(samples.lines), "mean", _window(samples, view)[0])
    if heat is None:
        return None
    values = heat.cells[0]
    last = run.summary.get(key, float(samples.y[-1]))
    return Spark(key, last, heat.v_min, heat.v_max, values)


def _folded(heat: HeatMap, rows: int) -> HeatMap:
    """Return a heat-map of at most so many rows: of ranks that share one, each cell is that of who strays furthest.

    A mean over neighbours would hide the one rank that this picture is to show.
    """
    share = -(-len(heat.lines) // rows)
    if share == 1:
        return heat
    places = range(0, len(heat.lines), share)
    cells = np.full((len(places), len(heat.x)), np.nan)
    columns = np.arange(len(heat.x))
    for row, first in enumerate(places):
        group = heat.cells[first : first + share]
        strays = np.where(np.isnan(group), -1.0, np.abs(group - heat.median))
        cells[row] = group[strays.argmax(axis=0), columns]
    ends = [heat.last_x[first : first + share] for first in places]
    return replace(
        heat,
        lines=[(heat.lines[at][0], heat.lines[min(at + share, len(heat.lines)) - 1][1]) for at in places],
        cells=cells,
        last_x=[max((end for end in of_row if end is not None), default=None) for of_row in ends],
    )


def _window(samples: Samples, view: View) -> tuple[float, float]:
    """Return the first and the last step that are to be seen."""
    first, last = float(samples.x.min()), float(samples.x.max())
    return first if view.last_steps is None else max(first, last - view.last_steps + 1), last
