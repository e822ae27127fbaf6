"""Run: what init returns, one rank's side of a run."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from disttrack.api.alerts import Alerts
from disttrack.api.attach import helper_recorder, make_join
from disttrack.api.banner import Greeting, begun, ended
from disttrack.api.config import Config
from disttrack.api.console import Console
from disttrack.api.facts import FactFinder
from disttrack.api.hooks import hook
from disttrack.api.keeping import Keeper
from disttrack.api.metrics import checked_definition
from disttrack.api.notebook import cells_of
from disttrack.api.receipt import Receipt
from disttrack.api.recorder import Recorder
from disttrack.api.run_files import RunFiles
from disttrack.api.run_hooks import RunHooks
from disttrack.api.summary import Summary
from disttrack.capture.redirect import is_possible
from disttrack.environments.detect import single
from disttrack.environments.processes import PARENT, in_notebook
from disttrack.errors import UnsafeDirectory
from disttrack.records.classes import RecordClass
from disttrack.records.payloads import ConfigUpdate, MetricDefinition, Preempting, SummaryUpdate
from disttrack.records.secrets import redacted_text
from disttrack.records.types import Join
from disttrack.settings import Settings, load

if TYPE_CHECKING:
    from disttrack.api.redirected import RedirectedConsole

__all__ = ["Run", "attach", "describe", "disabled_run"]

_log = logging.getLogger("disttrack")


class Run(RunHooks, RunFiles):
    """One rank's side of a run: log rows, set config and summary, and finish.

    Every rank of a launch has its own; id, name and group are the run's and shared by all of them. After
    finish(), calls are ignored (and said so once). A forked or spawned child that logs becomes a helper of
    the same rank.
    """

    config: Config
    summary: Summary

    def __init__(self, settings: Settings, join: Join, recorder: Recorder | None, *, enabled: bool = True) -> None:
        super().__init__(settings, join, recorder, enabled=enabled)
        self.config = Config(
            self._store_config,
            self._refuse_config,
            redact=settings.redact_secrets,
            allow_val_change=_may_change_config(settings),
            speaks=self._speaks,
        )
        self.summary = Summary(self._outbox, self._store_summary)
        self._keeper = Keeper(self._recording)
        self._facts: FactFinder | None = None
        self._console: Console | RedirectedConsole | None = None
        self._greeting: Greeting | None = None
        self.exception: str | None = None  # why the process ends, if a hook or `with` saw an exception
        self._stopped = False  # it ends before it is done
        self._alerts = Alerts(self._complain, redact=settings.redact_secrets)

    def observe(self) -> None:
        """Begin to find out what there is to know of this process and its node: once, for a run that init opened."""
        if self._recorder is not None and self._recorder.outbox is not None:
            self._facts = FactFinder(self._recorder, self._settings, self._join)
            if self._recorder.sender is not None and self._speaks() and not self._settings.quiet:
                self._greeting = Greeting(self._recorder.sender.welcomed, self._first_line)
            if self._settings.console == "fd":
                self._redirect()
            self.listen()

    def _redirect(self) -> None:
        """Begin to keep what this process prints in whatever way; where that cannot be, listen as without it."""
        if is_possible():
            from disttrack.api.redirected import RedirectedConsole

            try:
                self._console = RedirectedConsole(self._settings, self._join)
                return
            except (OSError, UnsafeDirectory) as error:
                why = str(error)
        else:
            why = "this system has no sendfile"
        _log.warning("disttrack: console='fd' is not possible here (%s); sys.stdout and sys.stderr are kept", why)
        self._settings = dataclasses.replace(self._settings, console="wrap")

    def listen(self) -> None:
        """Begin to copy what this process prints through sys.stdout and sys.stderr, where that is what is wanted."""
        if self._recorder is not None and self._recorder.outbox is not None and self._settings.console == "wrap":
            redact, cells = self._settings.redact_secrets, cells_of(sys.modules)
            self._console = Console(self._recorder.say, redact=redact, cells=cells)

    def _attach(self) -> None:
        super()._attach()
        self.listen()

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

    def _store_config(self, values: dict[str, Any]) -> None:
        self._say(ConfigUpdate(values=values))

    def _refuse_config(self, why: str) -> None:
        recorder = self._recorder or self._become_helper()
        if recorder is not None:
            recorder.refuse(why, RecordClass.CONFIG)

    def _store_summary(
        self, values: dict[str, Any], removed: tuple[str, ...] = (), problems: list[tuple[str, str]] | None = None
    ) -> None:
        recorder = self._recording()
        if recorder is not None:
            recorder.say(SummaryUpdate(values=values, removed=removed))
            if problems:
                recorder.leave_out(problems)

    def define_metric(
        self,
        name: str,
        step_metric: str | MetricDefinition | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | Sequence[str] | None = None,
        goal: Literal["minimize", "maximize"] | None = None,
        overwrite: bool = False,
    ) -> MetricDefinition | None:
        """Say how a metric is to be read: also of rows that were logged before, by any rank.

        name: may hold `*` anywhere, for any text. step_metric: the metric it is drawn over; step_sync (default): rows
        that lack it get its last value. summary: what is kept besides the last value, of min, max, mean, first, last
        and best, as "min,mean" or a list: scalars such as `loss.min` in the summary. "none" keeps nothing at all.
        goal: which value is the best one. hidden: not for charts. overwrite: forget what was said of that name before;
        else calls add to each other. What cannot be used is left out and said; None where that is the name.
        """
        try:
            definition = checked_definition(
                self._complain, name, step_metric, step_sync, summary, goal, hidden, overwrite
            )
        except Exception as error:  # of an argument's own methods; or strict
            self._complain(f"define_metric() could not be kept ({type(error).__name__}: {error})")
            return None
        if definition is not None:
            self._say(definition)
        return definition

    def alert(
        self, title: str, text: str = "", level: str | None = None, wait_duration: float | timedelta | None = None
    ) -> None:
        """Store something that a person should see soon; `disttrack show` tells the newest.

        level: "INFO", "WARN" or "ERROR" (AlertLevel; default INFO). wait_duration: of alerts with one title, at most
        one is stored in so many seconds (default 60); the next one says how many were left out.
        """
        alert = self._alerts.admitted(title, text, level, wait_duration)
        if alert is not None:
            self._say(alert)

    def mark_preempting(self) -> None:
        """Say that this machine is being taken away: a rank that ends after it is `preempted`, not crashed or failed.

        For a handler of the signal by which a scheduler says so; the record is sent at once.
        """
        self._say(Preempting(time_us=time.time_ns() // 1000))
        if self._recorder is not None and self._recorder.sender is not None:
            self._recorder.sender.hurry()

    def mark_stopped(self, stopped: bool = True) -> None:
        """Say that this rank, if it ends well from now on, ends before it is done: it is `stopped`, not finished.

        For whoever runs it: a scheduler that gives up a trial, or pauses it. A process that goes on with the same run
        later goes on with its attempt, and is no new try.
        """
        self._stopped = stopped

    def status(self) -> Receipt:
        """Return what has become of this rank's records so far; waits for nothing."""
        if self._receipt is not None:
            return self._receipt
        return _receipt_of(self._recorder, whole=False) if self._recorder is not None else Receipt(0, 0, 0, 0)

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> Receipt:
        """End this rank and return what became of its records; other ranks are not waited for.

        Waits until the writer has stored everything, at most Settings.finish_timeout_s; what is left then stays
        in the journal. quiet: say nothing where all are stored (default: the setting). A second call returns the same
        receipt.
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
        if self._console is not None:
            self._console.finish()
        if self._facts is not None:
            self._facts.finish()
        exit_code = exit_code if exit_code is not None else int(why is not None)
        recorder.end(exit_code, why, stopped=self._stopped and not exit_code and why is None)
        self._receipt = self._wait_for_receipt(recorder)
        if self._greeting is not None:
            self._greeting.close()
        if os.environ.get(PARENT) == self._join.journal:
            del os.environ[PARENT]
        self._say_goodbye(self._receipt, exit_code, quiet=self._settings.quiet if quiet is None else quiet)
        return self._receipt

    def _wait_for_receipt(self, recorder: Recorder) -> Receipt:
        sender, whole = recorder.sender, False
        if sender is not None:  # inf is for ever
            whole = sender.finished.wait(min(self._settings.finish_timeout_s, threading.TIMEOUT_MAX))
        receipt = _receipt_of(recorder, whole=whole)
        if sender is not None:
            sender.stop(timeout_s=1.0)
        return receipt

    def _first_line(self) -> str | None:
        """Return the line of the run's beginning; None where another rank says it, as this one knows by now."""
        recorder = self._recorder
        sender = recorder.sender if recorder is not None else None
        welcome = sender.welcome if sender is not None else None
        if welcome is None or not self._speaks():
            return None
        name = self._labels.name or self._join.name or welcome.name
        where, nodes = f"{self.project}/{welcome.run_id}", self._newest_join().nodes or 1
        return begun(where, name, self.world_size, nodes, welcome.attempt, Path(self._join.root))

    def _say_goodbye(self, receipt: Receipt, exit_code: int, *, quiet: bool) -> None:
        """Say in one line what became of the records: of every rank that is not whole, else of the first alone."""
        whole = not (receipt.dropped or receipt.pending or receipt.pending_media or receipt.captured_drops)
        if not whole:
            _log.warning("disttrack: rank %d of %s: %s", self.rank, self._known_id(), receipt)
        elif self._speaks() and not quiet and sys.stderr is not None:
            where, seconds = f"{self.project}/{self._known_id()}", time.time() - self.start_time
            print(ended(where, exit_code, seconds, receipt), file=sys.stderr)

    def _speaks(self) -> bool:
        """Say whether this process says what one of the run is to say: its first rank, none of the helpers."""
        return self.rank == 0 and self._join.role == "rank"

    # Life in a process

    def forked(self) -> None:
        """Let go of everything that is the parent's; called in a forked child."""
        self._joining = threading.RLock()
        self.waiting, self._before_end = {}, []
        if self._recorder is not None:
            self._id = self._known_id()
            self._recorder.abandon()
            self._recorder = self._console = self._facts = self._greeting = None
        self._keeper.forget()

    @property
    def is_helper(self) -> bool:
        """Whether this process logs for the rank of another one."""
        return self._join.role == "helper"

    @property
    def given_id(self) -> str | None:
        """The id that init was given."""
        return self._join.given_id

    def is_ours(self) -> bool:
        """Say whether this run was opened in this process and not finished."""
        return self._receipt is None and self._pid == os.getpid()

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Pickle as the way to this run: whoever unpickles it in another process becomes a helper of this rank."""
        return attach, (self._join.journal,)

    def _repr_html_(self) -> str:
        """Return the run as notebooks show it: what is known now, and small charts of what is stored by all ranks."""
        state = "disabled" if self.disabled else "finished" if self.finished else "running"
        facts = {"state": state, "step": self.step, "rank": f"{self.rank} of {self.world_size}"}
        name = self._labels.name or self._join.name or str(self._known_id())
        place = None if self.disabled else (Path(self._join.root), self.project, self._known_id())
        return str(hook("notebook").run_card(name, place, facts, dict(self.summary)))

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


def _receipt_of(recorder: Recorder, *, whole: bool) -> Receipt:
    """Return what became of the records so far; whole: the writer has them all."""
    outbox, sender = recorder.outbox, recorder.sender
    acked = sender.acked if sender is not None else None  # before the count: what is logged meanwhile is pending
    counts = recorder.counts  # a writer may have asked meanwhile for what was removed
    if outbox is None:
        return Receipt(
            counts.logged, 0, 0, counts.dropped, drops=recorder.drops, captured_drops=recorder.captured_drops
        )
    pending_media = outbox.spool.waiting
    if whole:
        stored = counts.logged - counts.dropped
    else:
        stored = max(0, outbox.counted(acked) - outbox.lost) if acked is not None else 0
        stored = min(stored, counts.logged - counts.dropped)  # another thread may log between two looks
    pending = counts.logged - counts.dropped - stored
    return Receipt(
        counts.logged,
        stored,
        pending,
        counts.dropped,
        drops=recorder.drops,
        pending_media=pending_media,
        captured_drops=recorder.captured_drops,
        journal=str(outbox.directory) if pending or pending_media else None,
    )


def attach(journal: str) -> Run:
    """Return the run whose rank has this journal, for this process to log into as that rank's helper."""
    settings = load()
    helper = helper_recorder(Path(journal), settings)
    if helper is None:
        return disabled_run(settings)
    recorder, join = helper
    run = Run(settings, join, recorder)
    run.listen()
    return run


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
