"""What was said of metrics, resolved: definitions by name and by glob, merged field by field."""

from __future__ import annotations

from collections.abc import Iterable

from disttrack.records.payloads import Goal, MetricDefinition
from disttrack.records.types import changed

__all__ = ["REDUCERS", "Definitions", "matches"]

REDUCERS = ("min", "max", "mean", "last", "first", "best")
_FIELDS = ("step_metric", "step_sync", "summary", "goal", "hidden")


class Definitions:
    """Definitions in the order in which they were said: a later one of a name adds to the ones before it.

    Of a key, the definition of its own name counts first, then globs, the one with most literal text first; each field
    is that of the first which says something of it.
    """

    def __init__(self, said: Iterable[MetricDefinition]) -> None:
        self.by_name: dict[str, MetricDefinition] = {}
        for one in said:
            known = self.by_name.get(one.name)
            if known is None or one.overwrite:
                self.by_name[one.name] = changed(one, overwrite=False)
            else:
                fields = {field: getattr(one, field) for field in _FIELDS if getattr(one, field) is not None}
                self.by_name[one.name] = changed(known, **fields)
        self._globs = sorted(
            (one for one in self.by_name.values() if "*" in one.name),
            key=lambda one: (-len(one.name.replace("*", "")), one.name),
        )
        self._found: dict[str, MetricDefinition] = {}

    @property
    def reduces(self) -> bool:
        """Whether any definition asks for an aggregate."""
        return any(one.summary for one in self.by_name.values())

    def of(self, key: str) -> MetricDefinition:
        """Return what is said of a key."""
        found = self._found.get(key)
        if found is None:
            found = MetricDefinition(name=key)
            own = self.by_name.get(key)
            matching = [one for one in self._globs if one.name != key and matches(one.name, key)]
            for one in [*([own] if own is not None else []), *matching]:
                fields = {field: getattr(one, field) for field in _FIELDS if getattr(found, field) is None}
                found = changed(found, **fields)
            if found.step_metric == key:  # "*" may stand for the step metric, too
                found = changed(found, step_metric=None, step_sync=None)
            self._found[key] = found
        return found

    def reducers(self, key: str) -> tuple[str, ...]:
        """Return which aggregates of a key are kept."""
        return tuple(name for name in self.of(key).summary or () if name in REDUCERS)

    def hides(self, key: str) -> bool:
        """Say whether a key's last value is kept out of summaries."""
        return "none" in (self.of(key).summary or ())

    def goal(self, key: str) -> Goal | None:
        """Return which of two values of a key is the better one."""
        return self.of(key).goal


def matches(pattern: str, key: str) -> bool:
    """Say whether a key is one that a pattern stands for, in which `*` is any text; in linear time."""
    first, *inner = pattern.split("*")
    if not inner:
        return pattern == key
    last = inner.pop()
    if not key.startswith(first) or not key.endswith(last) or len(key) < len(first) + len(last):
        return False
    at, end = len(first), len(key) - len(last)
    for part in inner:
        found = key.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
