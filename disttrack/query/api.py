"""disttrack.Api: runs and their series, from a script or a notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, overload

from disttrack.index.queries import Damaged, RunRecord
from disttrack.query.cards import card, charts_of, runs_card
from disttrack.query.config_changes import ConfigChange
from disttrack.query.console import ConsoleLine, console_of
from disttrack.query.edits import delete_run, edit_run, new_edit, restore_run
from disttrack.query.finding import check_search, find_runs
from disttrack.query.frames import FrameKind, as_frame
from disttrack.query.lineage import Origin
from disttrack.query.listing import run_table
from disttrack.query.media import FileRow, MediaRow, files_of, media_of
from disttrack.query.members import Observer
from disttrack.query.rank_view import RankView, view_of
from disttrack.query.reader import Reader
from disttrack.query.request import HistoryRequest, WithHistory
from disttrack.query.runs import (
    AlertRow,
    AttemptRow,
    DropRow,
    Failure,
    MetricRow,
    NodeRow,
    RankRow,
    RunReceipt,
    RunRow,
    Spread,
)
from disttrack.query.selection import RankChoice
from disttrack.query.series import series_of, series_of_runs
from disttrack.query.statistics import KeySummary, summary_of
from disttrack.query.subjects import Subject
from disttrack.query.system import samples_of
from disttrack.query.wide import Array
from disttrack.settings import root_of

__all__ = ["Api", "RunView", "Runs"]

SHOWN = 20  # runs of a list in a notebook


class Api:
    """Reads the runs below a directory; every call sees what was logged up to then.

    May be used by several threads. A with statement, or close(), lets go of the index; so does forgetting the Api.
    """

    def __init__(self, dir: str | os.PathLike[str] | None = None) -> None:
        """dir: where `disttrack-runs` lies; default DISTTRACK_DIR, else the current directory."""
        self._reader = Reader(root_of(dir))

    def runs(self, project: str | None = None, filters: str | None = None, order: str | None = None) -> Runs:
        """Return all runs, or those of one project, that pass the filters: newest first, or in the order of a field.

        filters: as `state:finished loss<1 lr:3e-4 -tag:bad` (docs/filters.md). order: a field, as "loss"; "-loss" for
        the greatest first. They are looked for once, when the first of them is asked for.
        Raises FilterError where filters or order cannot be read.
        """
        wanted = filters or ""
        check_search(wanted, order)
        return Runs(self._reader, lambda: find_runs(self._reader, project, wanted, order))

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
class RunView(RunRow, WithHistory):
    """A run as it was when it was asked for: a row of a list, and what each of its ranks has to say."""

    _reader: Reader = field(repr=False, compare=False)
    _run: Subject = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self._run.is_settled:
            self._run.detail  # noqa: B018 - a moment later its ranks may be in other states than the run

    @property
    def config(self) -> dict[str, object]:
        """What was configured, by key."""
        return self._run.config

    @property
    def config_changes(self) -> list[ConfigChange]:
        """Where a rank's config changed when it went on: a perturbed trial, a retry with other arguments."""
        return self._run.detail.config_changes

    @property
    def config_by_rank(self) -> dict[int, dict[str, object]]:
        """What ranks were configured with otherwise than `config` says, by rank."""
        return self._run.detail.config_by_rank

    @property
    def summary_ranks(self) -> dict[str, Spread]:
        """How the last values of each key are spread over the ranks."""
        return self._run.detail.summary_ranks

    @property
    def ranks(self) -> list[RankRow]:
        """The ranks of the newest attempt, those included that never joined."""
        return self._run.detail.ranks

    @property
    def receipt(self) -> RunReceipt:
        """What became of the run's records."""
        return self._run.detail.receipt

    @property
    def captured(self) -> RunReceipt:
        """What became of the records that disttrack made by itself: samples of the nodes."""
        return self._run.detail.captured

    @property
    def attempts(self) -> list[AttemptRow]:
        """Its attempts, the first one first."""
        return self._run.detail.attempts

    @property
    def first_failure(self) -> Failure | None:
        """The rank of the newest attempt that failed first; None where none failed."""
        return self._run.detail.first_failure

    @property
    def damaged(self) -> list[Damaged]:
        """The places of its log that cannot be read, as far as they are known."""
        return self._run.detail.damaged

    @property
    def drops(self) -> list[DropRow]:
        """What its ranks dropped, by class and reason."""
        return self._run.detail.drops

    @property
    def resumed_from(self) -> Origin | None:
        """The id and step behind which the newest resumed attempt goes on; None where none was resumed."""
        return self._run.detail.resumed_from

    @property
    def forked_from(self) -> Origin | None:
        """The run that this one is a fork of, and its last step that is part of this one's history."""
        return self._run.detail.forked_from

    @property
    def about(self) -> dict[str, dict[str, object]]:
        """What the run found out about itself: the sections program, source, packages, host and devices, if known."""
        return self._run.detail.about

    @property
    def nodes(self) -> list[NodeRow]:
        """The nodes of the newest attempt, and what is known of each."""
        return self._run.detail.nodes

    @property
    def alerts(self) -> list[AlertRow]:
        """What its ranks wanted a person to see soon, the newest first."""
        return self._run.detail.alerts

    @property
    def metrics(self) -> list[MetricRow]:
        """What its ranks said of how metrics are to be read (run.define_metric)."""
        return self._run.detail.metrics

    def _columns(self, request: HistoryRequest) -> dict[str, Array]:
        wanted = self._wanted
        past = self._reader.past(self._run.record)
        if past:
            return self._reader.asked_with_past(wanted, past, lambda run, past: series_of(run, request, past))
        return self._reader.asked(wanted, lambda snapshot: series_of(snapshot, request), self._run.record)

    def files(self) -> list[FileRow]:
        """Return the files that its ranks saved with it, by path; raise RunNotFound where the run is gone."""
        root = self._reader.root
        return self._reader.asked(self._wanted, lambda snapshot: files_of(root, snapshot.record), self._run.record)

    def media(
        self, keys: str | Collection[str] | None = None, ranks: RankChoice = None, superseded: bool = False
    ) -> list[MediaRow]:
        """Return its images, tables and videos with the paths of their files, by rank, attempt, step and key.

        keys: one, several, or None for all. ranks, superseded: as for history. Raises RunNotFound where it is gone.
        """
        root, wanted = self._reader.root, [keys] if isinstance(keys, str) else keys
        return self._reader.asked(
            self._wanted,
            lambda snapshot: media_of(root, snapshot, wanted, ranks, superseded=superseded),
            self._run.record,
        )

    @property
    def _wanted(self) -> str:
        return f"{self.project}/{self.id}"

    def summary_of(self, key: str, ranks: RankChoice = None) -> KeySummary | None:
        """Return the count, first, last, min, max, mean and best of a key's numbers; None where there are none.

        ranks: None for the lowest rank that logged it, as in `summary`; else as for history. Superseded rows are
        left out. Raises RunNotFound where the run is gone.
        """
        wanted = self._wanted
        return self._reader.asked(wanted, lambda snapshot: summary_of(snapshot, key, ranks), self._run.record)

    def console(
        self, rank: int | None = None, stream: Literal["stdout", "stderr"] | None = None, tail: int | None = None
    ) -> list[ConsoleLine]:
        """Return the lines that ranks printed, in the order of time, up to now.

        rank: only this one's. stream: only this one. tail: only so many of the last lines.
        Raises RunNotFound where the run is gone, UsageError for an argument that cannot be used.
        """
        wanted = self._wanted
        return self._reader.asked(wanted, lambda snapshot: console_of(snapshot, rank, stream, tail), self._run.record)

    def rank(self, rank: int) -> RankView:
        """Return one rank by itself: its config, summary, state and exit code.

        Raises UsageError where there is no such rank, RunNotFound where the run is gone.
        """
        wanted = self._wanted
        observer = Observer.here(self._reader.root)
        return self._reader.asked(wanted, lambda snapshot: view_of(snapshot, rank, observer), self._run.record)

    @overload
    def system(
        self, keys: Sequence[str] | None = None, *, node: str | None = None, as_: Literal["numpy"] = "numpy"
    ) -> dict[str, Array]: ...
    @overload
    def system(self, keys: Sequence[str] | None = None, *, node: str | None = None, as_: FrameKind) -> Any: ...  # noqa: ANN401 - other libraries' types
    def system(self, keys: Sequence[str] | None = None, *, node: str | None = None, as_: FrameKind = "numpy") -> Any:
        """Return the samples of the run's nodes by node and time: columns node, attempt, time and one for each key.

        keys: only these (`cpu.percent`, `memory.used_bytes`, `gpu.0.percent`, `process.0.cpu.percent`, ...). node: of
        this host only. as_: as for history. Raises RunNotFound where the run is gone.
        """
        wanted = self._wanted
        columns = self._reader.asked(wanted, lambda snapshot: samples_of(snapshot, keys, node), self._run.record)
        return as_frame(columns, as_)

    def _repr_html_(self) -> str:
        """Return the run as notebooks show it: a card with small charts, in which nothing runs or is fetched."""
        charts = self._reader.asked(self._wanted, charts_of, self._run.record)
        facts: dict[str, object] = {"state": self.state, "ranks": f"{self.ranks_joined} of {self.world_size}"}
        if self.attempt:
            facts["attempt"] = self.attempt
        facts["seconds"] = f"{self.duration_s:,.0f}"
        return card(self.name, self._wanted, facts, self.summary, charts)

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
        wanted = self._wanted
        edit_run(self._reader.root, wanted, change)
        return _view(self._reader, self._reader.snapshot(wanted).record)

    def delete(self) -> None:
        """Delete the run (Api.restore undoes it); raise UsageError while it is still running."""
        delete_run(self._reader.root, self._wanted, do=True)


