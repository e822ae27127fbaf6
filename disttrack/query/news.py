"""What is new in a run since the last look: its rows and the lines that it printed, each told once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from disttrack.index.blocks import Block
from disttrack.index.chunks import Ints
from disttrack.index.cover import Cover
from disttrack.index.printed import Printed
from disttrack.index.snapshots import Snapshot
from disttrack.query.console import ConsoleLine, Lines, printed_by
from disttrack.query.members import Member, members
from disttrack.records.types import Incarnation

__all__ = ["LoggedRow", "News", "Wanted"]


class LoggedRow(NamedTuple):
    """One call of log(), or what a filter leaves of it; time: unix seconds."""

    rank: int
    attempt: int
    step: int
    time: float
    values: dict[str, object]


@dataclass(frozen=True)
class Wanted:
    """What is to be told: of whom (None: all), which keys of rows (None: all), and of what.

    stream: only what was printed to this one.
    """

    ranks: Collection[int] | None = None
    has_key: Callable[[str], bool] | None = None
    rows: bool = True
    lines: bool = True
    stream: str | None = None


class _Pick(NamedTuple):
    block: Block
    keys: list[str]
    member: Member
    rows: Ints
    time_us: Ints


class News:
    """Remembers what of a run was told: the bytes of each source's journal, which come in any order but stay put."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._told: dict[Incarnation, Cover] = {}
        self._lines: dict[Incarnation, Lines] = {}

    def of(self, snapshot: Snapshot, last: int | None = None) -> list[LoggedRow | ConsoleLine]:
        """Return what a snapshot has that those before had not, in the order of time, each rank's in that of its calls.

        last: at most so many, the latest. A line is told once it is complete.
        """
        ranks = self._wanted.ranks
        mine = [member for member in members(snapshot.record) if ranks is None or member.rank in ranks]
        found: list[LoggedRow | ConsoleLine] = []
        if self._wanted.rows:
            found += self._rows(snapshot, mine, last)
        if self._wanted.lines:
            # All is read before any is told: who reads a run that vanishes half way asks once more.
            new = [(member, self._texts(snapshot, member, last)) for member in mine]
            for member, texts in new:
                found += self._lines.setdefault(member.source.incarnation, Lines()).whole(member, texts)
        self._told = {source.incarnation: _copy(source.cover) for source in snapshot.record.sources}
        return _latest(sorted(found, key=lambda one: one.time), last)

    def rest(self, snapshot: Snapshot) -> list[ConsoleLine]:
        """Return the lines that were never completed: nothing more is to come."""
        return [
            line
            for member in members(snapshot.record)
            if member.source.incarnation in self._lines
            for line in self._lines[member.source.incarnation].rest(member)
        ]

    def _rows(self, snapshot: Snapshot, mine: list[Member], last: int | None) -> list[LoggedRow]:
        picks = [pick for block in snapshot.blocks for pick in self._picked(block, mine)]
        if last is not None and picks:
            times_us = np.concatenate([pick.time_us for pick in picks])
            if len(times_us) > last:
                since = np.partition(times_us, len(times_us) - last)[len(times_us) - last] if last else np.inf
                picks = [_since(pick, since) for pick in picks]
        return [row for pick in picks if len(pick.rows) for row in _rows_of(pick)]

    def _picked(self, block: Block, mine: list[Member]) -> list[_Pick]:
        """Return the new rows of a block, by source."""
        has_key = self._wanted.has_key
        keys = [key for key in block.keys if has_key is None or has_key(key)]
        if not keys:
            return []
        places = block.places()
        bounds, srcs = places.slices
        span_of = {src: (int(bounds[at]), int(bounds[at + 1])) for at, src in enumerate(srcs.tolist())}
        found: list[_Pick] = []
        for member in mine:
            if member.src not in span_of:
                continue
            first, end = span_of[member.src]
            told = self._told.get(member.source.incarnation)
            if told is None:
                rows = np.arange(first, end)
            else:
                rows = first + np.flatnonzero(_untold(told, places.at[first:end]))
            if len(rows):
                found.append(_Pick(block, keys, member, rows, places.time_us[rows]))
        return found

    def _texts(self, snapshot: Snapshot, member: Member, last: int | None) -> list[Printed]:
        """Return what a source printed that was not told yet."""
        told, stream = self._told.get(member.source.incarnation), self._wanted.stream
        if told is None:
            return printed_by(snapshot.console, member.src, stream, last)
        new: list[Printed] = []
        for piece in snapshot.console.newest_first(member.src):
            texts = [text for text in piece if told.missing(text.at, text.at + 1)]
            new += [text for text in texts if stream in (None, text.stream)]
            if not texts and not told.gaps:
                break  # and so were all before it
        return sorted(new)


def _copy(cover: Cover) -> Cover:
    return Cover(cover.end, list(cover.gaps))


def _untold(told: Cover, at: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say of offsets whether what lies there was not told yet."""
    found = at >= told.end
    for low, high in told.gaps:
        found |= (at >= low) & (at < high)
    return found


def _since(pick: _Pick, time_us: float) -> _Pick:
    late = pick.time_us >= time_us
    return pick._replace(rows=pick.rows[late], time_us=pick.time_us[late])


def _rows_of(pick: _Pick) -> list[LoggedRow]:
    """Return rows in the order of their calls."""
    places = pick.block.places()
    order = np.argsort(places.at[pick.rows], kind="stable")
    rows = pick.rows[order]
    columns = [pick.block.column(key) for key in pick.keys]
    values = [
        [column[row] for row in rows.tolist()] if isinstance(column, list) else column[rows].tolist()
        for column in columns
    ]
    rank, attempt = pick.member.rank, pick.member.attempt
    return [
        LoggedRow(rank, attempt, step, time_us / 1e6, dict(zip(pick.keys, of_row, strict=True)))
        for step, time_us, *of_row in zip(
            places.step[rows].tolist(), pick.time_us[order].tolist(), *values, strict=True
        )
    ]


def _latest(found: list[LoggedRow | ConsoleLine], last: int | None) -> list[LoggedRow | ConsoleLine]:
    return found if last is None else found[len(found) - min(last, len(found)) :]
