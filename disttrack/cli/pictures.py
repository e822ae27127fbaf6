"""A run's picture as the lines of a terminal: as many and as wide as it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len, set_cell_size

from disttrack.cli.attempts import state_colour
from disttrack.cli.drawings import SKEW_SPAN, Ink, heat_row, skews, spark, swatch
from disttrack.cli.logs import line_text
from disttrack.cli.output import duration, figure, printable
from disttrack.query.heatmaps import HeatMap
from disttrack.query.picture import BETWEEN_ROWS, Picture, View
from disttrack.query.runs import RankRow

__all__ = ["KEYS", "Page", "foot", "picture_lines", "view_of"]

KEYS = {
    "q": "quit (also Esc)",
    "tab": "the next metric by rank (shift-tab: the one before)",
    "s": "how far each rank strays from the median of its step, or the values themselves",
    "w": "the newest steps only, or all",
    "l": "the console, or more metrics",
    "?": "these keys",
}
_FOOT = "q quit  tab metric  s skew  w newest steps  l console  ? keys"
_FIXED = 9  # lines beside ranks, metrics and console: head, verdict, titles, blanks, foot
_RIGHT = 10  # cells for a value, or for the longest state
_KEY = 20  # cells for a metric's name at most
_NEWEST = 2  # steps in a column, where only the newest are shown
_ELLIPSIS = "…"
_DEAD = ("crashed", "failed", "lost", "silent", "preempted", "stopped", "terminated")


@dataclass
class Page:
    """What whoever watches wants to see."""

    metric: str | None = None
    has_key: Callable[[str], bool] | None = None
    skewed: bool = False
    newest: bool = False
    console: bool = True
    most_lines: int | None = None  # of the console
    help: bool = False

    def press(self, key: str, metrics: Sequence[str], metric: str) -> None:
        """Do what a key is for; metrics: those that ranks can be shown by, metric: the one they are."""
        if key in ("tab", "back-tab") and metrics:
            step = 1 if key == "tab" else -1
            self.metric = metrics[(metrics.index(metric) + step) % len(metrics)]
        elif key == "s":
            self.skewed = not self.skewed
        elif key == "w":
            self.newest = not self.newest
        elif key == "l":
            self.console = not self.console
        elif key == "?":
            self.help = not self.help


def view_of(page: Page, size: tuple[int, int], ranks: int) -> View:
    """Return what is needed to fill so many columns and lines; ranks: how many the run has."""
    width, lines = size
    free = max(lines - _FIXED, 3)
    rows = max(1, min(ranks, free // 2))
    columns = max(width - _left(ranks) - _RIGHT - 3, 10)
    return View(
        metric=page.metric,
        has_key=page.has_key,
        last_steps=columns * _NEWEST if page.newest else None,
        rows=rows,
        columns=columns,
        sparks=max(1, (free - rows) // 2 if page.console else free - rows),
        spark_columns=max(width - _KEY - 2 * _RIGHT - 8, 8),
        lines=min(max(free - rows - 2, 0), page.most_lines or free) if page.console else 0,
    )


def picture_lines(picture: Picture, page: Page, size: tuple[int, int], ink: Ink, age_s: float) -> list[str]:
    """Return the lines; age_s: how old the picture is."""
    lines = _lines(picture, page, size, ink, age_s)
    return lines if ink.unicode else [line.replace(_ELLIPSIS, "~") for line in lines]


def _lines(picture: Picture, page: Page, size: tuple[int, int], ink: Ink, age_s: float) -> list[str]:
    width, height = size
    lines = [*_head(picture, width, ink, age_s), ""]
    if page.help:
        return [*lines, *(f"  {key:<5} {meaning}"[:width] for key, meaning in KEYS.items())]
    lines += _heat(picture, page, width, ink)
    if picture.sparks:
        lines += ["", *_sparks(picture, width, ink)]
    room = height - len(lines) - 3
    if picture.lines and room > 0:
        lines += ["", *_console(picture, width, ink, room)]
    return lines


def foot(size: tuple[int, int], ink: Ink) -> str:
    """Return the last line: which keys there are."""
    return _style(_fitted(_FOOT, size[0]).rstrip(), ink, dim=True)


def _head(picture: Picture, width: int, ink: Ink, age_s: float) -> Iterator[str]:
    run = picture.run
    state = f"{run.state} {duration(run.duration_s + (age_s if run.state == 'running' else 0))}"
    left = _fitted(f"{printable(run.name)}  {printable(run.project)}/{printable(run.id)}", width - len(state) - 2)
    name, _, where = left.partition("  ")
    yield f"{_style(name, ink, bold=True)}  {where}  {_style(state, ink, fg=state_colour(run.state))}"
    joined = [rank for rank in picture.ranks if rank.state != "absent"]
    seen = [rank.last_seen_s for rank in joined if rank.last_seen_s is not None]
    steps = [rank.last_step for rank in joined if rank.last_step is not None]
    parts = [f"{len(joined)}/{run.world_size} ranks{_states(joined)}"]
    parts += [f"attempt {run.attempt}"] if run.attempt else []
    parts += (
        [f"step {max(steps):,}" + (f" (lowest {min(steps):,})" if min(steps) < max(steps) else "")] if steps else []
    )
    parts += [f"newest row {duration(min(seen) + age_s)} ago"] if seen and run.state == "running" else []
    yield _fitted(", ".join(parts), width).rstrip()
    verdict = picture.verdict
    colour = {"dead": "red", "slow": "yellow"}.get(verdict.kind)
    for line in _wrapped(printable(verdict.text), width, 3):
        yield _style(line, ink, fg=colour)


def _states(joined: Sequence[RankRow]) -> str:
    """Return how many ranks are in which state, where that is not one and the same."""
    counts: dict[str, int] = {}
    for rank in joined:
        counts[rank.state] = counts.get(rank.state, 0) + 1
    if len(counts) == 1:
        return f" {next(iter(counts))}"
    return ": " + ", ".join(f"{number} {state}" for state, number in sorted(counts.items(), key=lambda item: item[1]))


def _heat(picture: Picture, page: Page, width: int, ink: Ink) -> Iterator[str]:
    title = "seconds between rows" if picture.metric == BETWEEN_ROWS else printable(picture.metric)
    heat = picture.heat
    if heat is None:
        yield _fitted(f"{title}: nothing logged yet", width).rstrip()
        return
    scale = _scale(heat)
    ends = (f"{-SKEW_SPAN:+.0%}", f"{SKEW_SPAN:+.0%}") if page.skewed else tuple(map(figure, scale))
    legend = f"{ends[0]} {swatch(ink, skewed=page.skewed)} {ends[1]}"
    skew = " against the median" if page.skewed else ""
    steps = f"{title}{skew}, steps {picture.steps[0]:,} to {picture.steps[1]:,}"
    room = width - cell_len(click.unstyle(legend)) - 2
    yield f"{_style(_fitted(steps, room), ink, bold=True)}  {legend}"
    medians, places = heat.median.tolist(), heat.x.tolist()
    by_rank = {rank.rank: rank for rank in picture.ranks}
    left = _left(len(picture.ranks))
    columns = max(width - left - _RIGHT - 3, 10)
    for (first, last), last_x, row in zip(heat.lines, heat.last_x, heat.cells.tolist(), strict=True):
        dead = [
            rank.state for number in range(first, last + 1) if (rank := by_rank.get(number)) and rank.state in _DEAD
        ]
        cells = skews(row, medians) if page.skewed else row
        all_dead = len(dead) == last - first + 1
        hatched = [all_dead and (last_x is None or place > last_x) for place in places]
        limits = (-SKEW_SPAN, SKEW_SPAN) if page.skewed else scale
        drawn = heat_row(cells, hatched, limits, ink, skewed=page.skewed)
        known = [cell for cell in cells if not math.isnan(cell)]
        value = (f"{known[-1]:+.0%}" if page.skewed else figure(known[-1])) if known else "-"
        text = f"{value:>{_RIGHT}}"
        if dead:
            text = dead[0] if first == last else f"{len(dead)} dead"
            text = _style(f"{text:>{_RIGHT}}", ink, fg=state_colour(dead[0]))
        label = str(first) if first == last else f"{first}-{last}"
        yield f"{label:>{left}} {drawn}{' ' * (columns - len(cells))} {text}"


def _scale(heat: HeatMap) -> tuple[float, float]:
    """Return between which values colours change: 98 of 100 cells, for one that is far off would hide all others."""
    low, high = heat.v_p01, heat.v_p99
    return (low, high) if low < high else (heat.v_min, heat.v_max)


def _left(ranks: int) -> int:
    """Return how many cells the names of rows of ranks take at most."""
    digits = len(str(max(ranks - 1, 0)))
    return max(2 * digits + 1 if ranks > 8 else digits, 2)


def _sparks(picture: Picture, width: int, ink: Ink) -> Iterator[str]:
    names = [printable(one.key) for one in picture.sparks]
    left = min(max(map(cell_len, names)), _KEY)
    for name, one in zip(names, picture.sparks, strict=True):
        line = spark(one.values.tolist(), one.low, one.high, ink)
        span = f"{figure(one.low)} to {figure(one.high)}"
        room = width - left - _RIGHT - len(line) - 4
        tail = f"  {_style(_fitted(span, room).rstrip(), ink, dim=True)}" if room >= 8 else ""
        yield f"{_fitted(name, left)} {figure(one.last):>{_RIGHT}} {_style(line, ink, fg='cyan')}{tail}"


def _console(picture: Picture, width: int, ink: Ink, room: int) -> Iterator[str]:
    digits = len(str(max(len(picture.ranks) - 1, 0)))
    for line in picture.lines[-room:]:
        mark = "!" if line.stream == "stderr" else "|"
        text = _fitted(f"{line.rank:>{digits}}{mark} {line_text(line)}", width).rstrip()
        yield _style(text, ink, dim=True)


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """Return text in at most so many lines, each but the last one broken at a blank."""
    lines: list[str] = []
    while text and len(lines) < most - 1 and cell_len(text) > width:
        cut = text.rfind(" ", 0, width + 1)
        cut = cut if cut > 0 else width
        lines.append(text[:cut])
        text = text[cut:].lstrip()
    return [*lines, _fitted(text, width).rstrip()] if text else lines


def _fitted(text: str, width: int) -> str:
    """Return text in exactly so many cells."""
    if cell_len(text) > width > 1:
        return set_cell_size(text, width - 1) + _ELLIPSIS
    return set_cell_size(text, max(width, 0))


def _style(text: str, ink: Ink, *, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
    return click.style(text, fg=fg, bold=bold or None, dim=dim or None) if ink.styled and text else text
