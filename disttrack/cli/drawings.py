"""Numbers as pictures of text: small lines and heat-maps, in colours where there are some and without where not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["SKEW_SPAN", "Ink", "heat_row", "skews", "spark", "swatch"]

_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#%@"
_DEAD, _ASCII_DEAD = "╱", "/"
_RESET = "\x1b[0m"
#: Cividis (Nuñez, Anderton, Renslow 2018: alike to people who see colours and to those who do not), 8 of its colours.
_CIVIDIS = ("00224e", "2b4267", "555b6c", "7b7977", "a39676", "cab660", "eed63f", "fee838")
#: Below the median blue, at it grey, above it orange (Okabe-Ito's blue and vermillion).
_SKEW = ("0072b2", "3d7ea8", "6c8797", "808080", "a08468", "bc7a3c", "d55e00")
SKEW_SPAN = 0.3  # of the median: beyond it, colours do not change any more


@dataclass(frozen=True)
class Ink:
    """What a terminal can draw with.

    colours: how many there are for cells, of 0, 256 and 1 << 24. unicode: whether it has blocks. styled: whether text
    may be coloured.
    """

    colours: int = 0
    unicode: bool = False
    styled: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str], encoding: str, *, colour: bool) -> Ink:
        """Return what a terminal with this environment has; colour: whether it may have any at all."""
        deep = environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
        colours = 1 << 24 if deep else 256 if "256color" in environ.get("TERM", "") else 0
        return cls(colours if colour else 0, encoding.lower().replace("-", "") == "utf8", colour)

    @property
    def ramp(self) -> str:
        """The characters that stand for values, the least first."""
        return _BLOCKS if self.unicode else _ASCII

    @property
    def dead(self) -> str:
        """What stands where a rank was dead."""
        return _DEAD if self.unicode else _ASCII_DEAD


def spark(values: Sequence[float], low: float, high: float, ink: Ink) -> str:
    """Return values as a line of characters, a blank where there is none (NaN)."""
    return "".join(ink.ramp[level] if level >= 0 else " " for level in _levels(values, low, high, len(ink.ramp)))


def heat_row(
    cells: Sequence[float], hatched: Sequence[bool], scale: tuple[float, float], ink: Ink, *, skewed: bool
) -> str:
    """Return one row of a heat-map.

    cells: NaN where is nothing; hatched: where that is so because the rank was dead. scale: what is drawn as least and
    as most; cells beyond it are drawn as these. skewed: cells say how far a rank strays, in the colours for that.
    """
    colours = _SKEW if skewed else _CIVIDIS
    return _row(_levels(cells, *scale, len(colours if ink.colours else ink.ramp)), hatched, colours, ink)


def skews(cells: Sequence[float], medians: Sequence[float]) -> list[float]:
    """Return by which share of its column's median each cell strays from it; NaN where nobody can say."""
    return [
        (cell - median) / abs(median) if median else (0.0 if cell == median else math.nan)
        for cell, median in zip(cells, medians, strict=True)
    ]


def swatch(ink: Ink, *, skewed: bool) -> str:
    """Return the colours or characters from the least to the most."""
    colours = _SKEW if skewed else _CIVIDIS
    levels = range(len(colours if ink.colours else ink.ramp))
    return _row(levels, [False] * len(levels), colours, ink)


def _levels(values: Sequence[float], low: float, high: float, count: int) -> list[int]:
    """Return which of count levels each value has; -1 where there is none."""
    span = high - low
    if not 0 < span < math.inf:
        return [-1 if math.isnan(value) else count // 2 for value in values]
    return [
        -1 if math.isnan(value) else min(int(min(max((value - low) / span, 0.0), 1.0) * count), count - 1)
        for value in values
    ]


def _row(levels: Sequence[int], hatched: Sequence[bool], colours: Sequence[str], ink: Ink) -> str:
    parts: list[str] = []
    colour = ""
    for at, level in enumerate(levels):
        if level >= 0 and ink.colours:
            wanted, text = _background(colours[level], ink.colours), " "
        else:
            wanted, text = "", ink.ramp[level] if level >= 0 else ink.dead if hatched[at] else " "
        if wanted != colour:
            parts.append(wanted or _RESET)
            colour = wanted
        parts.append(text)
    if colour:
        parts.append(_RESET)
    return "".join(parts)


@lru_cache(maxsize=64)
def _background(colour: str, colours: int) -> str:
    """Return how a terminal is told to draw on a colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (0, 2, 4))
    if colours > 256:
        return f"\x1b[48;2;{red};{green};{blue}m"
    return f"\x1b[48;5;{_nearest(red, green, blue)}m"


def _nearest(red: int, green: int, blue: int) -> int:
    """Return the number of the colour of xterm's 256 that is nearest: its cube of 6 x 6 x 6, and its 24 greys."""
    steps = (0, 95, 135, 175, 215, 255)
    cube = [min(range(6), key=lambda at: abs(steps[at] - part)) for part in (red, green, blue)]
    grey = min(range(24), key=lambda at: abs(8 + 10 * at - (red + green + blue) // 3))
    of_cube = tuple(steps[at] for at in cube)
    of_grey = (8 + 10 * grey,) * 3

    def far(other: Sequence[int]) -> int:
        return sum((one - two) ** 2 for one, two in zip((red, green, blue), other, strict=True))

    if far(of_grey) < far(of_cube):
        return 232 + grey
    return 16 + 36 * cube[0] + 6 * cube[1] + cube[2]
