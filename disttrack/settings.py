"""Every setting there is, and where each value comes from.

Low to high: ~/.config/disttrack/settings.toml < ./disttrack.toml < environment (DISTTRACK_<SETTING>)
< init(settings=) < arguments of init. Wrong names and types are refused here, before anything starts.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from disttrack.errors import UnknownSetting, UsageError

__all__ = ["MODES", "PREFIX", "ROOT_NAME", "Given", "Settings", "given_outside", "load", "root_of"]

ROOT_NAME = "disttrack-runs"  # with a hyphen: a data directory must never be importable as the package
PREFIX = "DISTTRACK_"
MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "dryrun": "offline", "run": "online"}
MAX_PROJECT = 128
MAX_TOML_BYTES = 1 << 20
PROJECT_FORBIDDEN = "/\\#?%:"
ID_FORBIDDEN = ":;,#?/'"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What init can be told. None means: find out, or use the default named.

    project: namespace of runs (default "uncategorized"). group, job_type, name, notes, tags, id: labels of the run.
    allow_val_change: let config values change (default in a notebook, where cells run again, else not).
    config_paths: YAML files of config defaults, below config-defaults.yaml and init(config=).
    dir: where `disttrack-runs` lies (default the current directory).
    mode: online, offline or disabled (nothing is written). dryrun means offline, run means online.
    rank, world_size, local_rank: this process's place, where detection should not decide.
    job_type_template: how a rank's own job type is made in a distributed launch, from {rank} and {job_type}.
    strict: raise from log() instead of warning.
    finish_timeout_s: how long finish() waits for the writer before it leaves the rest in the journal.
    quiet: say nothing at the end of a run all of whose records are stored.
    journal_quota_bytes: how much all journals of a node may take (default 2 GiB; in memory, a tmpfs, 256 MiB).
    redact_secrets: keep out of the store what looks like a secret in a config. shared: let the group write, too, in a
    root that this process makes.
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
    runtime_dir: str | None = None
    journal_dir: str | None = None
    cache_dir: str | None = None


_TYPES = typing.get_type_hints(Settings)
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
    return Settings(**values)


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
    variables = {name: PREFIX + name.upper() for name in _NAMES if environ.get(PREFIX + name.upper())}
    return found | {name: Given(_from_text(name, environ[source]), source) for name, source in variables.items()}


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


def _from_text(name: str, text: str) -> Any:
    """Return the value an environment variable means."""
    kind = _kinds(name)
    source = PREFIX + name.upper()
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
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
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
    if name == "tags":
        return _check_tags(value)
    if name == "config_paths":
        return _check_paths(value)
    if name == "dir" and isinstance(value, os.PathLike):
        value = os.fspath(typing.cast("os.PathLike[str]", value))
    if isinstance(value, int) and not isinstance(value, bool) and float in _kinds(name):
        value = float(value)
    if type(value) not in _kinds(name) and not (value is None and type(None) in _kinds(name)):
        if not (isinstance(value, str) and str in _kinds(name)):
            wanted = " or ".join(sorted(kind.__name__ for kind in _kinds(name) if kind is not type(None)))
            raise UsageError(
                f"{name}={value!r:.80} cannot be used (from {source})",
                f"its type is {type(value).__name__}",
                f"Pass a value of type {wanted}.",
            )
    return _check_text(name, value) if isinstance(value, str) else _check_number(name, value)


def _check_number(name: str, value: Any) -> Any:
    if (
        name in ("rank", "local_rank", "world_size", "finish_timeout_s", "journal_quota_bytes")
        and value is not None
        and not value >= 0
    ):
        raise UsageError(f"{name}={value!r} cannot be used", "it is negative or no number", "Pass zero or more.")
    return value


def _check_text(name: str, value: str) -> str:
    mend = "Choose another name; any script, blanks inside and up to 128 characters are fine."
    if name == "mode":
        if value not in MODES:
            raise UsageError(
                f"mode={value!r} cannot be used", "there is no such mode", f"Use one of {', '.join(MODES)}."
            )
        return MODES[value]
    if name == "project":
        if len(value) > MAX_PROJECT:
            raise UsageError(
                f"project={value[:20] + '...'!r} cannot be used",
                f"it has {len(value)} characters, more than {MAX_PROJECT}",
                "Shorten it; notes= takes long text.",
            )
        _check_characters(name, value, PROJECT_FORBIDDEN, mend)
    elif name == "id":
        _check_characters(name, value, ID_FORBIDDEN, "Use letters, digits, - and _, or leave id out to get one.")
    elif name in ("group", "job_type"):
        _check_characters(name, value, "", mend)
    _check_storable(f"{name}={value!r:.80} cannot be used", value)
    return value


def _check_storable(shown: str, value: str) -> None:
    if "\0" in value:
        raise UsageError(shown, "it contains a NUL character", "Leave it out.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(shown, "it contains half a character (a lone surrogate)", "Leave it out.") from None


def _check_characters(name: str, value: str, forbidden: str, mend: str) -> None:
    shown = f"{name}={value!r:.80} cannot be used"
    if not value:
        raise UsageError(shown, "it is empty", mend)
    if value != value.strip():
        raise UsageError(shown, "it begins or ends with a blank", f"Use {value.strip()!r}.")
    for character in value:
        if character in forbidden:
            raise UsageError(shown, f"it contains {character!r}", mend)
        if unicodedata.category(character) in ("Cc", "Cs"):  # not Cf: joiners belong to many scripts and to emoji
            raise UsageError(shown, f"it contains the control character {character!r}", "Leave it out.")


def _check_tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Sequence) and not isinstance(value, set | frozenset):
        raise UsageError(
            f"tags={value!r:.80} cannot be used", f"its type is {type(value).__name__}", "Pass a list of str."
        )
    tags = tuple(typing.cast("Sequence[Any]", value))
    for tag in tags:
        if not isinstance(tag, str) or not tag:
            raise UsageError(f"The tag {tag!r:.80} cannot be used", "each tag must be a non-empty str", "Use str(tag).")
        _check_storable(f"The tag {tag!r:.80} cannot be used", tag)
    return tuple(dict.fromkeys(tags))


def _check_paths(value: Any) -> tuple[str, ...]:
    several = isinstance(value, Sequence) and not isinstance(value, str)
    paths = list(typing.cast("Sequence[Any]", value)) if several else [value]
    if not all(isinstance(path, str | os.PathLike) for path in paths):
        raise UsageError(
            f"config_paths={value!r:.80} cannot be used", "it is no list of paths", "Pass the paths of YAML files."
        )
    return tuple(str(os.fspath(path)) for path in paths)
