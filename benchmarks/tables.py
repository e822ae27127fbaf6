"""Results as a table that is text on a terminal and a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.result import Result

__all__ = ["table"]


def table(results: Sequence[Result], peers: Sequence[str]) -> str:
    """Return an aligned table, a row a result, with a column for each peer."""
    heads = ["name", "what", "ours", "limit", "ratio (spread)", "goal", "met", *peers, "note"]
    rows = [heads, *([*_cells(result), *(_peer(result, peer) for peer in peers), result.note] for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cells(result: Result) -> list[str]:
    met = {None: "-", True: "yes", False: "**no**"}[result.met]
    limit = result.limit_name if result.limit is None else f"{_number(result.limit)} {result.unit}, {result.limit_name}"
    ratio = f"{result.ratio:.2f}" if result.ratio is not None else ""
    if result.spread is not None:
        ratio += f" ({result.spread[0]:.2f}–{result.spread[1]:.2f})"
    ours = f"{_number(result.ours)} {result.unit}" if result.ours is not None else "-"
    return [result.name, result.what, ours, limit, ratio, result.goal, met]


def _peer(result: Result, peer: str) -> str:
    value = result.peers.get(peer)
    return f"{_number(value)} {result.unit}" if value is not None else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 or value == int(value) else f"{value:.3g}"
