"""Plain tables: aligned columns without lines, that fit a terminal and stay whole in a pipe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import click
from rich.cells import cell_len

__all__ = ["Column", "Terminal", "table", "without"]

_Table = tuple[list["Column"], list[list[str]]]
_GAP = "  "
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Terminal:
    """What a stream can show: how many cells wide (None: any width, it is no terminal), and whether in colour."""

    width: int | None = None
    colour: bool = False

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Terminal:
        """Return what this stream can show; NO_COLOR and TERM=dumb are heeded (https://no-color.org)."""
        if not stream.isatty():
            return cls()
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb" or os.name == "nt"
        return cls(shutil.get_terminal_size().columns, not plain)


@dataclass(frozen=True)
class Column:
    """A column and how it gives way where the terminal is narrow.

    worth: where shortening is not enough, the column of least worth is left out first; None: never.
    least: the cells that shortening leaves; None: it is never shortened.
    colour: the colour of a cell by its text.
    """

    title: str
    right: bool = False
    worth: int | None = None
    least: int | None = None
    colour: Callable[[str], str | None] | None = None


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], terminal: Terminal, *, indent: int = 0
) -> Iterator[str]:
    """Yield the lines of a table, its titles first, each indented by so many blanks."""
    cells = [[column.title for column in columns], *(list(row) for row in rows)]
    natural = [max(cell_len(row[index]) for row in cells) for index in range(len(columns))]
    widths = _fit(columns, natural, None if terminal.width is None else terminal.width - indent)
    shown = [index for index, width in enumerate(widths) if width is not None]
    for number, row in enumerate(cells):
        parts: list[str] = []
        for index in shown:
            column, text = columns[index], _shortened(row[index], widths[index])
            blanks = " " * ((widths[index] or 0) - cell_len(text))
            painted = _painted(text, column, number, terminal)
            parts.append(blanks + painted if column.right else painted + blanks)
        yield (" " * indent + _GAP.join(parts)).rstrip()


def without(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> _Table:
    """Return a table's columns and rows without one of the columns."""
    at = [column.title for column in columns].index(title)
    return [*columns[:at], *columns[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]


def _fit(columns: Sequence[Column], natural: Sequence[int], available: int | None) -> list[int | None]:
    """Return how wide each column may be; None where it is left out."""
    widths: list[int | None] = list(natural)
    if available is None:
        return widths
    by_worth = sorted(range(len(columns)), key=lambda index: (columns[index].worth is None, columns[index].worth or 0))
    least = [
        width if column.least is None else min(width, column.least)
        for column, width in zip(columns, natural, strict=True)
    ]
    for index in by_worth:
        smallest = [None if width is None else least[at] for at, width in enumerate(widths)]
        if columns[index].worth is None or _total(smallest) <= available:
            break
        widths[index] = None
    for index in by_worth:
        width, over = widths[index], _total(widths) - available
        if width is not None and over > 0:
            widths[index] = max(least[index], width - over)
    return widths


def _total(widths: Sequence[int | None]) -> int:
    shown = [width for width in widths if width is not None]
    return sum(shown) + len(_GAP) * (len(shown) - 1)


def _shortened(text: str, width: int | None) -> str:
    if width is None or cell_len(text) <= width:
        return text
    kept = text[: width - 1]
    while cell_len(kept) > width - 1:  # wide characters take two cells
        kept = kept[:-1]
    return kept + _ELLIPSIS


def _painted(text: str, column: Column, number: int, terminal: Terminal) -> str:
    if not terminal.colour or not text:
        return text
    if number == 0:
        return click.style(text, bold=True)
    colour = column.colour(text) if column.colour is not None else None
    return click.style(text, fg=colour) if colour else text
