"""The one grammar in which runs are asked for, in Api, on the command line and on the page: text to a syntax tree.

    filter     = { term }                       all of them hold
    term       = [ "-" ] ( comparison | word )  "-": it does not hold
    comparison = field operator value
    operator   = ":" | "=" | "!=" | "<" | "<=" | ">" | ">="
    field      = a name, as `loss`, `config.lr` or `"a key with spaces"`
    word       = what is no comparison: text that a run is known by
    value      = a word, or text in double quotes, in which \\" and \\\\ stand for " and \\

What fields there are and what a comparison means: docs/filters.md, disttrack.query.matching.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from disttrack.errors import FilterError

__all__ = ["OPERATORS", "All", "Comparison", "Field", "Node", "Not", "Operator", "Value", "Word", "field_of", "parse"]

Operator = Literal[":", "=", "!=", "<", "<=", ">", ">="]
OPERATORS: tuple[Operator, ...] = (":", "=", "!=", "<=", ">=", "<", ">")
Scope = Literal["summary", "config"]

_OPERATOR = re.compile("|".join(re.escape(operator) for operator in sorted(OPERATORS, key=len, reverse=True)))
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r'(?:[^\s":=!<>]|"(?:[^"\\]|\\.)*")+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_WORD = re.compile(r'[^\s"]+')


@dataclass(frozen=True)
class Field:
    """What is compared. scope: None where the name says it all, or has a prefix of neither."""

    name: str
    scope: Scope | None
    quoted: bool  # a quoted name is a key, never a property of runs
    at: int  # its column in the text, from 0 on


@dataclass(frozen=True)
class Value:
    """What it is compared with. In quotes, it is text and nothing else."""

    text: str
    quoted: bool
    at: int


@dataclass(frozen=True)
class Comparison:
    """A field, an operator and a value."""

    field: Field
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Word:
    """Text that is part of a run's name, id, group, or one of its tags."""

    text: str
    at: int


@dataclass(frozen=True)
class Not:
    """The opposite."""

    of: Comparison | Word


@dataclass(frozen=True)
class All:
    """Every one of these; none: no condition."""

    of: tuple[Comparison | Word | Not, ...]


Node = All | Not | Comparison | Word


def parse(text: str) -> All:
    """Return the syntax tree of a filter; raise FilterError with the place where it is none."""
    terms: list[Comparison | Word | Not] = []
    at = _after_space(text, 0)
    while at < len(text):
        negated = text[at] == "-"
        term, at = _term(text, at + negated)
        terms.append(Not(term) if negated else term)
        if at < len(text) and not text[at].isspace():
            raise FilterError(text, at, "a space before the next term")
        at = _after_space(text, at)
    return All(tuple(terms))


def field_of(text: str) -> Field:
    """Return the field that text names as a whole: what `order` is given."""
    name = _NAME.fullmatch(text)
    if name is None:
        raise FilterError(text, 0, "one field, such as loss, created or config.lr")
    return _field(text, 0)


def _term(text: str, at: int) -> tuple[Comparison | Word, int]:
    name = _NAME.match(text, at)
    if name is None:
        raise FilterError(text, at, "a closing quote" if text[at : at + 1] == '"' else "a field, such as loss or state")
    end = _after_space(text, name.end())
    operator = _OPERATOR.match(text, end)
    if operator is None:
        if text[end : end + 1] == "!":
            raise FilterError(text, end, f"one of {' '.join(OPERATORS)} after {name[0]}")
        return Word(_QUOTED.sub(lambda part: _unescaped(part[1]), name[0]), at), name.end()
    value, end = _value(text, _after_space(text, operator.end()), operator[0])
    return Comparison(_field(name[0], at), cast(Operator, operator[0]), value), end


def _field(name: str, at: int) -> Field:
    scope: Scope | None = None
    rest = name
    prefixes: tuple[Scope, ...] = ("summary", "config")
    for prefix in prefixes:
        if name.startswith(f"{prefix}.") and len(name) > len(prefix) + 1:
            scope, rest = prefix, name[len(prefix) + 1 :]
    return Field(_QUOTED.sub(lambda part: _unescaped(part[1]), rest), scope, '"' in rest, at)


def _value(text: str, at: int, operator: str) -> tuple[Value, int]:
    if text[at : at + 1] == '"':
        quoted = _QUOTED.match(text, at)
        if quoted is None:
            raise FilterError(text, at, "a closing quote")
        return Value(_unescaped(quoted[1]), True, at), quoted.end()
    word = _WORD.match(text, at)
    if word is None:
        raise FilterError(text, at, f"a value after {operator}")
    return Value(word[0], False, at), word.end()


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()
