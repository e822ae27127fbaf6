"""The forms a config may be given in: a mapping, an object with fields, absl flags, a YAML file; all become a dict."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from disttrack.errors import UsageError
from disttrack.records.values import text

__all__ = ["DEFAULTS_FILE", "chosen_keys", "config_dict", "default_config"]

DEFAULTS_FILE = "config-defaults.yaml"
MAX_YAML_BYTES = 16 << 20
MEND = "Pass a dict, an argparse.Namespace, a dataclass, absl flags, or the path of a YAML file."


def config_dict(values: Any) -> dict[str, Any]:
    """Return what was given as config as a dict; raise UsageError where it is none."""
    if values is None:
        return {}
    given = _fields(values)
    if given is None:
        raise UsageError(f"config={values!r:.80} cannot be used", f"its type is {type(values).__name__}", MEND)
    return {text(str(key)): value for key, value in given.items()}


def default_config(paths: Sequence[str] | None) -> dict[str, Any]:
    """Return what the YAML files at these paths hold, and over it what config-defaults.yaml of this directory does."""
    found: dict[str, Any] = {}
    for path in paths or ():
        found |= config_dict(Path(path))
    return found | (config_dict(Path(DEFAULTS_FILE)) if os.path.isfile(DEFAULTS_FILE) else {})


def chosen_keys(values: dict[str, Any], include: Any, exclude: Any) -> dict[str, Any]:
    """Return the keys to include, or all but those to exclude; raise UsageError where both are given."""
    if include is not None and exclude is not None:
        raise UsageError(
            "config_include_keys and config_exclude_keys cannot be used together",
            "a key that neither of them names would be both left out and kept",
            "Give one of them.",
        )
    if include is not None:
        wanted = _keys("config_include_keys", include)
        return {key: value for key, value in values.items() if key in wanted}
    unwanted = _keys("config_exclude_keys", exclude) if exclude is not None else ()
    return {key: value for key, value in values.items() if key not in unwanted}


def _keys(argument: str, given: Any) -> set[str]:
    if isinstance(given, str):
        return {given}
    if isinstance(given, Iterable):
        keys = list(cast("Iterable[Any]", given))
        if all(isinstance(key, str) for key in keys):
            return set(keys)
    raise UsageError(f"{argument}={given!r:.80} cannot be used", "it is no list of str", "Pass a list of keys.")


def _fields(values: Any) -> dict[Any, Any] | None:
    """Return the names and values in anything that has some; None where it has none."""
    if isinstance(values, Mapping):
        return dict(cast("Mapping[Any, Any]", values))
    if isinstance(values, str | os.PathLike):
        return _from_yaml(os.fspath(cast("str | os.PathLike[str]", values)))
    if isinstance(values, ModuleType):  # `config=flags` where `config=flags.FLAGS` was meant
        return _absl_flags(getattr(values, "FLAGS", None))
    flags = _absl_flags(values)
    if flags is not None:
        return flags
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        return {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
    if hasattr(values, "_asdict") and not isinstance(values, type):  # a NamedTuple
        return dict(values._asdict())
    if hasattr(values, "__dict__") and not isinstance(values, type) and not callable(values):
        return dict(cast(Any, vars(values)))  # argparse.Namespace and its like
    return None


def _absl_flags(values: Any) -> dict[Any, Any] | None:
    if type(values).__module__.partition(".")[0] != "absl" or not hasattr(values, "flag_values_dict"):
        return None
    return dict(values.flag_values_dict())


def _from_yaml(path: str) -> dict[Any, Any]:
    """Return what a YAML file holds: plain `key: value`, or wandb's `key: {value: ..., desc: ...}`, key by key."""
    what = f"config={path!r:.200} cannot be used"
    try:
        with open(path, encoding="utf-8") as file:
            found = _load_yaml(file, what)
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(what, f"as a str it is the path of a YAML file, and {error}", MEND) from error
    if not isinstance(found, dict | None):
        raise UsageError(what, f"it holds a {type(found).__name__}", "Write `key: value` on each line of it.")
    return {
        key: _value(value)
        for key, value in cast("dict[Any, Any]", found or {}).items()
        if key not in ("wandb_version", "_wandb")  # of a file that wandb wrote: about itself
    }


def _load_yaml(file: IO[str], what: str) -> Any:
    import yaml  # only where a file is to be read: it takes 10 ms

    class Loader(yaml.SafeLoader):
        """Safe, and reads 1e-4 as a number: YAML 1.1 wants a dot in it, people do not."""

    loader: Any = Loader  # whose methods have no annotations
    number = re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$")
    loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    content = file.read(MAX_YAML_BYTES + 1)
    if len(content) > MAX_YAML_BYTES:
        raise UsageError(what, f"it is longer than {MAX_YAML_BYTES:,} characters", "Keep data in another file.")
    try:
        return loader(content).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(what, f"it is no YAML ({error})", "Mend the file.") from error


def _value(value: Any) -> Any:
    described = cast("dict[Any, Any]", value) if isinstance(value, dict) else {}
    is_described = "value" in described and described.keys() <= {"value", "desc"}
    return described["value"] if is_described else cast(Any, value)
