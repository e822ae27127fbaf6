"""init, and the module-level calls that use the run it opened in this process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from disttrack.api.attach import make_join, make_recorder, project_of
from disttrack.api.config import Config
from disttrack.api.config_forms import chosen_keys, config_dict, default_config
from disttrack.api.hooks import start_hooks
from disttrack.api.process import OpenRuns
from disttrack.api.receipt import Receipt
from disttrack.api.resuming import start_of
from disttrack.api.run import Run, attach, disabled_run
from disttrack.api.summary import Summary
from disttrack.environments.detect import detect
from disttrack.environments.launch import Identity
from disttrack.environments.processes import PARENT, in_notebook, is_helper, parent_journal
from disttrack.environments.statements import statements
from disttrack.errors import NotInitialized, NotLoggedIn, ResumeError, UsageError
from disttrack.journal.stored import newest_join
from disttrack.records.types import Rank, changed
from disttrack.settings import Settings, load, root_of

__all__ = ["config", "current", "finish", "init", "log", "onlooker", "open_run", "opened", "summary"]

_log = logging.getLogger("disttrack")
_runs = OpenRuns()
_ordinals: dict[tuple[str, str | None, str | None], int] = {}
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
    entity: str | None = None,
    reinit: bool | Literal["default", "return_previous", "finish_previous", "create_new"] | None = None,
    resume: bool | Literal["allow", "never", "must", "auto"] | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    force: bool | None = None,
    anonymous: Literal["never", "allow", "must"] | None = None,
    magic: bool | Mapping[str, Any] | str | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    save_code: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
) -> Run:
    """Open this process's side of a run, in every rank or in some; ranks of one launch find each other.

    project: namespace of runs (default: the name of the git repository around, else "uncategorized"). group: label
    over runs; a distributed launch without one gets one. job_type: what this process does. name, notes, tags: for
    people. id: the run's id, for ever unique in its project. entity: who owns the run.
    config: a dict, argparse.Namespace, dataclass, absl flags, or the path of a YAML file; what it lacks is taken from
    config-defaults.yaml of this directory. config_include_keys, config_exclude_keys: which of its keys are meant.
    allow_val_change: let config values change (default in notebooks). dir: where `disttrack-runs` lies. mode: online,
    offline or disabled.
    reinit: what becomes of a run that is open in this process already. return_previous (False, and the default in
    scripts): it is returned as it is. finish_previous (True, and the default in notebooks): it is finished first.
    create_new: both stay open; disttrack.run and the module-level calls keep to the first.
    resume: allow goes on behind the last step of the run that id names, and begins it where there is none; must and
    never raise ResumeError where there is none, or one; auto (True) finds the last run of this project, host and
    directory that did not end with exit code 0. Without it, a run that is there gets a new attempt, which supersedes
    the points of those before it. resume_from="id?_step=n": go on behind that step. fork_from="id?_step=n": a new run,
    which begins with that one's points up to that step. The primary finds that out by a look at the run's directory.
    force: raise NotLoggedIn where there is no server to send to. anonymous: whether a server may be used without a
    login. magic, tensorboard (sync_tensorboard), monitor_gym, save_code: what else to record by itself.
    settings: see Settings; the arguments here win over it.

    Talks to no network and waits for nobody (a look at the run's directory, where id or resume ask for it: 1 s).
    Raises UsageError for an argument that cannot be used (UnknownSetting: a setting that nobody defined; ResumeError: a
    run that cannot be gone on with), RunDeleted for the id of a deleted run, NotLoggedIn.
    """
    arguments = {
        "project": project,
        "group": group,
        "job_type": job_type,
        "name": name,
        "id": id,
        "allow_val_change": allow_val_change,
        "dir": dir,
        "mode": mode,
        "tags": tags,
        "notes": notes,
        "entity": entity,
        "reinit": reinit,
        "resume": resume,
        "resume_from": resume_from,
        "fork_from": fork_from,
        "force": force,
        "anonymous": anonymous,
        "magic": magic,
        "sync_tensorboard": _one_of(tensorboard, sync_tensorboard),
        "monitor_gym": monitor_gym,
        "save_code": save_code,
    }
    return open_run(arguments, config, config_include_keys, config_exclude_keys, settings)


def open_run(
    arguments: Mapping[str, Any],
    config: Any = None,
    config_include_keys: Sequence[str] | None = None,
    config_exclude_keys: Sequence[str] | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    identity: Identity | None = None,
    first_step: int | None = None,
    beside: bool = False,
) -> Run:
    """Do as init. For integrations, who may know more than an environment tells.

    identity: who this process is. first_step: of the first row without a step. beside: it is one of many in a process
    that works for all of them, and not what module-level calls mean.
    """
    chosen = load(settings, arguments)
    given = chosen_keys(config_dict(config), config_include_keys, config_exclude_keys)
    given = {**default_config(chosen.config_paths), **given}
    with _runs.opening:
        previous = _runs.current
        is_open = previous is not None and previous.is_ours()
        reinit_as = chosen.reinit or ("finish_previous" if in_notebook(sys.modules) else "return_previous")
        if beside:
            reinit_as = "create_new"
        if previous is not None and is_open and reinit_as == "return_previous":
            others = {"config": config, "settings": settings, "config_exclude_keys": config_exclude_keys}
            others["config_include_keys"] = config_include_keys
            _say_returned({**arguments, **others})
            return previous
        _look_for_a_server(chosen, arguments.get("mode"))
        if chosen.id is not None:
            _runs.settle(chosen.id)
        if chosen.id is not None and reinit_as == "create_new" and _runs.is_open(chosen.id):
            raise ResumeError(
                f"id={chosen.id!r} cannot be used", "that run is open here", "Finish it, or leave id out."
            )
        if previous is not None and is_open and reinit_as == "finish_previous":
            previous.finish()
        beside = beside or (is_open and reinit_as == "create_new")
        if chosen.mode == "disabled":
            run = disabled_run(chosen)
        else:
            run = _open(chosen, identity, first_step, beside=beside)
        _runs.add(run)
        if not beside:
            _runs.current = run
    if given:
        run.config.update(given)
    if not run.disabled:
        _begin_beside(run, chosen)
    return run


def onlooker(arguments: Mapping[str, Any], identity: Identity) -> Run:
    """Return the run that a launch has, for a process that has something to say of one of its ranks, but is none.

    arguments: of init; that run's own project, group and id count. identity: the rank, and the launch that it is of.
    """
    settings = load(None, arguments)
    if settings.mode == "disabled":
        return disabled_run(settings)
    join = changed(make_join(settings, identity, 0, settings.group), role="helper")
    recorder, join = make_recorder(settings, join)
    run = Run(settings, join, recorder)
    _runs.add(run)
    return run


def _one_of(tensorboard: bool | None, sync_tensorboard: bool | None) -> bool | None:
    """Return what two names of one argument say; raise UsageError where they contradict each other."""
    if None not in (tensorboard, sync_tensorboard) and tensorboard != sync_tensorboard:
        raise UsageError(
            f"tensorboard={tensorboard!r} and sync_tensorboard={sync_tensorboard!r} cannot be used together",
            "they are two names of one argument",
            "Give one of them.",
        )
    return sync_tensorboard if tensorboard is None else tensorboard


def _say_returned(arguments: Mapping[str, Any]) -> None:
    ignored = ", ".join(name for name, value in arguments.items() if value is not None and name != "reinit")
    _say_once(
        "disttrack: a run is open in this process already; init() returns it"
        + (f" and ignores {ignored}" if ignored else "")
        + ". Call finish() before the next, or pass reinit=True (finish it) or reinit='create_new' (beside it)."
    )


def _look_for_a_server(settings: Settings, mode: str | None) -> None:
    """Say in one line that no server is there for what was asked of one; raise NotLoggedIn where that was forced."""
    if settings.mode != "online":
        return
    asked = [f"mode={mode!r}"] if mode is not None and mode != "shared" else []
    if settings.anonymous in ("allow", "must"):
        asked.append(f"anonymous={settings.anonymous!r}")
    if settings.force:
        raise NotLoggedIn(", ".join([*asked, "force=True"]))
    if asked:
        _say_once(
            f"disttrack: no server is configured for {', '.join(asked)}, so runs are recorded in "
            f"{root_of(settings.dir)} only; force=True makes that an error"
        )


def _begin_beside(run: Run, settings: Settings) -> None:
    """Begin what else the arguments ask for."""
    start_hooks(settings, run)
    if settings.save_code and run.rank == 0:
        run.keep_program()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        _log.warning("%s", text)


def _tell_what_is_not_heeded(rank: Rank) -> None:
    """Say once which launcher's variables make no sense, and who this process is without them."""
    for statement in statements(os.environ):
        if statement.trouble is not None and statement.variables[0] in os.environ:
            place = f"rank {rank.rank} of {rank.world_size}, from {rank.source}"
            _say_once(f"disttrack: {statement.source} is not heeded ({statement.trouble}): this process is {place}")


def _open(settings: Settings, known: Identity | None, first_step: int | None, *, beside: bool) -> Run:
    """Open a run; beside: another one that children of this process belong to."""
    parent = parent_journal(os.environ)
    if parent is not None and not beside and is_helper(sys.modules):
        return attach(str(parent))
    identity = known or detect(os.environ, sys.modules, settings)
    if known is None:
        _tell_what_is_not_heeded(identity.rank)
    group = settings.group
    if group is None and parent is not None and not beside and (family := newest_join(parent)) is not None:
        group = family.group  # a child's own run stands beside its parent's
    start = start_of(settings, identity, project_of(settings))
    key = (settings.project or "", group, settings.id)
    ordinal = _ordinals.get(key, 0)
    _ordinals[key] = ordinal + 1
    recorder, join = make_recorder(start.settings, make_join(start.settings, identity, ordinal, group, start))
    begin = start.step if first_step is None else first_step
    if begin is not None:
        recorder.begin_at(begin)
    if join.journal and not beside:
        os.environ[PARENT] = join.journal
    run = Run(start.settings, join, recorder)
    run.observe()
    return run


def current() -> Run | None:
    """Return the run of this process: the one that is open, or the last one that was."""
    return _runs.current


def opened(call: str) -> Run:
    """Return the current run; a child of a process with an open run gets to be its helper.

    call: what needs it, as the user wrote it. Raises NotInitialized where there is none.
    """
    if _runs.current is None:
        with _runs.opening:
            if _runs.current is None:
                parent = parent_journal(os.environ)
                if parent is None:
                    raise NotInitialized(call)
                _runs.current = attach(str(parent))
                _runs.add(_runs.current)
    return _runs.current


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log a row into the current run; see Run.log. Raises NotInitialized before init."""
    opened("log()").log(data, step, commit)


def config() -> Config:
    """Return the current run's config."""
    return opened("config").config


def summary() -> Summary:
    """Return the current run's summary."""
    return opened("summary").summary


def finish(exit_code: int | None = None, quiet: bool | None = None) -> Receipt | None:
    """Finish the current run; see Run.finish. None where there is none."""
    return _runs.current.finish(exit_code, quiet) if _runs.current is not None else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_runs.forked)
