"""run.config: what a run was started with. A value once set stays, unless the change is meant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from disttrack.api.config_forms import config_dict
from disttrack.errors import ConfigError
from disttrack.records.secrets import redacted
from disttrack.records.values import packed_size, plain, readable, text

__all__ = ["Config"]

MAX_VALUE_BYTES = 10_000_000  # of one key; more belongs in a file (wandb's limit, docs/coming-from-wandb.md)
MAX_UPDATE_BYTES = 32 << 20  # of one record: half of what a record may have

_log = logging.getLogger("disttrack")


class Config(Mapping[str, Any]):
    """A run's configuration: `config["lr"]`, `config.lr`, `config.update({...})`. Setting a key stores it.

    What looks like a secret is here as it was set, and is stored as `[redacted]` (Settings.redact_secrets). A value of
    more than MAX_VALUE_BYTES is here, too, but not stored: that is said, and counted as dropped.
    """

    _store: Callable[[dict[str, Any]], None]
    _refuse: Callable[[str], None]
    _values: dict[str, Any]
    _redact: bool
    _allow_val_change: bool
    _said: set[str]
    _speaks: Callable[[], bool]

    def __init__(
        self,
        store: Callable[[dict[str, Any]], None],
        refuse: Callable[[str], None] = _log.warning,
        *,
        redact: bool = True,
        allow_val_change: bool = False,
        speaks: Callable[[], bool] = lambda: True,
    ) -> None:
        """refuse: is told, as text, of each value that is not stored. allow_val_change: what update does unasked.

        speaks: says whether this process is the one to warn: a thousand ranks often have one config.
        """
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_refuse", refuse)
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_redact", redact)
        object.__setattr__(self, "_allow_val_change", allow_val_change)
        object.__setattr__(self, "_said", set())
        object.__setattr__(self, "_speaks", speaks)

    def update(self, values: Any, allow_val_change: bool | None = None) -> None:
        """Set keys, from anything that init(config=) takes; raise ConfigError where one has another value already.

        allow_val_change: let values change; None does as init was told (in a notebook they may).
        """
        may_change = self._allow_val_change if allow_val_change is None else allow_val_change
        fresh = {key: _plain(value) for key, value in config_dict(values).items()}
        changed = {
            key: value
            for key, value in fresh.items()
            if key not in self._values or not _same(self._values[key], readable(value))
        }
        for key, value in changed.items():
            if key in self._values and not may_change:
                raise ConfigError(key, self._shown(key, self._values[key]), self._shown(key, readable(value)))
        if changed:
            self._values.update({key: readable(value) for key, value in changed.items()})
            for batch in self._batches(self._without_secrets(changed)):
                self._store(batch)

    def _batches(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield values as records that are no larger than MAX_UPDATE_BYTES, without those that are too large."""
        batch: dict[str, Any] = {}
        room = MAX_UPDATE_BYTES
        for key, value in values.items():
            size = packed_size(value)
            if size > MAX_VALUE_BYTES:
                self._refuse(
                    f"config[{key!r:.80}] is not stored: it takes {size:,} bytes, more than the {MAX_VALUE_BYTES:,} "
                    f"that one value may have; save it as a file"
                )
                continue
            if size > room:
                yield batch
                batch, room = {}, MAX_UPDATE_BYTES
            batch[key] = value
            room -= size
        if batch:
            yield batch

    def _shown(self, key: str, value: Any) -> Any:
        return redacted(key, value)[0] if self._redact else value

    def _without_secrets(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return values as they may be stored, and say once under which names a secret was found."""
        if not self._redact:
            return values
        found = {key: redacted(key, value) for key, value in values.items()}
        fresh = [name for _, names in found.values() for name in names if name not in self._said]
        if fresh:
            self._said.update(fresh)
            _log.log(
                logging.WARNING if self._speaks() else logging.DEBUG,
                "disttrack: config values that look like secrets are stored as [redacted]: %s. "
                "Settings(redact_secrets=False) stores them as they are",
                ", ".join(fresh[:20]) + (f", and {len(fresh) - 20} more" if len(fresh) > 20 else ""),
            )
        return {key: value for key, (value, _) in found.items()}

    def setdefaults(self, values: Any) -> None:
        """Set those keys that have no value yet."""
        self.update({key: value for key, value in config_dict(values).items() if key not in self._values})

    def as_dict(self) -> dict[str, Any]:
        """Return a copy."""
        return dict(self._values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(
                f"config has no key {name!r}; it has {', '.join(self._values) or 'none yet'}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Copy and pickle as a plain dict: what a checkpoint holds must not open this run again."""
        return dict, (self.as_dict(),)


def _same(old: Any, new: Any) -> bool:
    """Say whether two plain values are the same one: NaN equals itself, and True is not 1."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict):
        before = cast("dict[str, Any]", old)
        return before.keys() == new.keys() and all(_same(item, new[key]) for key, item in before.items())
    if isinstance(old, list):
        items = cast("list[Any]", old)
        return len(items) == len(new) and all(map(_same, items, new))
    return bool(old == new or (old != old and new != new))


def _plain(value: Any) -> Any:
    """Return a value as it is stored; what has no plain form is kept as its repr, for the reader's eye."""
    try:
        return plain(value)
    except Exception:
        pass  # no plain form, or a method of its own failed: a config is for people, so its repr will do
    try:
        return text(repr(value)[:2000])
    except Exception:
        return f"<{type(value).__name__}>"
