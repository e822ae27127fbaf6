"""What each setting may be: checks of values whose names are known; each raises UsageError for what cannot be used."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from disttrack.errors import UsageError

__all__ = ["MAX_PROJECT", "MODES", "PROJECT_FORBIDDEN", "Moment", "check_tags", "checked", "moment"]

MAX_PROJECT = 128
MAGIC = ("step_time", "loss", "lr", "grad_norm", "throughput")  # what magic records; see integrations.magic
MAX_MAGIC_CHARACTERS = 1 << 20
PROJECT_FORBIDDEN = "/\\#?%:"
ID_FORBIDDEN = ":;,#?/'"
MAX_STEP_DIGITS = 18  # of a step that fits into 64 bits whatever it is

MODES = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "dryrun": "offline",
    "run": "online",
    "shared": "online",  # wandb's for many processes in one run, as it is here anyway
}
_CHOICES: dict[str, dict[Any, Any]] = {
    "mode": MODES,
    "console": {name: name for name in ("wrap", "fd", "off")},
    "anonymous": {name: name for name in ("never", "allow", "must")},
    "resume": {name: name for name in ("allow", "never", "must", "auto")} | {True: "auto", False: None},
    "reinit": {name: name for name in ("return_previous", "finish_previous", "create_new")}
    | {"default": None, True: "finish_previous", False: "return_previous"},
}


class Moment(NamedTuple):
    """A step of a run, which another one goes on from."""

    run_id: str
    step: int


def moment(name: str, text: str) -> Moment:
    """Return what a setting says as `id?_step=n`; raise UsageError where it says nothing of the kind."""
    run_id, mark, step = text.rpartition("?_step=")
    if not mark or not run_id or not step.isdecimal() or not step.isascii() or len(step) > MAX_STEP_DIGITS:
        raise UsageError(f"{name}={text!r:.80} cannot be used", "it is not `id?_step=n`", "Name a run and a step.")
    return Moment(_check_text("id", run_id), int(step))


def checked(name: str, value: Any) -> Any:
    """Return a setting's value as it is kept; a value of a plain type has the type of its setting already."""
    if name == "tags":
        return check_tags(value) if value is not None else None
    if name == "config_paths":
        return _check_paths(value) if value is not None else None
    if name == "magic":
        return _check_magic(value)
    if name in _CHOICES and value is not None:
        return _check_choice(name, value)
    return _check_text(name, value) if isinstance(value, str) else _check_number(name, value)


def _check_choice(name: str, value: Any) -> Any:
    choices = _CHOICES[name]
    if value not in choices:
        shown = ", ".join(str(choice) for choice in choices)
        raise UsageError(f"{name}={value!r:.80} cannot be used", f"there is no such {name}", f"Use one of {shown}.")
    return choices[value]


def _check_number(name: str, value: Any) -> Any:
    if (
        name in ("rank", "local_rank", "world_size", "finish_timeout_s", "journal_quota_bytes", "system_interval_s")
        and value is not None
        and not value >= 0
    ):
        raise UsageError(f"{name}={value!r} cannot be used", "it is negative or no number", "Pass zero or more.")
    return value


def _check_text(name: str, value: str) -> str:
    mend = "Choose another name; any script, blanks inside and up to 128 characters are fine."
    if name in ("resume_from", "fork_from"):
        moment(name, value)
    elif name in ("project", "entity"):
        if len(value) > MAX_PROJECT:
            raise UsageError(
                f"{name}={value[:20] + '...'!r} cannot be used",
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


def check_tags(value: Any) -> tuple[str, ...]:
    """Return tags as a tuple, each once; a str is one tag. Raises UsageError for what cannot be a tag."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Sequence) and not isinstance(value, set | frozenset):
        raise UsageError(
            f"tags={value!r:.80} cannot be used", f"its type is {type(value).__name__}", "Pass a list of str."
        )
    tags = tuple(cast("Sequence[Any]", value))
    for tag in tags:
        if not isinstance(tag, str) or not tag:
            raise UsageError(f"The tag {tag!r:.80} cannot be used", "each tag must be a non-empty str", "Use str(tag).")
        _check_storable(f"The tag {tag!r:.80} cannot be used", tag)
    return tuple(dict.fromkeys(tags))


def _check_paths(value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    paths: list[Any] = list(cast("Sequence[Any]", value)) if is_list else [value]
    found = [_path(path) for path in paths]
    if None in found:
        raise UsageError(
            f"config_paths={value!r:.80} cannot be used", "it is no list of paths", "Pass the paths of YAML files."
        )
    return tuple(path for path in found if path is not None)


def _path(value: Any) -> str | None:
    return str(os.fspath(cast("str | os.PathLike[str]", value))) if isinstance(value, str | os.PathLike) else None


def _check_magic(value: Any) -> dict[str, Any] | bool | None:
    """Return what magic is to record: all (True), nothing, or what a dict, JSON text or YAML file of it says."""
    shown = f"magic={value!r:.80} cannot be used"
    mend = "Pass True, False, a dict, JSON text, or the path of a YAML file."
    found = value
    text = _path(value)
    if text is not None:
        try:
            if text.lstrip().startswith("{"):
                import json

                found = json.loads(text)
            else:
                import yaml  # only where a file is to be read

                with open(text, encoding="utf-8") as file:
                    found = yaml.safe_load(file.read(MAX_MAGIC_CHARACTERS))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(shown, str(error), mend) from error
        except Exception as error:  # yaml.YAMLError, which has no name where yaml is not loaded
            raise UsageError(shown, f"it is no YAML ({error})", mend) from error
    if found is None or isinstance(found, bool):
        return found
    if not isinstance(found, Mapping):
        raise UsageError(shown, f"it is a {type(found).__name__}", mend)
    return {str(key): _magic_item(shown, str(key), item) for key, item in cast("Mapping[Any, Any]", found).items()}


def _magic_item(shown: str, key: str, item: Any) -> bool | int:
    if key == "every":
        if isinstance(item, bool) or not isinstance(item, int) or item < 1:
            raise UsageError(shown, f"every={item!r:.40} is no whole number of 1 or more", "Pass a number of steps.")
        return item
    if key not in MAGIC:
        raise UsageError(shown, f"there is no {key!r:.40}", f"Use {', '.join(MAGIC)} and every.")
    if not isinstance(item, bool):
        raise UsageError(shown, f"{key}={item!r:.40} is neither true nor false", "Pass one of them.")
    return item
