"""Turns what people log into plain values, without importing the libraries it came from.

numpy and torch values are met by duck typing: a value's own methods say what it is. Nothing here
raises anything but Unloggable, and Unloggable costs only the one key.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec

__all__ = [
    "BIG_INT",
    "Aside",
    "Unloggable",
    "flatten",
    "kind_of",
    "packed_size",
    "plain",
    "readable",
    "restore",
    "text",
]

BIG_INT = 1
"""msgpack extension: an int beyond 64 bits, as its decimal text."""

MAX_DEPTH = 32  # deeper nesting is a cycle or a mistake
MAX_ITEMS = 10_000  # of one list-like value in a row; more belongs in a file
MAX_INT_DIGITS = 10_000  # reading takes the square of them: a million digits a minute
_INT64 = range(-(2**63), 2**63)
_MAX_INT_BITS = int(MAX_INT_DIGITS / math.log10(2))


class Unloggable(Exception):
    """This value has no plain form; the reason is the first argument."""


def kind_of(kind: type[Any]) -> str | None:
    """Return how values of this type fill 8 bytes: d (float64), q (int64), ? (bool), or None.

    None also stands for "look at the value": a torch tensor may hold one number or a million.
    """
    if kind is float:
        return "d"
    if kind is int:
        return "q"
    if kind is bool:
        return "?"
    if kind.__module__ == "numpy":
        # By name of the abstract classes, so that numpy need not be imported to ask.
        names = {base.__name__ for base in kind.__mro__}
        if "floating" in names and "longdouble" not in names and "float128" not in names:
            return "d"
        if "integer" in names and "timedelta64" not in names:
            return "q"
        if "bool" in names or "bool_" in names:
            return "?"
    return None


class Aside(dict[str, Any]):
    """Values of a row whose bytes are kept beside it, by key: images and their like.

    kept: where in the row that follows they are told of already.
    """

    def __init__(self, aside_of: Callable[[Any], Any], *, kept: bool = False) -> None:
        """aside_of: returns what stands for a value that does not belong into a row, None for all others."""
        super().__init__()
        self.aside_of = aside_of
        self.kept = kept


def flatten(data: Mapping[Any, Any], problems: list[tuple[str, str]], aside: Aside | None = None) -> dict[str, Any]:
    """Return data as one flat dict of plain values; nested mappings become ``outer.inner`` keys.

    What cannot be kept is left out and noted in problems as (key, reason); what belongs beside the row goes to aside.
    """
    flat: dict[str, Any] = {}
    for key, value in _leaves(data, "", (), problems):
        try:
            if aside is not None and kind_of(_type(value)) is None and (found := aside.aside_of(value)) is not None:
                aside[key] = found
            else:
                flat[key] = plain(value)
        except Unloggable as unloggable:
            problems.append((key, str(unloggable)))
        except Exception as error:  # a value's own method failed: a broken __iter__, a deleted CUDA tensor, ...
            problems.append((key, _failure(error)))
    return flat


def _type(value: object) -> type:
    return type(value)


def _leaves(
    data: Mapping[Any, Any], prefix: str, above: tuple[int, ...], problems: list[tuple[str, str]]
) -> Iterator[tuple[str, Any]]:
    """Yield every value that is no mapping; above: the identities of the mappings around data."""
    try:
        items = list(data.items())
    except Exception as error:
        problems.append((prefix.removesuffix(".")[:80], _failure(error)))
        return
    if not items and prefix:
        yield prefix.removesuffix("."), {}  # else it would vanish unsaid
    above = (*above, id(data))
    for key, value in items:
        if not isinstance(key, str):
            problems.append((f"{prefix}{_shown(key)}", f"a key must be a str, not {type(key).__name__}"))
            continue
        name = prefix + text(key)
        if not isinstance(value, Mapping):
            yield name, value
            continue
        inner = cast("Mapping[Any, Any]", value)
        if id(inner) in above:  # depth alone would follow two ways back to itself 2 ** MAX_DEPTH times
            problems.append((name[:80], "it contains itself"))
        elif len(above) > MAX_DEPTH:
            problems.append((name[:80], f"nested more than {MAX_DEPTH} deep"))
        else:
            yield from _leaves(inner, f"{name}.", above, problems)


def _shown(key: object) -> str:
    try:
        return f"{key!r:.80}"
    except Exception:
        return f"<{type(key).__name__}>"


def _failure(error: Exception) -> str:
    try:
        return f"reading the value raised {type(error).__name__}: {error}"
    except Exception:  # its __str__ raises as well
        return f"reading the value raised {type(error).__name__}"


def plain(value: Any, depth: int = 0) -> Any:
    """Return value, exactly, as None, bool, int, float, str, list, dict or msgpack Ext; or raise Unloggable."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth)
    if isinstance(value, int):
        number = int(value)
        return number if number in _INT64 else _big_int(number)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if depth >= MAX_DEPTH:
        raise Unloggable(f"nested more than {MAX_DEPTH} deep, or containing itself")
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        return {text(str(key)): plain(item, depth + 1) for key, item in mapping.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return _items(list(cast("Iterable[Any]", value)), depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), depth + 1) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike | decimal.Decimal):
        return text(str(cast(object, value)))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return _array(value, depth)


