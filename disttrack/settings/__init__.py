"""Every setting there is, and where each value comes from.

Low to high: ~/.config/disttrack/settings.toml < ./disttrack.toml < environment (DISTTRACK_<SETTING>, and where that is
not set wandb's variable of the same meaning) < init(settings=) < arguments of init. Wrong names and types are refused
here, before anything starts.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from disttrack.errors import UnknownSetting, UsageError
from disttrack.settings.checks import MODES, Moment, check_tags, checked, moment

__all__ = [
    "MODES",
    "PREFIX",
    "ROOT_NAME",
    "WANDB_VARIABLES",
    "Given",
    "Moment",
    "Settings",
    "check_tags",
    "given_outside",
    "load",
    "moment",
    "root_of",
]

ROOT_NAME = "disttrack-runs"  # with a hyphen: a data directory must never be importable as the package
PREFIX = "DISTTRACK_"
WANDB_VARIABLES = {
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "group": "WANDB_RUN_GROUP",
    "job_type": "WANDB_JOB_TYPE",
    "name": "WANDB_NAME",
    "id": "WANDB_RUN_ID",
    "notes": "WANDB_NOTES",
    "tags": "WANDB_TAGS",
    "config_paths": "WANDB_CONFIG_PATHS",
    "dir": "WANDB_DIR",
    "mode": "WANDB_MODE",
    "resume": "WANDB_RESUME",
    "resume_from": "WANDB_RESUME_FROM",
    "fork_from": "WANDB_FORK_FROM",
    "reinit": "WANDB_REINIT",
    "anonymous": "WANDB_ANONYMOUS",
    "magic": "WANDB_MAGIC",
    "save_code": "WANDB_SAVE_CODE",
    "quiet": "WANDB_SILENT",
}
"""Read where DISTTRACK_<SETTING> is not set. No key, host or login of wandb is ever looked at."""
MAX_TOML_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What init can be told. None means: find out, or use the default named.

    project: namespace of runs (default: the git repository's name, else "uncategorized").
    group, job_type, name, notes, tags, id: labels of the run.
    allow_val_change: let config values change (default in a notebook, where cells run again, else not).
    config_paths: YAML files of config defaults, below config-defaults.yaml and init(config=).
    entity: who owns the run, a label until there is a server. anonymous: whether a server may be used without a login.
    force: raise NotLoggedIn where there is no server to send to.
    reinit: what a second init in a process does: return_previous (default), finish_previous (default in a notebook) or
    create_new. resume: whether id names a run to go on with: allow, must, never, or auto (the last that failed here).
    resume_from, fork_from: `id?_step=n`, to go on with a run behind that step, or with a new run beside it.
    magic, save_code, monitor_gym, sync_tensorboard: what else is to be recorded by itself.
    dir: where `disttrack-runs` lies (default the current directory).
    mode: online, offline or disabled (nothing is written). dryrun means offline, run means online.
    rank, world_size, local_rank: this process's place, where detection should not decide.
    job_type_template: how a rank's own job type is made in a distributed launch, from {rank} and {job_type}.
    strict: raise from log() instead of warning.
    finish_timeout_s: how long finish() waits for the writer before it leaves the rest in the journal.
    quiet: say nothing at the beginning of a run, nor at the end of one all of whose records are stored.
    journal_quota_bytes: how much all journals of a node may take (default 2 GiB; in memory, a tmpfs, 256 MiB).
    redact_secrets: keep out of the store what looks like a secret in a config. shared: let the group write, too, in a
    root that this process makes.
    console: what is printed is kept, too: "wrap" (sys.stdout and sys.stderr), "fd" (also what C
    and children print: descriptors 1 and 2 lead into a file that a process beside this one copies on), or "off".
    system_interval_s: how often each node is sampled (processors, memory, disks, network, devices); 0 for never.
    runtime_dir: where processes of this host meet (short: socket paths end at 107 bytes).
    journal_dir: where journals lie (node-local). cache_dir: where an index lies that cannot lie in its root.
    """

    project: str | None = None
    group: str | None = None
    job_type: str | None = None
    name: str | None = None
    id: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] | None = None
    allow_val_change: bool | None = None
    config_paths: tuple[str, ...] | None = None
    entity: str | None = None
    anonymous: Literal["never", "allow", "must"] | None = None
    force: bool = False
    reinit: Literal["return_previous", "finish_previous", "create_new"] | bool | None = None
    resume: Literal["allow", "never", "must", "auto"] | bool | None = None
    resume_from: str | None = None
    fork_from: str | None = None
    magic: Mapping[str, Any] | bool | str | None = None
    save_code: bool = False
    monitor_gym: bool = False
    sync_tensorboard: bool = False
    dir: str | None = None
    mode: Literal["online", "offline", "disabled"] = "online"
    rank: int | None = None
    world_size: int | None = None
    local_rank: int | None = None
    job_type_template: str | None = None
    strict: bool = False
    finish_timeout_s: float = 60.0
    quiet: bool = False
    journal_quota_bytes: int | None = None
    redact_secrets: bool = True
    shared: bool = False
    console: Literal["wrap", "fd", "off"] = "wrap"
    system_interval_s: float = 15.0
    runtime_dir: str | None = None
    journal_dir: str | None = None
    cache_dir: str | None = None


_TYPES = typing.get_type_hints(Settings)
_OF_ANY_TYPE = ("tags", "config_paths", "magic")  # settings.checks says which types they may have
_NAMES = [field.name for field in dataclasses.fields(Settings)]