class Runs(Sequence[RunView], WithHistory):
    """Runs in their order: found once, when they are first asked for; each is looked into when it is."""

    def __init__(self, reader: Reader, find: Callable[[], Sequence[Subject]]) -> None:
        self._reader = reader
        self._find = find

    @cached_property
    def _found(self) -> Sequence[Subject]:
        return self._find()

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> RunView: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> RunView | Runs:
        if isinstance(index, slice):
            return Runs(self._reader, lambda: self._found[index])
        return _view(self._reader, self._found[index].record)

    def __iter__(self) -> Iterator[RunView]:
        return (_view(self._reader, run.record) for run in self._found)

    def __repr__(self) -> str:
        return f"<{len(self)} runs in {self._reader.root}>"

    def _repr_html_(self) -> str:
        """Return the first runs as a table, as notebooks show it."""
        rows = [run.row for run in self._found[:SHOWN]]
        return runs_card(
            str(self._reader.root),
            len(self),
            [
                {"id": row.id, "name": row.name, "project": row.project, "state": row.state}
                | {"ranks": f"{row.ranks_joined}/{row.world_size}", "seconds": f"{row.duration_s:,.0f}"}
                for row in rows
            ],
        )

    @overload
    def table(self, as_: Literal["numpy"] = "numpy") -> dict[str, Array]: ...
    @overload
    def table(self, as_: FrameKind) -> Any: ...  # noqa: ANN401 - other libraries' types
    def table(self, as_: FrameKind = "numpy") -> Any:
        """Return a row for each run: its fields, then config.KEY and summary.KEY for each key that any of them has.

        as_: as for RunView.history.
        """
        return as_frame(run_table(self._found), as_)

    def _columns(self, request: HistoryRequest) -> dict[str, Array]:
        self._reader.catch_up()
        return self._reader.asked_of_all(
            [run.record for run in self._found], lambda snapshots: series_of_runs(snapshots, request)
        )


def _view(reader: Reader, record: RunRecord) -> RunView:
    run = Subject(record, Observer.here(reader.root))
    return RunView(**vars(run.row), _reader=reader, _run=run)
