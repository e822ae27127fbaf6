"""One key of many runs in one pass, where its values need no sorting out: one source logged them, each step once.

In: the tables. Out: the values by step, for query, which takes the other runs apart one by one: five times the work.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

from disttrack.index.blocks import MIXED, columns_together
from disttrack.index.checksums import IndexDamaged, verified
from disttrack.index.chunks import Bundle, Column, decode_column, only_value, rises
from disttrack.index.facts import RunFacts
from disttrack.index.queries import schemas_of
from disttrack.records.codec import decode

__all__ = ["sole_columns"]


class _Held(NamedTuple):
    """A block that holds the key."""

    run: int
    ax: int
    sid: int
    n: int
    first: int  # step
    last: int
    src: bytes
    step: bytes


def sole_columns(connection: sqlite3.Connection, key: str, runs: Collection[int]) -> dict[int, list[Column]]:
    """Return by the numbers of runs the values of a key, in pieces by step: float64 or int64; none where it has none.

    Left out are runs that are not over, whose key more than one source logged, whose steps come twice or in no order,
    or whose values are anything but floats and ints. Raises IndexDamaged.
    """
    where = ",".join(map(str, runs))
    over = connection.execute(f"SELECT id, facts FROM run WHERE id IN ({where}) AND is_over = 1")
    blocks_of = {run: decode(verified(facts), RunFacts).blocks for run, facts in over.fetchall()}
    schemas = schemas_of(connection, list(blocks_of))
    holders = {
        run: {sid for sid, (keys, _) in enumerate(mine) if key in keys}
        for run, mine in schemas.items()
        if MIXED not in mine
    }
    plain = [
        run
        for run, sids in holders.items()
        if sids and all(kinds[keys.index(key)] in "dq" for keys, kinds in (schemas[run][sid] for sid in sids))
    ]
    rows = connection.execute(
        "SELECT run, ax, sid, n, min_step, max_step, src, step FROM axis"
        f" WHERE run IN ({','.join(map(str, plain))}) ORDER BY run, min_step"
    ).fetchall()
    there: dict[int, list[_Held]] = {run: [] for run in plain}
    for row in map(_Held._make, rows):
        there[row.run].append(row)
    found: dict[int, list[Column]] = {run: [] for run, sids in holders.items() if not sids}
    for run, everything in there.items():
        if len(everything) != blocks_of[run]:
            raise IndexDamaged(f"the blocks of run {run}")
        blocks = [block for block in everything if block.sid in holders[run]]
        if blocks and _is_sole(blocks):
            found[run] = [_column(connection, block, *schemas[run][block.sid], key) for block in blocks]
    return found


def _is_sole(blocks: Sequence[_Held]) -> bool:
    """Say whether one source logged these rows, and no step of them twice; blocks: by their first steps."""
    if any(after.first <= before.last for before, after in pairwise(blocks)):
        return False
    sources = {only_value(_verified(block, 0)) for block in blocks}
    if None in sources or len(sources) > 1:
        return False
    return all(rises(_verified(block, 1), block.n) for block in blocks)


def _verified(block: _Held, number: int) -> memoryview:
    """Return an axis as it was signed with its place: 0 is the sources', 1 the steps'."""
    return verified((block.src, block.step)[number], block.run, block.ax, block.sid, block.n, number)


def _column(connection: sqlite3.Connection, block: _Held, keys: Sequence[str], kinds: str, key: str) -> Column:
    together, index = columns_together(block.n), keys.index(key)
    part = index // together
    place = block.run, block.ax, part
    row = connection.execute("SELECT data FROM chunk WHERE run = ? AND ax = ? AND part = ?", place).fetchone()
    if row is None:
        raise IndexDamaged(f"a chunk of run {block.run}")
    mine, stored = kinds[part * together : (part + 1) * together], verified(row[0], *place, 0)
    if together == 1:
        return decode_column(mine, stored, block.n)
    return Bundle(mine, stored, block.n).column(index % together)
