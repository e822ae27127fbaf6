"""disttrack.Api: runs and their series, from a script or a notebook."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import overload

from disttrack.errors import RunNotFound
from disttrack.index.queries import RunRecord, Vanished
from disttrack.query.edits import delete_run, edit_run, new_edit, restore_run
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, detail_of, newest_first
from disttrack.query.selection import RankChoice
from disttrack.query.wide import Array, wide_form
from disttrack.settings import root_of

__all__ = ["Api", "RunView", "Runs"]


class Api:
    """Reads the runs below a directory; every call sees what was logged up to then.

    May be used by several threads. A with statement, or close(), lets go of the index; so does forgetting the Api.
    """

    def __init__(self, dir: str | os.PathLike[str] | None = None) -> None:
        """dir: where `disttrack-runs` lies; default DISTTRACK_DIR, else the current directory."""
        self._reader = Reader(root_of(dir))

    def runs(self, project: str | None = None) -> Runs:
        """Return all runs, or those of one project, newest first."""
        return Runs(self._reader, newest_first(self._reader.runs(project)))

    def run(self, id: str) -> RunView:
        """Return the run that answers to `id` or `project/id`; raise RunNotFound where none or several do."""
        return _view(self._reader, self._reader.snapshot(id).record)

    def restore(self, id: str) -> RunView:
        """Undo the deletion of a run; raise RunNotFound where no such run was deleted."""
        return self.run(restore_run(self._reader.root, id))

    def close(self) -> None:
        """Let go of the index; nothing may be asked afterwards."""
        self._reader.close()

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class RunView(RunDetail):
    """A run as it was when it was asked for."""

    _reader: Reader = field(repr=False, compare=False)

    def history(self, keys: Collection[str] | None = None, ranks: RankChoice = "all") -> dict[str, Array]:
        """Return what was logged so far as columns: rank, attempt, step, time (unix s), and one for each key.

        keys: None for all. ranks: "all", "primary" (the lowest that joined) or a sequence of ranks. A column is
        float64 with NaN where a key is missing, int64 where all are ints, else object with None. A key that is named
        like one of the first four has "_logged" after its name. Raises RunNotFound where the run is gone.
        """
        wanted = f"{self.project}/{self.id}"
        try:
            return wide_form(self._reader.snapshot(wanted), keys, ranks)
        except Vanished:
            raise RunNotFound(wanted, self._reader.root) from None

    def edit(
        self,
        *,
        name: str | None = None,
        notes: str | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        archived: bool | None = None,
    ) -> RunView:
        """Change what the run is called, and return it as it is then. It beats the program's word from then on.

        None leaves a field as it is; notes="" clears them. archived: out of lists, or back into them.
        """
        change = new_edit(
            name=name, notes=notes, add_tags=tuple(add_tags), remove_tags=tuple(remove_tags), archived=archived
        )
        wanted = f"{self.project}/{self.id}"
        edit_run(self._reader.root, wanted, change)
        return _view(self._reader, self._reader.snapshot(wanted).record)

    def delete(self) -> None:
        """Delete the run (Api.restore undoes it); raise UsageError while it is still running."""
        delete_run(self._reader.root, f"{self.project}/{self.id}", do=True)


class Runs(Sequence[RunView]):
    """Runs, newest first; each is looked into when it is asked for."""

    def __init__(self, reader: Reader, records: Sequence[RunRecord]) -> None:
        self._reader = reader
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> RunView: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> RunView | Runs:
        if isinstance(index, slice):
            return Runs(self._reader, self._records[index])
        return _view(self._reader, self._records[index])

    def __iter__(self) -> Iterator[RunView]:
        return (_view(self._reader, record) for record in self._records)

    def __repr__(self) -> str:
        return f"<{len(self)} runs in {self._reader.root}>"


def _view(reader: Reader, record: RunRecord) -> RunView:
    return RunView(**vars(detail_of(record, Observer.here(reader.root))), _reader=reader)
