"""What lies beside a run's rows: its media and files, whose they are, and where their bytes are."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from disttrack.errors import UsageError
from disttrack.index.blocks import Block
from disttrack.index.facts import BlobFacts
from disttrack.index.queries import RunRecord
from disttrack.index.snapshots import Snapshot
from disttrack.query.frames import FrameKind, as_frame
from disttrack.query.members import Member, members
from disttrack.query.selection import RankChoice, blocks_with, chosen
from disttrack.query.superseded import cuts
from disttrack.query.wide import Array

__all__ = ["BlobState", "FileRow", "MediaRow", "files_of", "media_of", "run_directory"]

BlobState = Literal["stored", "pending", "lost"]
"""pending: its bytes are still on the node that made them. lost: they never came, and will not."""

_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


@dataclass(frozen=True)
class MediaRow:
    """An image, table, video or the like that a row holds; of a list of images each is one.

    path: of its bytes, from the run's directory on; file: the same on this machine. Both null unless they are stored.
    """

    key: str
    rank: int
    attempt: int
    step: int
    kind: str
    state: BlobState
    path: str | None
    size: int | None
    why: str | None  # it is lost
    value: Mapping[str, object]  # as history has it: caption, width, boxes, ...
    file: Path | None = field(default=None, compare=False)

    def table(self, as_: FrameKind = "pandas") -> Any:  # noqa: ANN401 - other libraries' types
        """Return a table as it was logged: a pandas DataFrame, or another form (Api.history's as_).

        Raises UsageError where this is no table, or its bytes are not stored.
        """
        if self.kind != "table" or self.file is None:
            what = f"{self.key} at step {self.step}"
            why = f"it is {self.state}" if self.kind == "table" else f"its kind is {self.kind}"
            raise UsageError(f"{what} cannot be read as a table", why, "Ask for a table that is stored.")
        stored = json.loads(self.file.read_bytes())
        names: list[str] = stored["columns"]
        rows: list[list[object]] = stored["data"]
        columns = {name: _column([_restored(row[index]) for row in rows]) for index, name in enumerate(names)}
        return as_frame(columns, as_)


@dataclass(frozen=True)
class FileRow:
    """A file that a rank saved with the run, as it was last. path: below the run's `files`; file: on this machine."""

    path: str
    rank: int
    attempt: int
    size: int
    time: float  # unix seconds, when it was taken
    state: BlobState
    why: str | None = None  # it is lost
    file: Path | None = field(default=None, compare=False)


def run_directory(root: Path, record: RunRecord) -> Path:
    """Return where a run lies."""
    return root / record.project_directory / record.directory


def files_of(root: Path, record: RunRecord) -> list[FileRow]:
    """Return the files of a run by path; of two ranks' files of one name the newer is the one that is there."""
    found: dict[str, FileRow] = {}
    for member in members(record):
        for path, file in member.source.files.items():
            blob = member.source.blobs.get(file.blob)
            state = _state(blob, member, record)
            known = found.get(path)
            if known is not None and known.time > file.time_us / 1e6:
                continue
            place = run_directory(root, record) / "files" / path if state == "stored" else None
            size = blob.size if blob is not None and state == "stored" else file.size
            why = blob.lost if blob is not None else None
            found[path] = FileRow(path, member.rank, member.attempt, size, file.time_us / 1e6, state, why, place)
    return [found[path] for path in sorted(found)]


def media_of(
    root: Path,
    snapshot: Snapshot,
    keys: Collection[str] | None = None,
    ranks: RankChoice = None,
    *,
    superseded: bool = False,
    without_bytes: bool = False,
) -> list[MediaRow]:
    """Return the media of a run by rank, attempt, step and key. Arguments as for history.

    without_bytes: also those that a row holds as a whole, as histograms.
    """
    record = snapshot.record
    wanted = {member.src: member for member in chosen(snapshot, ranks)}
    ends = {} if superseded else cuts(record)
    found: dict[tuple[int, int, str], tuple[int, object]] = {}  # by source, step and key: the call that counts
    for block, held in blocks_with(snapshot, keys):
        for src, step, at, key, value in _values(block, held):
            member = wanted.get(src)
            if member is None or step >= ends.get(member.attempt, step + 1):
                continue
            if at > found.get((src, step, key), (-1, None))[0]:
                found[src, step, key] = at, value
    rows = [
        _row(root, record, wanted[src], step, key, one)
        for (src, step, key), (_, value) in found.items()
        for one in _media_in(value, without_bytes=without_bytes)
    ]
    return sorted(rows, key=lambda row: (row.rank, row.attempt, row.step, row.key))


def _values(block: Block, keys: Sequence[str]) -> Iterator[tuple[int, int, int, str, object]]:
    """Yield source, step, offset, key and value of those values of a block that may be media."""
    odd = [key for key in keys if block.kinds[block.keys.index(key)] == "*"]
    if not odd:
        return
    places = block.places()
    bounds, sources = places.slices
    src = np.repeat(sources, [end - start for start, end in pairwise(bounds.tolist())]).tolist()
    step, at = places.step.tolist(), places.at.tolist()
    for key in odd:
        for row, value in enumerate(block.column(key)):
            if isinstance(value, dict | list):
                yield src[row], step[row], at[row], key, value


def _media_in(value: object, *, without_bytes: bool) -> list[Mapping[str, object]]:
    """Return the media that a value is: one, or a list of them."""
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    found = [cast("Mapping[str, object]", item) for item in items if isinstance(item, dict)]
    typed = [item for item in found if isinstance(item.get("_type"), str)]
    return [item for item in typed if without_bytes or isinstance(item.get("blob"), int)]


def _row(root: Path, record: RunRecord, member: Member, step: int, key: str, value: Mapping[str, object]) -> MediaRow:
    number = value.get("blob")
    blob = member.source.blobs.get(number) if isinstance(number, int) else None
    state = _state(blob, member, record) if isinstance(number, int) else "stored"
    path = f"media/{blob.name}" if blob is not None and state == "stored" else None
    return MediaRow(
        key=key,
        rank=member.rank,
        attempt=member.attempt,
        step=step,
        kind=str(value["_type"]),
        state=state,
        path=path,
        size=blob.size if blob is not None and path is not None else None,
        why=blob.lost if blob is not None else None,
        value=value,
        file=run_directory(root, record) / path if path is not None else None,
    )


def _state(blob: BlobFacts | None, member: Member, record: RunRecord) -> BlobState:
    """Return the state of a blob. A run ends when those of all its nodes are stored that can be reached."""
    if blob is not None:
        return "stored" if blob.lost is None else "lost"
    sighted = member.source.sighted
    is_gone = sighted is not None and sighted.seen == "lost"
    return "lost" if record.facts.over_us is not None and not is_gone else "pending"


def _restored(value: object) -> object:
    """Return a cell as it was logged: JSON has no number that is not finite."""
    if isinstance(value, dict):
        cell = cast("dict[str, object]", value)
        if cell.get("_type") == "number":
            return _NUMBERS.get(str(cell.get("value")), cell)
        return cell
    return value


def _column(values: Sequence[object]) -> Array:
    kinds = {type(value) for value in values}
    if kinds == {int} and all(-(2**63) <= cast(int, value) < 2**63 for value in values):
        return np.array(values, np.int64)
    if kinds == {float}:
        return np.array(values, np.float64)
    return np.fromiter(values, np.object_, len(values))
