"""What a filter means: which property of a run a field is, when a comparison holds, and how runs are ordered."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, cast, get_args

from disttrack.errors import FilterError
from disttrack.index.queries import RunRecord
from disttrack.query.filters import All, Comparison, Field, Node, Not, Value, field_of, parse
from disttrack.query.members import Member, Observer, RunState, members, newest_team
from disttrack.query.runs import RunRow, created_s, row_of
from disttrack.query.summaries import by_precedence, merged_config, merged_summary

__all__ = ["PROPERTIES", "Matcher", "Subject", "in_order"]

Kind = Literal["text", "state", "number", "time"]
_Test = Callable[[object], bool]


class Subject:
    """A run that is asked about; what costs something is looked up once, when it is asked for."""

    def __init__(self, record: RunRecord, observer: Observer) -> None:
        self.record = record
        self._observer = observer

    @cached_property
    def row(self) -> RunRow:
        """The run as a row."""
        return row_of(self.record, self._observer)

    @cached_property
    def _members(self) -> list[Member]:
        return members(self.record)

    @cached_property
    def summary(self) -> dict[str, object]:
        """The run's summary: for this alone, its state need not be found out."""
        return merged_summary(by_precedence(self._members))

    @cached_property
    def config(self) -> dict[str, object]:
        """The run's config."""
        return merged_config(by_precedence(self._members))

    @cached_property
    def ranks(self) -> list[int]:
        """The ranks that joined the newest attempt."""
        return list(newest_team(self._members).joined)

    @cached_property
    def nodes(self) -> list[str]:
        """The nodes these are on."""
        joined = newest_team(self._members).joined.values()
        return list(dict.fromkeys(source.join.host for source in joined if source.join is not None))


#: By field: what kind it is, and its values in a run. A comparison holds where it does for any of them.
PROPERTIES: dict[str, tuple[Kind, Callable[[Subject], Iterable[object]]]] = {
    "id": ("text", lambda run: [run.record.run_id]),
    "name": ("text", lambda run: [run.row.name]),
    "project": ("text", lambda run: [run.record.project]),
    "group": ("text", lambda run: _known(run.row.group)),
    "job_type": ("text", lambda run: _known(run.row.job_type)),
    "state": ("state", lambda run: [run.row.state]),
    "tag": ("text", lambda run: run.row.tags),
    "attempt": ("number", lambda run: [run.row.attempt]),
    "world_size": ("number", lambda run: [run.row.world_size]),
    "ranks_joined": ("number", lambda run: [run.row.ranks_joined]),
    "created": ("time", lambda run: [created_s(run.record)]),
    "ended": ("time", lambda run: _known(run.row.ended_at)),
    "duration_s": ("number", lambda run: [run.row.duration_s]),
    "rank": ("number", lambda run: run.ranks),
    "node": ("text", lambda run: run.nodes),
}


class Matcher:
    """A filter that has been read and understood."""

    def __init__(self, text: str) -> None:
        """Raises FilterError where text is no filter, or compares what cannot be compared."""
        self._terms = [_Term(node, text) for node in parse(text).of]

    def __call__(self, run: Subject) -> bool:
        """Say whether a run is one of those asked for."""
        return all(term(run) for term in self._terms)


class _Term:
    def __init__(self, node: Node, text: str) -> None:
        assert not isinstance(node, All)
        comparison = node.of if isinstance(node, Not) else node
        self._negated = isinstance(node, Not) != (comparison.operator == "!=")
        self._values = _values_of(comparison.field)
        self._test = _test(comparison, text)

    def __call__(self, run: Subject) -> bool:
        return any(map(self._test, self._values(run))) != self._negated


def _values_of(field: Field) -> Callable[[Subject], Iterable[object]]:
    if _is_property(field):
        return PROPERTIES[field.name][1]
    name = field.name
    if field.scope == "summary":
        return lambda run: _looked_up(run.summary, name)
    if field.scope == "config":
        return lambda run: _looked_up(run.config, name)
    return lambda run: _looked_up(run.summary, name) or _looked_up(run.config, name)


def _is_property(field: Field) -> bool:
    return field.scope is None and not field.quoted and field.name in PROPERTIES


def _looked_up(values: Mapping[str, object], name: str) -> list[object]:
    """Return the value of a key, or of a path of keys with dots between them; none where there is none."""
    if name in values:
        return [values[name]]
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        inner = values.get(".".join(parts[:end]))
        if isinstance(inner, Mapping):
            return _looked_up(cast("Mapping[str, object]", inner), ".".join(parts[end:]))
    return []


def _known(value: object) -> list[object]:
    return [] if value is None else [value]


# What a value is compared with


