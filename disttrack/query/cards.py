"""A run as a small card for notebooks: inert HTML with its charts as SVG; no script, no link, nothing fetched."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from disttrack.index.chunks import Floats
from disttrack.index.snapshots import Snapshot
from disttrack.query.heatmaps import heat_map, rank_samples
from disttrack.query.keys import run_keys

__all__ = ["card", "charts_of", "runs_card"]

MAX_KEYS = 20
MAX_CHARTS = 8
_COLUMNS, _WIDTH, _HEIGHT = 60, 180, 32
_COLOUR = "#2a86c0"  # 3:1 on white and on black
_TABLE = "color:inherit;font:inherit;border-spacing:8px 0;text-align:left"
_STYLE = "border:1px solid #8884;border-radius:4px;padding:8px 12px;display:inline-block;font:14px/20px system-ui"


def card(
    title: str,
    where: str,
    facts: Mapping[str, object],
    values: Mapping[str, object],
    charts: Mapping[str, str] | None = None,
) -> str:
    """Return a card; all text is escaped.

    facts: shown in one line. values: a table of the first MAX_KEYS of them, those with a chart first. charts: SVG by
    key, as charts_of returns it.
    """
    charts = charts or {}
    keys = sorted(values, key=lambda key: key not in charts)
    line = " · ".join(f"{html.escape(name)} {_shown(value)}" for name, value in facts.items())
    rows = "".join(
        f"<tr><td style='text-align:left'>{html.escape(str(key)[:80])}</td><td>{_shown(values[key])}</td>"
        f"<td>{charts.get(key, '')}</td></tr>"
        for key in keys[:MAX_KEYS]
    )
    more = f"<div>and {len(keys) - MAX_KEYS} more</div>" if len(keys) > MAX_KEYS else ""
    table = f"<table style='{_TABLE}'>{rows}</table>{more}" if rows else ""
    head = f"<b>{html.escape(title)}</b> <code>{html.escape(where)}</code>"
    return f"<div style='{_STYLE}'>{head}<div>{line}</div>{table}</div>"


def runs_card(where: str, count: int, rows: Iterable[Mapping[str, object]]) -> str:
    """Return runs as a table: where they lie, how many there are, and some of them by the same columns."""
    rows = list(rows)
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in (rows[0] if rows else ()))
    body = "".join("<tr>" + "".join(f"<td>{_shown(value)}</td>" for value in row.values()) + "</tr>" for row in rows)
    more = f"<div>and {count - len(rows):,} more</div>" if count > len(rows) else ""
    table = f"<table style='{_TABLE}'><tr>{titles}</tr>{body}</table>{more}" if rows else ""
    head = f"<b>{count:,} run{'' if count == 1 else 's'}</b> <code>{html.escape(where)}</code>"
    return f"<div style='{_STYLE}'>{head}{table}</div>"


def charts_of(snapshot: Snapshot) -> dict[str, str]:
    """Return the first metrics that have numbers as SVG: a line of the lowest rank, and what the ranks span."""
    keys = [one.key for one in run_keys(snapshot) if one.kind == "number" and not one.hidden]
    charts: dict[str, str] = {}
    for key in keys[:MAX_CHARTS]:
        samples = rank_samples(snapshot, key, None, "step")
        heat = None if samples is None else heat_map(samples, _COLUMNS, len(samples.lines), "mean")
        if samples is not None and heat is not None and len(heat.x) > 1:
            steps = f"steps {int(samples.x.min()):,} to {int(samples.x.max()):,}"
            of_ranks = f", {len(samples.lines)} ranks" if len(samples.lines) > 1 else ""
            told = f"{key[:80]}, {steps}{of_ranks}: {heat.v_min:.4g} to {heat.v_max:.4g}"
            charts[key] = _svg(heat.x, heat.cells, told)
    return charts


def _svg(x: Floats, cells: Floats, told: str) -> str:
    """Return a chart of cells, [ranks, columns]; told: the same in words."""
    finite = np.where(np.isfinite(cells), cells, np.nan)
    there = ~np.isnan(finite).all(axis=0)
    if not there.any():
        return ""
    finite, x = finite[:, there], x[there]
    low, high = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
    bottom, top = float(low.min()), float(high.max())
    across = (x - x[0]) / max(float(x[-1] - x[0]), 1e-300) * (_WIDTH - 4) + 2

    def up(values: Floats) -> list[float]:
        share = (values - bottom) / (top - bottom) if top > bottom else np.where(np.isnan(values), values, 0.5)
        heights: list[float] = ((1 - share) * (_HEIGHT - 4) + 2).tolist()
        return heights

    places = across.tolist()
    band = ""
    if len(finite) > 1:
        edge = [*zip(places, up(high), strict=True), *reversed([*zip(places, up(low), strict=True)])]
        band = f"<path d='{_path(edge)}Z' fill='{_COLOUR}' fill-opacity='.25'/>"
    line = _path([*zip(places, up(finite[0]), strict=True)])
    words = html.escape(told)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}' viewBox='0 0 {_WIDTH} {_HEIGHT}'"
        f" role='img' aria-label='{words}'><title>{words}</title>{band}"
        f"<path d='{line}' fill='none' stroke='{_COLOUR}' stroke-width='1.5'/></svg>"
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return points as a path's data; drawn through those that are missing (NaN)."""
    known = [(x, y) for x, y in points if not math.isnan(y)]
    return "".join(f"{'L' if at else 'M'}{x:.0f} {y:.1f}" for at, (x, y) in enumerate(known))


def _shown(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return html.escape(text if len(text) <= 80 else f"{text[:79]}…")