def load(
    given: Settings | Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings in force; raise UsageError or UnknownSetting for a value or name that cannot be used.

    arguments: those of init; None counts as not given.
    """
    environ = os.environ if environ is None else environ
    values = {name: found.value for name, found in given_outside(environ).items()}
    if isinstance(given, Settings):
        defaults = Settings()
        changed = {name: getattr(given, name) for name in _NAMES if getattr(given, name) != getattr(defaults, name)}
        values |= _checked(changed, "settings=")
    elif isinstance(given, Mapping):
        values |= _checked(given, "settings=")
    elif given is not None:
        raise UsageError("settings= cannot be used", f"it is a {type(given).__name__}", "Pass a Settings or a dict.")
    values |= _checked({name: value for name, value in (arguments or {}).items() if value is not None}, "init()")
    return _fitting(Settings(**values))


def _fitting(settings: Settings) -> Settings:
    """Return settings; raise UsageError for those that contradict each other."""
    named = [name for name in ("resume", "resume_from", "fork_from") if getattr(settings, name) is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} cannot be used together", "each says where a run begins", "Give one.")
    if settings.resume_from is not None:
        begun = moment("resume_from", settings.resume_from)
        if settings.id not in (None, begun.run_id):
            raise UsageError(
                f"resume_from={settings.resume_from!r:.80} cannot be used",
                f"it names another run than id={settings.id!r:.80}",
                "Leave id out, or use fork_from for a new run.",
            )
        return dataclasses.replace(settings, id=begun.run_id)
    if settings.fork_from is not None and settings.id == moment("fork_from", settings.fork_from).run_id:
        raise UsageError(
            f"fork_from={settings.fork_from!r:.80} cannot be used",
            "a run cannot be its own fork",
            "Leave id out, or use resume_from to go on with that run.",
        )
    return settings


class Given(typing.NamedTuple):
    """A setting's value, and the file or variable that gives it."""

    value: Any
    source: str


def given_outside(environ: Mapping[str, str] | None = None) -> dict[str, Given]:
    """Return the settings that files and the environment give, as they are in force; raise as load does."""
    environ = os.environ if environ is None else environ
    found: dict[str, Given] = {}
    for path in (_config_home(environ) / "disttrack" / "settings.toml", Path("disttrack.toml")):
        found |= {name: Given(value, str(path)) for name, value in _checked(_read_toml(path), str(path)).items()}
    for name in _NAMES:
        ours, theirs = PREFIX + name.upper(), WANDB_VARIABLES.get(name, "")
        source = ours if environ.get(ours) else theirs
        if environ.get(source):
            found[name] = Given(_from_text(name, environ[source], source), source)
    return found


def root_of(dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the root directory of runs below dir (default: the settings' dir, else the current directory)."""
    return Path(os.path.abspath(dir or load().dir or ".")) / ROOT_NAME


def _config_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # a pipe would never end
            return {}
        with path.open("rb") as file:
            text = file.read(MAX_TOML_BYTES + 1)
    except OSError:
        return {}
    import tomllib

    try:
        if len(text) > MAX_TOML_BYTES:
            raise ValueError(f"it is longer than {MAX_TOML_BYTES:,} bytes")
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # no TOML, or not UTF-8
        raise UsageError(f"{path} cannot be read", str(error), "Mend the file, or remove it.") from error


def _from_text(name: str, text: str, source: str) -> Any:
    """Return the value an environment variable means."""
    kind = _kinds(name)
    if int in kind or float in kind:
        try:
            number = int(text) if int in kind else float(text)
        except ValueError:
            raise UsageError(
                f"{source} cannot be used", f"{text!r:.80} is not a number", "Set a number, or unset it."
            ) from None
        return _check(name, number, source)
    if bool in kind:
        if text.lower() in ("1", "true", "yes", "on"):
            return _check(name, True, source)
        if text.lower() in ("0", "false", "no", "off"):
            return _check(name, False, source)
        if str in kind:
            return _check(name, text, source)
        raise UsageError(f"{source} cannot be used", f"{text!r} is neither true nor false", "Set it to true or false.")
    if tuple in kind:
        return _check(name, tuple(part.strip() for part in text.split(",") if part.strip()), source)
    return _check(name, text, source)


def _kinds(name: str) -> set[type]:
    """Return the plain types a setting may have."""
    hint = _TYPES[name]
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return {str if typing.get_origin(part) is Literal else typing.get_origin(part) or part for part in parts}


def _checked(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    return {name: _check(name, value, source) for name, value in values.items()}


def _check(name: str, value: Any, source: str) -> Any:
    """Return the value in its setting's type; raise what is wrong with it."""
    if name not in _NAMES:
        import difflib

        raise UnknownSetting(name, source, difflib.get_close_matches(name, _NAMES, n=3))
    if name == "dir" and isinstance(value, os.PathLike):
        value = os.fspath(typing.cast("os.PathLike[str]", value))
    if isinstance(value, int) and not isinstance(value, bool) and float in _kinds(name):
        value = float(value)
    if (
        name not in _OF_ANY_TYPE
        and type(value) not in _kinds(name)
        and not (value is None and type(None) in _kinds(name))
    ):
        if not (isinstance(value, str) and str in _kinds(name)):
            wanted = " or ".join(sorted(kind.__name__ for kind in _kinds(name) if kind is not type(None)))
            raise UsageError(
                f"{name}={value!r:.80} cannot be used (from {source})",
                f"its type is {type(value).__name__}",
                f"Pass a value of type {wanted}.",
            )
    return checked(name, value)
