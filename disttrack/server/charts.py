"""Series as frames of float32: bucketed to the width of a chart, each answer at most 64 KiB."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from disttrack.index.chunks import Floats
from disttrack.index.snapshots import Snapshot
from disttrack.query.charts import Bucketed, Extent, Grid, Points, bucketed, extent_of, grid_of, smoothed
from disttrack.query.lines import Band, ChartLines, Hole, Mode, RankLine, chart_lines, holes_of
from disttrack.server.answers import Refused
from disttrack.server.frames import Frame
from disttrack.server.parameters import choice, flag, integer, number, ranks_of, required, several, text
from disttrack.server.served import Served, served

__all__ = ["ANSWER_BYTES", "series"]

ANSWER_BYTES = 65_536
MAX_LINES = 64
MAX_MEANS = 16  # lines that have a mean, too: more have no place for it
_HEADER_BYTES, _LINE_BYTES = 1_800, 560  # what the header takes at most, and what for each line


@dataclass(frozen=True)
class _OfRun:
    """A run's part of a chart."""

    run: str
    name: str
    found: ChartLines
    holes: list[Hole]
    summary: object  # what the run ended with, where no row of it has the metric; None where there is none


def series(request: Request) -> Response:
    """GET /api/series."""
    here = served(request)
    wanted, key = several(request, "run", MAX_LINES), required(request, "key")
    if not wanted:
        raise Refused(400, "Name a run: the parameter run is missing.", "UsageError")
    modes: tuple[Mode, ...] = ("mean", "lines", "band")
    mode = choice(request, "mode", modes) if len(wanted) > 1 or text(request, "mode") else None
    x = text(request, "x") or "step"
    parts = [_of_run(request, here, run, key, mode, x) for run in wanted]
    if mode == "lines" and sum(part.found.ranks for part in parts) > MAX_LINES:
        raise Refused(400, f"More than {MAX_LINES} lines tell nothing apart: choose ranks, or mode=band.", "UsageError")
    chart = _Chart(request, key, x, mode, parts)
    return chart.answer()


def _of_run(request: Request, here: Served, wanted: str, key: str, mode: Mode | None, x: str) -> _OfRun:
    observer, ranks, superseded = here.observer(), ranks_of(request), flag(request, "superseded")

    def ask(snapshot: Snapshot, past: Sequence[tuple[Snapshot, int]] = ()) -> tuple[ChartLines, list[Hole]]:
        found = chart_lines(
            snapshot, observer, key, mode, ranks, x, max_lines=MAX_LINES, superseded=superseded, past=past
        )
        return found, holes_of(snapshot, observer, x)

    run = here.subject(wanted)
    name = run.record.path
    past = here.reader.past(run.record)
    found, holes = here.reader.asked_with_past(name, past, ask) if past else here.reader.asked(name, ask, run.record)
    return _OfRun(name, run.row.name, found, holes, run.summary.get(key) if found.empty == "no key" else None)


