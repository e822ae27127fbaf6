"""The wide form of a run, as a dict of columns."""

from __future__ import annotations

from collections.abc import Collection

from disttrack.index.snapshots import Snapshot
from disttrack.query.request import HistoryRequest
from disttrack.query.selection import RankChoice
from disttrack.query.series import series_of
from disttrack.query.wide import Array


def wide_form(
    snapshot: Snapshot, keys: Collection[str] | None = None, ranks: RankChoice = None, *, superseded: bool = False
) -> dict[str, Array]:
    """Returns what RunView.history does."""
    return series_of(snapshot, HistoryRequest(keys, ranks, superseded=superseded))
