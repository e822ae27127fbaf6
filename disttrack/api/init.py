"""init, and the module-level calls that use the run it opened in this process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from disttrack.api.attach import make_join, make_recorder
from disttrack.api.config import Config
from disttrack.api.config_forms import chosen_keys, config_dict, default_config
from disttrack.api.receipt import Receipt
from disttrack.api.run import Run, attach, describe, disabled_run
from disttrack.api.summary import Summary
from disttrack.environments.detect import detect
from disttrack.environments.processes import PARENT, is_helper, parent_journal
from disttrack.errors import NotInitialized
from disttrack.journal.stored import newest_join
from disttrack.settings import Settings, load

__all__ = ["config", "current", "finish", "init", "log", "summary"]

_log = logging.getLogger("disttrack")
_current: Run | None = None
_ordinals: dict[tuple[str, str | None, str | None], int] = {}
_hooked = False
_opening = threading.RLock()  # one thread at a time opens or joins a run; re-made in a forked child
_said: set[str] = set()


def init(
    project: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    name: str | None = None,
    id: str | None = None,
    config: Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    dir: str | os.PathLike[str] | None = None,
    mode: str | None = None,
    tags: Sequence[str] | str | None = None,
    notes: str | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
) -> Run:
    """Open this process's side of a run, in every rank or in some; ranks of one launch find each other.

    project: namespace of runs. group: label over runs; a distributed launch without one gets one. job_type: what
    this process does. name, notes, tags: for people. id: the run's id, for ever unique in its project.
    config: a dict, argparse.Namespace, dataclass, absl flags, or the path of a YAML file; what it lacks is taken from
    config-defaults.yaml of this directory. config_include_keys, config_exclude_keys: which of its keys are meant.
    allow_val_change: let config values change (default in notebooks). dir: where `disttrack-runs` lies. mode: online,
    offline or disabled. settings: see Settings; the arguments here win over it.

    Talks to no network and waits for nobody. A run that is open in this process already is returned as it is.
    Raises UsageError for an argument that cannot be used, UnknownSetting for a setting that nobody defined.
    """
    global _current
    arguments = {
        "project": project,
        "group": group,
        "job_type": job_type,
        "name": name,
        "id": id,
        "dir": dir,
        "mode": mode,
        "tags": tags,
        "notes": notes,
        "allow_val_change": allow_val_change,
    }
    chosen = load(settings, arguments)
    given = chosen_keys(config_dict(config), config_include_keys, config_exclude_keys)
    given = {**default_config(chosen.config_paths), **given}
    with _opening:
        if _current is not None and _current.is_ours():
            _say_once(
                "disttrack: a run is open in this process already; init() returns it. Call finish() before the next."
            )
            return _current
        _current = disabled_run(chosen) if chosen.mode == "disabled" else _open(chosen)
    if given:
        _current.config.update(given)
    return _current


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        _log.warning("%s", text)


def _open(settings: Settings) -> Run:
    parent = parent_journal(os.environ)
    if parent is not None and is_helper(sys.modules):
        return attach(str(parent))
    identity = detect(os.environ, sys.modules, settings)
    group = settings.group
    if group is None and parent is not None and (family := newest_join(parent)) is not None:
        group = family.group  # a child's own run stands beside its parent's
    key = (settings.project or "", group, settings.id)
    ordinal = _ordinals.get(key, 0)
    _ordinals[key] = ordinal + 1
    recorder, join = make_recorder(settings, make_join(settings, identity, ordinal, group))
    if join.journal:
        os.environ[PARENT] = join.journal
    _install_hooks()
    return Run(settings, join, recorder)


def current() -> Run | None:
    """Return the run of this process: the one that is open, or the last one that was."""
    return _current


def _require(call: str) -> Run:
    """Return the current run; a child of a process with an open run gets to be its helper."""
    global _current
    if _current is None:
        with _opening:
            if _current is None:
                parent = parent_journal(os.environ)
                if parent is None:
                    raise NotInitialized(call)
                _current = attach(str(parent))
                _install_hooks()
    return _current


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log a row into the current run; see Run.log. Raises NotInitialized before init."""
    _require("log()").log(data, step, commit)


def config() -> Config:
    """Return the current run's config."""
    return _require("config").config


def summary() -> Summary:
    """Return the current run's summary."""
    return _require("summary").summary


def finish(exit_code: int | None = None) -> Receipt | None:
    """Finish the current run; see Run.finish. None where there is none."""
    return _current.finish(exit_code) if _current is not None else None


# How the process ends


def _install_hooks() -> None:
    """Learn how this process ends, without any signal handler: uncaught exceptions, sys.exit codes, plain ends."""
    global _hooked
    if _hooked:
        return
    _hooked = True
    exit_code: int | None = None
    before_hook, before_exit = sys.excepthook, sys.exit

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if _current is not None:
            _current.exception = describe(error)
        before_hook(kind, error, traceback)

    def noted_exit(code: Any = None, /) -> Any:
        nonlocal exit_code
        if threading.current_thread() is threading.main_thread():  # elsewhere it ends that thread only
            exit_code = code if isinstance(code, int) else int(code is not None)
        before_exit(code)

    def at_exit() -> None:
        if _current is not None and _current.is_ours():
            _current.finish(exit_code or None)

    sys.excepthook, sys.exit = excepthook, noted_exit
    atexit.register(at_exit)


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.RLock()
    if _current is not None:
        _current.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