class _Chart:
    """The parts of runs on one grid."""

    def __init__(self, request: Request, key: str, x: str, mode: Mode | None, parts: Sequence[_OfRun]) -> None:
        self._key, self._x, self._mode, self._parts = key, x, mode, parts
        self._log = flag(request, "log")
        self._weight = min(max(number(request, "smooth") or 0.0, 0.0), 0.999)
        start, end = number(request, "from"), number(request, "to")
        self._start = -math.inf if start is None else start
        self._end = math.inf if end is None else end
        self._width = integer(request, "width", 600, 2, 8_192)
        self._lines = [(part, line) for part in parts for line in part.found.lines][:MAX_LINES]
        self._bands = [(part, part.found.band) for part in parts if part.found.band is not None]
        self._frame = Frame()

    def answer(self) -> Response:
        """Return the frame."""
        windows = [line.points.within(self._start, self._end) for _, line in self._lines]
        bands = [self._band_within(band) for _, band in self._bands]
        outer = [Points(band.x, band.columns[name]) for band in bands for name in ("min", "max")]
        outer += [
            Points(line.points.x, side).within(self._start, self._end)
            for _, line in self._lines
            for side in (line.low, line.high)
            if side is not None
        ]
        everything = [*windows, *outer]
        extent = extent_of(everything)
        grid = grid_of(everything, self._buckets(), log=self._log)
        states = {part.found.empty for part in self._parts}
        empty = None if None in states else "no x" if "no x" in states else "no key"
        header = {
            "key": self._key,
            "x": self._x,
            "mode": self._mode or ("band" if self._bands else "lines"),
            "unit": {"relative": "s", "wall": "unix s"}.get(self._x),
            "exact": grid.edges is None,
            "empty": empty or (None if extent is not None else "window"),
            "domain": _domain(extent),
            "grid": self._frame.places(grid.x),
            "lines": [
                self._line(part, line, window, grid) for (part, line), window in zip(self._lines, windows, strict=True)
            ],
            "bands": [self._band(part, band, grid) for (part, _), band in zip(self._bands, bands, strict=True)],
            "holes": [
                {"run": part.run, "rank": hole.rank, "from": hole.start, "to": hole.end, "why": hole.why}
                for part in self._parts
                for hole in part.holes
            ][:100],
            "summaries": [
                {"run": part.run, "name": part.name, "value": part.summary}
                for part in self._parts
                if isinstance(part.summary, int | float)
            ],
            "of_ranks": sum(part.found.ranks for part in self._parts),
            "shown_ranks": sum(line.rank is not None for _, line in self._lines),
        }
        return self._frame.answer(header)

    def _buckets(self) -> int:
        """Return how many buckets fit into an answer, at most as many as are wanted."""
        arrays = 2 + 6 * len(self._bands)
        for _ in self._lines:
            arrays += (4 if len(self._lines) <= MAX_MEANS else 3) + (self._weight > 0)
        free = ANSWER_BYTES - _HEADER_BYTES - _LINE_BYTES * (len(self._lines) + 2 * len(self._bands)) - 8 * arrays
        return max(2, min(self._width, free // (4 * arrays)))

    def _band_within(self, band: Band) -> Band:
        inside = (band.x >= self._start) & (band.x <= self._end)
        return Band(band.x[inside], band.ranks, {name: column[inside] for name, column in band.columns.items()})

    def _line(self, part: _OfRun, line: RankLine, window: Points, grid: Grid) -> dict[str, object]:
        smooth = None
        if self._weight > 0:  # of all points: what is shown may not change with the window
            whole = smoothed(line.points, self._weight)
            smooth = Points(line.points.x, whole).within(self._start, self._end).y
        on_grid = bucketed(window, grid, smooth)
        low, high = on_grid.min, on_grid.max
        if line.low is not None and line.high is not None:  # over ranks
            sides = [Points(line.points.x, side).within(self._start, self._end) for side in (line.low, line.high)]
            below, above = (bucketed(side, grid) for side in sides)
            low, high = (below.last, above.last) if grid.edges is None else (below.min, above.max)
        base = _base(window.y)
        known = window.y[~np.isnan(window.y)]
        return {
            "run": part.run,
            "name": part.name,
            "rank": line.rank,
            "node": line.node,
            "state": line.state,
            "role": "line" if line.skew is None else "outlier",
            "skew": line.skew,
            "points": len(window.x),
            "nan": len(window.y) - len(known),
            "from": float(window.x[0]) if len(window.x) else None,
            "to": float(window.x[-1]) if len(window.x) else None,
            "last": self._frame.values(on_grid.last, base),
            "min": self._side(low, base),
            "max": self._side(high, base),
            "mean": self._side(on_grid.mean if len(self._lines) <= MAX_MEANS else None, base),
            "smooth": self._side(on_grid.smooth, base),
            "stats": _stats(window, known),
        }

    def _side(self, values: Floats | None, base: float) -> dict[str, object] | None:
        return None if values is None else self._frame.values(values, base)

    def _band(self, part: _OfRun, band: Band, grid: Grid) -> dict[str, object]:
        base = _base(band.columns["mean"])
        return {
            "run": part.run,
            "name": part.name,
            "ranks": band.ranks,
            **{
                name: self._frame.values(_of_band(name, bucketed(Points(band.x, column), grid)), base)
                for name, column in band.columns.items()
            },
        }


def _of_band(name: str, on_grid: Bucketed) -> Floats:
    """Return what a bucket of a band's column shows: its end for the extremes, else its mean."""
    side = on_grid.min if name == "min" else on_grid.max if name == "max" else on_grid.mean
    return on_grid.last if side is None else side


def _base(y: Floats) -> float:
    """Return what to take off values that are large beside their spread: float32 has 7 digits."""
    known = y[np.isfinite(y)]
    if not len(known):
        return 0.0
    low, high = float(known.min()), float(known.max())
    return low if abs(low) > 1e4 * (high - low) and high > low else 0.0


def _stats(window: Points, known: Floats) -> dict[str, object] | None:
    if not len(known):
        return None
    with np.errstate(invalid="ignore"):  # both infinities
        mean = float(known.mean())
    return {
        "min": float(known.min()),
        "max": float(known.max()),
        "mean": mean,
        "last": float(window.y[-1]),
        "last_x": float(window.x[-1]),
    }


def _domain(extent: Extent | None) -> dict[str, object] | None:
    if extent is None:
        return None
    return {
        "from": extent.x_min,
        "to": extent.x_max,
        "y_min": extent.y_min,
        "y_max": extent.y_max,
        "y_p01": extent.y_p01,
        "y_p99": extent.y_p99,
        "above": extent.above,
        "below": extent.below,
    }
