"""Which row of a table each row of the blocks goes to: nothing is sorted where blocks follow each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from disttrack.index.blocks import Block, Places
from disttrack.index.chunks import Floats, Ints
from disttrack.index.snapshots import Snapshot
from disttrack.query.selection import RankChoice, blocks_with, chosen
from disttrack.query.superseded import ends_of

__all__ = ["Layout", "Owners", "Part", "Rows", "laid_out"]

Rows = Ints | slice


class Owners(NamedTuple):
    """The sources that may own rows, by run, rank, attempt and seniority: each [owners]."""

    run: Ints  # number of the snapshot
    rank: Ints
    attempt: Ints


class Part(NamedTuple):
    """The rows of one block that were asked for."""

    block: Block
    keys: tuple[str, ...]  # of those asked for
    n: int
    rows: Rows  # of the block
    target: Rows  # the row of the table that each of them goes to
    order: Rows  # among all rows found: a later one's value stands


class Layout(NamedTuple):
    """The rows of a table, by owner and step, and where they come from."""

    owners: Owners
    ends: Ints  # [owners] where the rows of each end: an owner's follow those of the one before it
    step: Ints  # [rows]
    parts: list[Part]
    last: Ints | None  # [rows] the last call for each, in the order of all rows found; None: there is but one

    def fill_times(self, times: Floats) -> None:
        """Write to times, [rows], when the last call for each was made, in unix seconds."""
        calls = times if self.last is None else np.empty(sum(part.n for part in self.parts))
        for part in self.parts:
            calls[part.order] = part.block.places().time_us[part.rows] / 1e6
        if self.last is not None:
            np.take(calls, self.last, out=times)

    def times_of(self, which: Ints) -> Floats:
        """Return when the last call for each of some rows was made, in unix seconds; which: their numbers, ascending.

        Decodes only what these need.
        """
        if all(isinstance(part.order, slice) for part in self.parts):
            calls = which if self.last is None else self.last[which]
            found = np.empty(len(which))
            for part in self.parts:
                start, n = cast(slice, part.order).start, part.n
                first, end = np.searchsorted(calls, [start, start + n])
                if first < end:
                    found[first:end] = part.block.places().time_us[part.rows][calls[first:end] - start] / 1e6
            return found
        times = np.empty(len(self.step))
        self.fill_times(times)
        return times[which]


class _Pick(NamedTuple):
    block: Block
    keys: tuple[str, ...]
    places: Places
    rows: Rows
    step: Ints  # of the rows
    owner: Ints  # [slices]
    length: Ints  # [slices] rows
    rises: bool  # whether no two rows of a slice are of one step


def laid_out(
    snapshots: Sequence[Snapshot],
    keys: Collection[str] | None,
    ranks: RankChoice,
    *,
    superseded: bool,
    untils: Sequence[int] = (),
) -> Layout:
    """Return where the rows of runs go that hold any of these keys (None: any at all), a run's after those before it.

    A block's rows are sorted, and most often no two blocks overlap: then their first and last steps say where they go.
    superseded: also the rows that a later attempt has gone over again. untils: the first snapshots, as many as these
    are, are the past of the next one, each up to before this step; their rows count as that one's.
    """
    runs = [max(0, number - len(untils)) for number in range(len(snapshots))]
    chosen_of = [chosen(snapshot, ranks) for snapshot in snapshots]
    members = [(number, member) for number, mine in enumerate(chosen_of) for member in mine]
    if untils:
        members.sort(key=lambda each: (runs[each[0]], each[1].rank))  # a rank's past before the rank
    picks: list[_Pick] = []
    for number, snapshot in enumerate(snapshots):
        mine = [(at, member) for at, (other, member) in enumerate(members) if other == number]
        owner_of = np.full(len(snapshot.record.sources), -1, np.int64)
        owner_of[[member.src for _, member in mine]] = [at for at, _ in mine]
        ends = ends_of(snapshot.record, untils[number] if number < len(untils) else None, superseded=superseded)
        cut_of = {at: ends[member.attempt] for at, member in mine if member.attempt in ends}
        picks.extend(_picked(block, held, owner_of, cut_of) for block, held in blocks_with(snapshot, keys))
    picks = [pick for pick in picks if len(pick.length)]
    owners = Owners(
        np.array([runs[number] for number, _ in members], np.int64),
        np.array([member.rank for _, member in members], np.int64),
        np.array([member.attempt for _, member in members], np.int64),
    )
    return _joined(owners, picks) or _merged(owners, picks)


def _picked(block: Block, keys: tuple[str, ...], owner_of: Ints, cut_of: Mapping[int, int]) -> _Pick:
    """Return the rows of a block whose owners were chosen, up to where these are cut."""
    places = block.places()
    step, (bounds, src) = places.step, places.slices
    starts, ends = bounds[:-1], bounds[1:]
    owner = owner_of[src]
    if cut_of:
        limits = [cut_of.get(each) for each in owner.tolist()]
        ends = np.array(
            [
                end if limit is None else start + np.searchsorted(step[start:end], limit)
                for start, end, limit in zip(starts.tolist(), ends.tolist(), limits, strict=True)
            ],
            np.int64,
        )
    wanted = (owner >= 0) & (ends > starts)
    if not wanted.all():
        owner, starts, ends = owner[wanted], starts[wanted], ends[wanted]
    length = ends - starts
    rows = _rows(starts, length)
    step = step[rows]
    rises = step[1:] > step[:-1]
    rises[np.cumsum(length)[:-1] - 1] = True
    return _Pick(block, keys, places, rows, step, owner, length, bool(rises.all()))


def _rows(starts: Ints, length: Ints) -> Rows:
    """Return the numbers that follow each start, as many as it has length."""
    if not len(starts):
        return slice(0, 0)
    ends = starts + length
    if (starts[1:] == ends[:-1]).all():
        return slice(int(starts[0]), int(ends[-1]))
    before = np.cumsum(length) - length
    return np.repeat(starts - before, length) + np.arange(int(length.sum()))


def _joined(owners: Owners, picks: Sequence[_Pick]) -> Layout | None:
    """Return the layout of blocks that follow each other, which takes a look at their ends; None where they overlap."""
    if not picks or not all(pick.rises for pick in picks):
        return None
    owner = np.concatenate([pick.owner for pick in picks])
    length = np.concatenate([pick.length for pick in picks])
    firsts, lasts = zip(*(_ends(pick) for pick in picks), strict=True)
    first, last = np.concatenate(firsts), np.concatenate(lasts)
    order = np.lexsort((first, owner))
    owner, first, last = owner[order], first[order], last[order]
    if not ((owner[1:] > owner[:-1]) | (first[1:] > last[:-1])).all():
        return None
    start = np.empty(len(order), np.int64)
    start[order] = np.cumsum(length[order]) - length[order]
    n = int(length.sum())
    step = np.empty(n, np.int64)
    parts: list[Part] = []
    at = 0
    for pick in picks:
        here = slice(at, at + len(pick.length))
        at = here.stop
        target = _rows(start[here], pick.length)
        step[target] = pick.step
        parts.append(Part(pick.block, pick.keys, len(pick.step), pick.rows, target, target))
    ends = np.cumsum(np.bincount(owner, length[order], len(owners.rank))).astype(np.int64)
    return Layout(owners, ends, step, parts, None)


def _ends(pick: _Pick) -> tuple[Ints, Ints]:
    """Return the first and the last step of each slice."""
    ends = np.cumsum(pick.length)
    return pick.step[ends - pick.length], pick.step[ends - 1]


def _merged(owners: Owners, picks: Sequence[_Pick]) -> Layout:
    """Return the layout of blocks in any order: all rows are sorted, and the calls for one step become one row."""
    none = np.zeros(0, np.int64)
    owner = np.concatenate([none, *(np.repeat(pick.owner, pick.length) for pick in picks)])
    step = np.concatenate([none, *(pick.step for pick in picks)])
    at = np.concatenate([none, *(pick.places.at[pick.rows] for pick in picks)])
    order = _sorting(owner, step, at)
    owner, step = owner[order], step[order]
    n = len(owner)
    begins = np.ones(n, bool)
    begins[1:] = (owner[1:] != owner[:-1]) | (step[1:] != step[:-1])
    sorted_at = np.empty(n, np.int64)
    sorted_at[order] = np.arange(n)
    first = np.flatnonzero(begins)
    merges = len(first) < n
    row_of = (np.cumsum(begins) - 1)[sorted_at] if merges else sorted_at
    parts: list[Part] = []
    start = 0
    for pick in picks:
        part = slice(start, start + len(pick.step))
        start = part.stop
        parts.append(Part(pick.block, pick.keys, len(pick.step), pick.rows, row_of[part], sorted_at[part]))
    last = np.append(first[1:], n)[: len(first)] - 1 if merges else None
    return Layout(owners, np.cumsum(np.bincount(owner[first], minlength=len(owners.rank))), step[first], parts, last)


def _sorting(owner: Ints, step: Ints, at: Ints) -> Ints:
    """Return how to sort rows by owner, step and at.

    Each block has them sorted by source, so most often they are once the owners are: a radix sort of 16 bits, which
    takes half the time off a history of one key of 256 ranks.
    """
    if len(owner) and int(owner.max()) < 1 << 15:
        order = np.argsort(owner.astype(np.int16), kind="stable").astype(np.int64)
        if _are_sorted(owner[order], step[order], at[order]):
            return order
    return np.lexsort((at, step, owner)).astype(np.int64)


def _are_sorted(owner: Ints, step: Ints, at: Ints) -> bool:
    later: NDArray[np.bool_] = (step[1:] > step[:-1]) | ((step[1:] == step[:-1]) & (at[1:] > at[:-1]))
    return bool((later | (owner[1:] != owner[:-1])).all())
