"""Run: what init returns, one rank's side of a run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from disttrack.api.alerts import Alerts
from disttrack.api.attach import helper_recorder, make_join
from disttrack.api.banner import begun
from disttrack.api.config import Config
from disttrack.api.hooks import hook
from disttrack.api.keeping import Keeper
from disttrack.api.metrics import checked_definition
from disttrack.api.observers import Observers
from disttrack.api.recorder import Recorder
from disttrack.api.run_end import RunEnd
from disttrack.api.run_files import RunFiles
from disttrack.api.summary import Summary
from disttrack.environments.detect import single
from disttrack.environments.processes import in_notebook
from disttrack.records.classes import RecordClass
from disttrack.records.payloads import ConfigUpdate, MetricDefinition, Preempting, SummaryUpdate
from disttrack.records.types import Join
from disttrack.settings import Settings, load

__all__ = ["Run", "attach", "disabled_run"]


class Run(RunEnd, RunFiles):
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
        self._observers = Observers(settings)
        self._alerts = Alerts(self._complain, redact=settings.redact_secrets)

    def observe(self) -> None:
        """Begin to find out what there is to know of this process and its node: once, for a run that init opened."""
        if self._recorder is not None:
            greets = self._speaks() and not self._settings.quiet
            self._observers.begin(self._recorder, self._join, self._first_line if greets else None)
            self._settings = self._observers.settings

    def listen(self) -> None:
        """Begin to copy what this process prints through sys.stdout and sys.stderr, where that is what is wanted."""
        if self._recorder is not None:
            self._observers.listen(self._recorder)

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

    # Life in a process

    def forked(self) -> None:
        """Let go of everything that is the parent's; called in a forked child."""
        self._joining, self._ending = threading.RLock(), threading.RLock()
        self.waiting, self._before_end = {}, []
        if self._recorder is not None:
            self._id = self._known_id()
            self._recorder.abandon()
            self._recorder = None
            self._observers.forget()
        self._keeper.forget()

    @property
    def is_helper(self) -> bool:
        """Whether this process logs for the rank of another one."""
        return self._join.role == "helper"

    @property
    def given_id(self) -> str | None:
        """The id that init was given."""
        return self._join.given_id

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
    run = Run(settings, join, recorder)
    run.listen()
    return run


def disabled_run(settings: Settings) -> Run:
    """Return a run that writes nothing."""
    return Run(settings, make_join(settings, single(settled=True), 0, settings.group), None, enabled=False)


def _may_change_config(settings: Settings) -> bool:
    return in_notebook(sys.modules) if settings.allow_val_change is None else settings.allow_val_change