def _test(comparison: Comparison, text: str) -> _Test:
    """Return what says whether one value passes."""
    kind = PROPERTIES[comparison.field.name][0] if _is_property(comparison.field) else None
    value = comparison.value
    if comparison.operator in ("<", "<=", ">", ">="):
        if kind == "text" or kind == "state":
            at = value.at - len(comparison.operator)
            raise FilterError(text, at, f": or = or !=, because {comparison.field.name} is text, and has no order")
        span = _moment(value, text) if kind == "time" else _number(value, text)
        return _compared(comparison.operator, *span)
    if kind == "time":
        start, end = _moment(value, text)
        return lambda given: isinstance(given, float) and start <= given < end
    if kind == "number":
        number, _ = _number(value, text)
        return lambda given: given == number
    if kind == "state":
        _check_state(value, text)
    return _equal_test(value)


def _compared(operator: str, start: float, end: float) -> _Test:
    """Return a test against a span of time [start, end), or a number where both are the same."""
    tests: dict[str, Callable[[int | float], bool]] = {
        "<": lambda given: given < start,
        "<=": lambda given: given <= end if start == end else given < end,
        ">": lambda given: given > end if start == end else given >= end,
        ">=": lambda given: given >= start,
    }
    test = tests[operator]
    return lambda given: isinstance(given, int | float) and not isinstance(given, bool) and test(given)


def _equal_test(value: Value) -> _Test:
    """Return a test for the value that a word stands for: text, a number, true, false, null; * is any text."""
    text = value.text
    if value.quoted:
        return lambda given: given == text if isinstance(given, str) else False
    if text == "*":
        return lambda _: True
    if "*" in text:
        pattern = _pattern(text)
        return lambda given: isinstance(given, str) and pattern.fullmatch(given) is not None
    number = _as_number(text)

    def test(given: object) -> bool:
        if isinstance(given, bool) or given is None:
            return {True: "true", False: "false", None: "null"}[given] == text.lower()
        if isinstance(given, int | float):
            return number is not None and (given == number or (given != given and number != number))
        if isinstance(given, list):
            return any(map(test, cast("list[object]", given)))
        return given == text

    return test


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern in which * is any text; what lies between two is looked for once, so many cost no more."""
    first, *between, last = map(re.escape, text.split("*"))
    return re.compile(f"{first}{''.join(f'(?>.*?{part})' for part in between if part)}.*{last}", re.DOTALL)


def _as_number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None


def _number(value: Value, text: str) -> tuple[float, float]:
    number = None if value.quoted else _as_number(value.text)
    if number is None:
        raise FilterError(text, value.at, "a number, such as 0.5 or 3e-4")
    return number, number


def _check_state(value: Value, text: str) -> None:
    states: Sequence[str] = get_args(RunState)
    if value.text not in states and "*" not in value.text:
        near = difflib.get_close_matches(value.text, states, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise FilterError(text, value.at, f"one of {' '.join(states)}{hint}")


_SPANS = [
    ("%Y-%m-%dT%H:%M:%S", timedelta(seconds=1)),
    ("%Y-%m-%dT%H:%M", timedelta(minutes=1)),
    ("%Y-%m-%d", timedelta(days=1)),
]


def _moment(value: Value, text: str) -> tuple[float, float]:
    """Return the span of time that a date is, or a time of day to the minute or second: by this machine's clock."""
    zone = value.text.endswith("Z")
    stamp = value.text.removesuffix("Z").replace(" ", "T")
    for form, length in _SPANS:
        try:
            start = datetime.strptime(stamp + ("+0000" if zone else ""), form + ("%z" if zone else ""))
            return start.timestamp(), (start + length).timestamp()
        except (ValueError, OverflowError, OSError):
            continue
    day = time.strftime("%Y-%m-%d")
    raise FilterError(text, value.at, f"a day or a time, such as {day} or {day}T13:30 (with Z at the end: UTC)")


# Order


def in_order(runs: Iterable[Subject], order: str) -> list[Subject]:
    """Return runs by the value of a field, the least first; with "-" before it, the greatest.

    Numbers come before text, what has no value (or NaN) last; equals stay as they are. Raises FilterError.
    """
    descending = order.startswith("-")
    values_of = _values_of(field_of(order.removeprefix("-")))
    numbers: list[tuple[int | float, Subject]] = []
    texts: list[tuple[str, Subject]] = []
    rest: list[Subject] = []
    for run in runs:
        value = next(iter(values_of(run)), None)
        if isinstance(value, int | float) and value == value:
            numbers.append((value, run))
        elif isinstance(value, str):
            texts.append((value, run))
        else:
            rest.append(run)
    numbers.sort(key=lambda item: item[0], reverse=descending)
    texts.sort(key=lambda item: item[0], reverse=descending)
    return [run for _, run in numbers] + [run for _, run in texts] + rest
