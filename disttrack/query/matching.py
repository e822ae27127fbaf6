"""What a filter means: when a comparison holds, for a run or for what is filed of many."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from disttrack.errors import FilterError
from disttrack.index.facets import Columns, Facet, as_list
from disttrack.query.filters import All, Comparison, Field, Node, Not, Value, Word, parse
from disttrack.query.members import RunState
from disttrack.query.subjects import PROPERTIES, Asked, Subject, is_property

__all__ = ["Flags", "Matcher"]

Flags = NDArray[np.bool_]
_Test = Callable[[object], bool]

WORDS_IN = ("name", "id", "group", "tag")  # where a word without an operator is looked for


class Matcher:
    """A filter that has been read and understood."""

    def __init__(self, text: str) -> None:
        """Raises FilterError where text is no filter, or compares what cannot be compared."""
        self._terms = [_Term(node, text) for node in parse(text).of]

    def __call__(self, run: Subject) -> bool:
        """Say whether a run is one of those asked for."""
        return all(term(run) for term in self._terms)

    @property
    def facets(self) -> set[Facet]:
        """The facets that filed needs."""
        return {facet for term in self._terms for facet in term.facets}

    @property
    def needs_runs(self) -> bool:
        """Whether there are terms that no facet answers: runs that pass as filed are to be asked themselves."""
        return not all(term.facets for term in self._terms)

    def filed(self, columns: Columns) -> Flags:
        """Say of each filed run, by its number, whether it passes all terms that facets answer."""
        passing = np.ones(columns.size, np.bool_)
        for term in self._terms:
            if term.facets:
                passing &= term.filed(columns)
        return passing


class _Term:
    def __init__(self, node: Node, text: str) -> None:
        assert not isinstance(node, All)
        term = node.of if isinstance(node, Not) else node
        if isinstance(term, Word):
            self._negated = isinstance(node, Not)
            self._asked = [Asked(Field(name, None, False, term.at)) for name in WORDS_IN]
            self._test = _word_test(term.text)
        else:
            self._negated = isinstance(node, Not) != (term.operator == "!=")
            self._asked = [Asked(term.field)]
            self._test = _test(term, text)
        self.facets = [facet for asked in self._asked for facet in asked.facets]

    def __call__(self, run: Subject) -> bool:
        return any(self._test(value) for asked in self._asked for value in asked.of(run)) != self._negated

    def filed(self, columns: Columns) -> Flags:
        found = np.zeros(columns.size, np.bool_)
        for asked in self._asked:
            runs, values = asked.filed(columns)
            if asked.has_many:
                passing = [any(map(self._test, cast("list[object]", many))) for many in as_list(values)]
            else:
                passing = list(map(self._test, as_list(values)))
            found[runs] |= np.array(passing, np.bool_)
        return ~found if self._negated else found


def _word_test(word: str) -> _Test:
    sought = word.casefold()
    return lambda given: isinstance(given, str) and sought in given.casefold()


# What a value is compared with


def _test(comparison: Comparison, text: str) -> _Test:
    """Return what says whether one value passes."""
    kind = PROPERTIES[comparison.field.name][0] if is_property(comparison.field) else None
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
