"""Run: what init returns, one rank's side of a run."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

from disttrack.api.attach import helper_recorder, make_join
from disttrack.api.config import Config
from disttrack.api.hooks import hook
from disttrack.api.keeping import Keeper
from disttrack.api.receipt import Receipt
from disttrack.api.recorder import Recorder
from disttrack.api.summary import Summary
from disttrack.environments.detect import single
from disttrack.environments.processes import PARENT, in_notebook
from disttrack.journal.outbox import Outbox
from disttrack.records.classes import RecordClass
from disttrack.records.payloads import ConfigUpdate, SummaryUpdate
from disttrack.records.secrets import redacted_text
from disttrack.records.types import Join
from disttrack.settings import Settings, load
from disttrack.transport.protocol import Welcome

__all__ = ["Run", "attach", "describe", "disabled_run"]

ID_WAIT_S = 10.0
_log = logging.getLogger("disttrack")


class Run:
    """One rank's side of a run: log rows, set config and summary, and finish.

    Every rank of a launch has its own; id, name and group are the run's and shared by all of them. After
    finish(), calls are ignored (and said so once). A forked or spawned child that logs becomes a helper of
    the same rank.
    """

    config: Config
    summary: Summary

    def __init__(self, settings: Settings, join: Join, recorder: Recorder | None, *, enabled: bool = True) -> None:
        self._settings = settings
        self._join = join
        self._recorder = recorder
        self._pid = os.getpid()
        self._enabled = enabled
        self._receipt: Receipt | None = None
        self._joining = threading.RLock()  # one thread of a forked child makes its journal
        self._id: str | None = join.given_id
        self.config = Config(
            self._store_config,
            self._refuse_config,
            redact=settings.redact_secrets,
            allow_val_change=_may_change_config(settings),
            speaks=self._speaks,
        )
        self.summary = Summary(self._outbox, self._store_summary)
        self._keeper = Keeper(lambda: self._recorder or self._become_helper())
        self.waiting: dict[str, Any] = {}  # values that hooks have for the row that is logged next
        self._before_end: list[Callable[[], None]] = []
        self.exception: str | None = None  # why the process ends, if a hook or `with` saw an exception
        self.start_time = join.time_us / 1e6

    # Logging

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log a row: names to values (numbers, text, lists; nested dicts become `outer.inner`).

        step: any whole number, in any order; without one the row gets the next one. commit=False, or a step
        without commit=True, leaves the row open: what is logged at the same step joins it.
        When this returns, the row survives the death of this process. It never blocks on another thread, process
        or network, and never raises (with Settings(strict=True): ValueError for what cannot be kept).
        """
        recorder = self._recorder
        if recorder is None:
            recorder = self._become_helper()
            if recorder is None:
                return
        if self.waiting:
            data = self._joined(data)
        recorder.row(data, step, commit)

    def _joined(self, data: Any) -> Any:
        """Return a row with the values that wait for one; what is no row stays as it is."""
        if not isinstance(data, Mapping):
            return data
        joined: dict[Any, Any] = {}
        while self.waiting:
            try:
                key, value = self.waiting.popitem()
            except KeyError:  # another thread's row took it
                break
            joined[key] = value
        joined.update(cast("Mapping[Any, Any]", data))
        return joined

    def _become_helper(self) -> Recorder | None:
        """Give a forked child a journal of its own; None where the run is disabled."""
        with self._joining:
            if self._recorder is None and self._enabled and self._receipt is None:
                self._attach()
        return self._recorder

    def _attach(self) -> None:
        helper = helper_recorder(Path(self._join.journal), self._settings)
        self._pid = os.getpid()
        if helper is None:
            self._enabled = False
        else:
            self._recorder, self._join = helper

    def _outbox(self) -> Outbox | None:
        return self._recorder.outbox if self._recorder is not None else None

    def _store_config(self, values: dict[str, Any]) -> None:
        recorder = self._recorder or self._become_helper()
        if recorder is not None:
            recorder.say(ConfigUpdate(values=values))

    def _refuse_config(self, why: str) -> None:
        recorder = self._recorder or self._become_helper()
        if recorder is not None:
            recorder.refuse(why, RecordClass.CONFIG)

    def _store_summary(
        self, values: dict[str, Any], removed: tuple[str, ...] = (), problems: list[tuple[str, str]] | None = None
    ) -> None:
        recorder = self._recorder or self._become_helper()
        if recorder is not None:
            recorder.say(SummaryUpdate(values=values, removed=removed))
            if problems:
                recorder.leave_out(problems)

    def save(
        self,
        glob_str: str | os.PathLike[str] | None = None,
        base_path: str | os.PathLike[str] | None = None,
        policy: str = "live",
    ) -> list[str]:
        """Keep files with the run, below its directory `files`; return their paths there.

        glob_str: a path or a glob pattern. Below base_path a file keeps its path; the default is the current
        directory, and for an absolute pattern the directory above the file's. policy: "now", "end" (as they are at
        finish()) or "live" (now, and again when they change). Nothing without a glob_str, or for what lies at gs:// or s3://.
        Raises UsageError (a ValueError) for another policy, and for files that are not below base_path.
        """
        return [] if glob_str is None else self._keeper.save(glob_str, base_path, policy)

    def log_code(
        self,
        root: str | os.PathLike[str] | None = ".",
        name: str | None = None,
        include_fn: Callable[..., bool] | None = None,
        exclude_fn: Callable[..., bool] | None = None,
    ) -> list[str] | None:
        """Keep the code below a directory with the run, in `files/code`; return the paths, None where there is none.

        include_fn, exclude_fn: say of a path (and if they like the root) whether it is kept; the default is *.py.
        Hidden directories, environments and runs are passed over. name: changes nothing.
        """
        return self._keeper.save_code("." if root is None else root, include_fn, exclude_fn) or None

    def keep_program(self) -> str | None:
        """Keep the script that runs, or the notebook, in `files/code`, as init(save_code=True); return its path."""
        return self._keeper.save_program()

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: Literal["gradients", "parameters", "all"] | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Log histograms of torch models, every log_freq steps of their optimizer, with the row that is logged next.

        models: one torch.nn.Module or several. log: which histograms, `gradients/<parameter>` and
        `parameters/<parameter>`: as they are when the optimizer is about to step. idx: the number of the first model;
        names of models but number 0 begin with `graph_<number>.`. criterion and log_graph are taken as in wandb; graphs
        are not kept, which is said. Nothing is attached to the models. Never raises: what cannot be watched is said.
        """
        if log_graph:
            _log.warning("disttrack: watch(log_graph=True): graphs are not kept; the histograms are")
        try:
            if self._enabled and self.is_ours():
                hook("watch").watch(self, models, log, log_freq, idx)
        except Exception as error:  # torch is not installed, or these are no models
            _log.warning("disttrack: watch() has no effect: %s: %s", type(error).__name__, error)

    def unwatch(self, models: Any = None) -> None:
        """Watch these models no more; None: all of them."""
        try:
            if self._enabled and self.is_ours():
                hook("watch").unwatch(self, models)
        except Exception as error:
            _log.warning("disttrack: unwatch() has no effect: %s: %s", type(error).__name__, error)

    def at_finish(self, call: Callable[[], None]) -> None:
        """Call when the run is finished, while rows and files are still taken; what it raises is said."""
        self._before_end.append(call)

    def _finish_hooks(self, recorder: Recorder) -> None:
        while self._before_end:
            try:
                self._before_end.pop(0)()
            except Exception as error:  # of another library
                _log.warning("disttrack: a hook could not be finished: %s: %s", type(error).__name__, error)
        if self.waiting:
            recorder.row(self._joined({}), None, False)

    def finish(self, exit_code: int | None = None) -> Receipt:
        """End this rank and return what became of its records; other ranks are not waited for.

        Waits until the writer has stored everything, at most Settings.finish_timeout_s; what is left then stays
        in the journal. A second call returns the same receipt.
        """
        if self._receipt is not None:
            return self._receipt
        recorder = self._recorder
        if recorder is None or self._pid != os.getpid():
            self._receipt = Receipt(0, 0, 0, 0)  # disabled, or a child that logged nothing: there is nothing to end
            return self._receipt
        why = self.exception
        if why is not None and self._settings.redact_secrets:
            why = redacted_text(why)
        self._finish_hooks(recorder)
        self._keeper.finish()
        recorder.end(exit_code if exit_code is not None else int(why is not None), why)
        self._receipt = self._wait_for_receipt(recorder)
        if os.environ.get(PARENT) == self._join.journal:
            del os.environ[PARENT]
        self._say_goodbye(self._receipt)
        return self._receipt

    def _wait_for_receipt(self, recorder: Recorder) -> Receipt:
        outbox, sender = recorder.outbox, recorder.sender
        if outbox is None:
            counts = recorder.counts
            return Receipt(counts.logged, 0, 0, counts.dropped, drops=recorder.drops)
        # inf is for ever
        whole = sender is not None and sender.finished.wait(min(self._settings.finish_timeout_s, threading.TIMEOUT_MAX))
        counts = recorder.counts  # a writer may have asked meanwhile for what was removed
        if whole:
            stored = counts.logged - counts.dropped
        else:
            stored = max(0, outbox.counted(sender.acked) - outbox.lost) if sender is not None else 0
        if sender is not None:
            sender.stop(timeout_s=1.0)
        pending = counts.logged - counts.dropped - stored
        pending_media = outbox.spool.waiting
        return Receipt(
            counts.logged,
            stored,
            pending,
            counts.dropped,
            drops=recorder.drops,
            pending_media=pending_media,
            journal=str(outbox.directory) if pending or pending_media else None,
        )

    def _say_goodbye(self, receipt: Receipt) -> None:
        """Say in one line what became of the records: of every rank that is not whole, else of the first alone."""
        whole = not (receipt.dropped or receipt.pending or receipt.pending_media)
        if not whole:
            _log.warning("disttrack: rank %d of %s: %s", self.rank, self._known_id(), receipt)
        elif self._speaks() and not self._settings.quiet and sys.stderr is not None:
            print(f"disttrack: {self.project}/{self._known_id()}: {receipt}", file=sys.stderr)

    def _speaks(self) -> bool:
        """Say whether this process says what one of the run is to say: its first rank, none of the helpers."""
        return self.rank == 0 and self._join.role == "rank"

    def _known_id(self) -> str:
        """Return the run's id as far as it is known, without waiting."""
        sender = self._recorder.sender if self._recorder is not None else None
        welcome = sender.welcome if sender is not None else None
        return self._id or (welcome.run_id if welcome is not None else self._join.own_id)

    # Who am I?

    def _welcome(self) -> Welcome | None:
        """Return the writer's word on this rank, after at most ID_WAIT_S; None if none came or it is disabled."""
        recorder = self._recorder or self._become_helper()
        if recorder is None or recorder.sender is None:
            return None
        if recorder.sender.welcome is None and self._receipt is None:
            recorder.sender.hurry()
            if not recorder.sender.welcomed.wait(ID_WAIT_S):
                self._id = self._id or self._join.own_id  # from now on; it stays an alias of the run for ever
        return recorder.sender.welcome

    @property
    def id(self) -> str:
        """The run's id, the same in all its ranks. Waits at most 10 s for the writer, then is an alias of it."""
        if self._id is None:
            welcome = self._welcome()
            self._id = welcome.run_id if welcome is not None else self._join.own_id
        return str(self._id)

    @property
    def name(self) -> str:
        """The run's name: given, or adjective-noun-number."""
        if self._join.name is not None:
            return self._join.name
        welcome = self._welcome()
        return welcome.name if welcome is not None else self.id

    @property
    def project(self) -> str:
        """The project."""
        return self._join.project

    @property
    def group(self) -> str | None:
        """The group: given, or the one generated for a distributed launch; None for one process by itself."""
        if self._join.group is not None:
            return self._join.group
        welcome = self._welcome()
        return welcome.group if welcome is not None else None

    @property
    def attempt(self) -> int:
        """Which try of the run this is, from 0."""
        welcome = self._welcome()
        return welcome.attempt if welcome is not None else 0

    @property
    def job_type(self) -> str | None:
        """This process's own job type: `rank-3` in a distributed launch, else what was given."""
        return self._newest_join().rank_job_type

    @property
    def rank(self) -> int:
        """This process's rank as far as it is known now."""
        return self._newest_join().rank.rank

    @property
    def world_size(self) -> int:
        """How many ranks the launch has, as far as it is known now."""
        return self._newest_join().rank.world_size

    @property
    def local_rank(self) -> int | None:
        """The rank within this node, where the launcher tells."""
        return self._newest_join().rank.local_rank

    def _newest_join(self) -> Join:
        sender = self._recorder.sender if self._recorder is not None else None
        return sender.join if sender is not None else self._join

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags."""
        return self._join.tags

    @property
    def notes(self) -> str | None:
        """The notes."""
        return self._join.notes

    @property
    def step(self) -> int:
        """The step the next row gets if none is named."""
        return self._recorder.step if self._recorder is not None else 0

    @property
    def disabled(self) -> bool:
        """Whether nothing is written (mode="disabled")."""
        return not self._enabled

    @property
    def finished(self) -> bool:
        """Whether finish() was called."""
        return self._receipt is not None

    # Life in a process

    def forked(self) -> None:
        """Let go of everything that is the parent's; called in a forked child."""
        self._joining = threading.RLock()
        self.waiting, self._before_end = {}, []
        if self._recorder is not None:
            self._id = self._known_id()
            self._recorder.abandon()
            self._recorder = None
        self._keeper.forget()

    @property
    def is_helper(self) -> bool:
        """Whether this process logs for the rank of another one."""
        return self._join.role == "helper"

    def is_ours(self) -> bool:
        """Say whether this run was opened in this process and not finished."""
        return self._receipt is None and self._pid == os.getpid()

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Pickle as the way to this run: whoever unpickles it in another process becomes a helper of this rank."""
        return attach, (self._join.journal,)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, SystemExit):
            self.finish(error.code if isinstance(error.code, int) else int(error.code is not None))
        else:
            self.exception = describe(error)
            self.finish(1)

    def __repr__(self) -> str:
        rank = self._newest_join().rank
        return f"<disttrack.Run {self.project}/{self._known_id()} rank {rank.rank} of {rank.world_size}>"


def attach(journal: str) -> Run:
    """Return the run whose rank has this journal, for this process to log into as that rank's helper."""
    settings = load()
    helper = helper_recorder(Path(journal), settings)
    if helper is None:
        return disabled_run(settings)
    recorder, join = helper
    return Run(settings, join, recorder)


def disabled_run(settings: Settings) -> Run:
    """Return a run that writes nothing."""
    return Run(settings, make_join(settings, single(settled=True), 0, settings.group), None, enabled=False)


def _may_change_config(settings: Settings) -> bool:
    return in_notebook(sys.modules) if settings.allow_val_change is None else settings.allow_val_change


def describe(error: BaseException) -> str:
    """Return an exception as one bounded text."""
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except Exception:  # its __str__ raises
        return type(error).__name__