def _big_int(number: int) -> msgspec.msgpack.Ext:
    if number.bit_length() > _MAX_INT_BITS:
        raise Unloggable(f"a whole number of more than {MAX_INT_DIGITS:,} digits; log its logarithm, or its text")
    return msgspec.msgpack.Ext(BIG_INT, str_of_int(number).encode())


def _array(value: Any, depth: int) -> Any:
    """Return the plain form of a numpy or torch value (or of anything that behaves like one)."""
    to_list = getattr(value, "tolist", None)
    if to_list is None:
        raise Unloggable(
            f"a {type(value).__module__}.{type(value).__qualname__} has no plain form; log numbers or text"
        )
    shape = getattr(value, "shape", ())
    size = 1
    for extent in shape:
        size *= int(extent)
    if size > MAX_ITEMS:
        raise Unloggable(
            f"it has {size:,} elements, more than {MAX_ITEMS:,}; log a summary of it, or save it as a file"
        )
    detach = getattr(value, "detach", None)  # torch: off the graph before it is read
    array = value if detach is None else detach()
    found = array.item() if size == 1 and hasattr(array, "item") else array.tolist()
    if type(found) is not type(value):
        return plain(found, depth + 1)
    if "floating" not in {base.__name__ for base in type(value).__mro__}:
        raise Unloggable(f"a {type(value).__name__} has no plain form; log its parts")
    return float(found)  # numpy.longdouble has no Python counterpart: the nearest float64 stands for it


def _items(items: list[Any], depth: int) -> list[Any]:
    if len(items) > MAX_ITEMS:
        raise Unloggable(
            f"it has {len(items):,} items, more than {MAX_ITEMS:,}; log a summary of it, or save it as a file"
        )
    return [plain(item, depth + 1) for item in items]


def packed_size(value: Any) -> int:
    """Return how many bytes a plain value takes in a record."""
    return len(msgspec.msgpack.encode(value))


def text(value: str) -> str:
    """Return value as a plain str that UTF-8 can hold; lone surrogates become backslash escapes."""
    characters = str.__str__(value)  # of a subclass, too: str() of an Enum's member is its name
    try:
        characters.encode()
    except UnicodeEncodeError:
        return characters.encode("utf-8", "backslashreplace").decode()
    return characters


def str_of_int(number: int) -> str:
    """Return the exact decimal text of an int of any size (str() refuses beyond 4,300 digits)."""
    return format(decimal.Decimal(number), "f") if abs(number) >= 10**4000 else str(number)


def readable(value: Any) -> Any:
    """Return a plain value as its readers get it: big ints as ints."""
    if isinstance(value, msgspec.msgpack.Ext):
        return restore(value.code, memoryview(value.data))
    if isinstance(value, list):
        return [readable(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: readable(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def restore(code: int, data: memoryview) -> int:
    """Return what an extension stands for (the ext_hook of the decoder)."""
    if code != BIG_INT:
        raise ValueError(f"unknown msgpack extension {code}")
    if len(data) > MAX_INT_DIGITS + 1:
        raise ValueError(f"a big int has more than {MAX_INT_DIGITS:,} digits")
    digits = bytes(data).decode()
    if not digits.removeprefix("-").isdecimal():  # "1e999999999" would be a decimal, and a gigabyte
        raise ValueError("a big int must be decimal digits")
    return int(decimal.Decimal(digits))
