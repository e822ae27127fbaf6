"""What the ranks of a run printed, page by page: merged by time, searched, and equal lines of many ranks folded."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

import numpy as np

from disttrack.errors import UsageError
from disttrack.index.chunks import Ints
from disttrack.index.snapshots import Snapshot
from disttrack.query.console import ConsoleLine, console_lines
from disttrack.query.members import members

__all__ = ["LogLine", "LogPage", "LogRequest", "log_page"]

FOLD_S = 2.0  # equal lines of several ranks are one event where they come within this time
MAX_SEARCHED = 2_000  # characters of a line in which a pattern is looked for
_READ_FIRST = 4  # times as many lines as a page has are read of each rank, before all are
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_ERROR = re.compile(
    r"\b(error|exception|traceback|fatal|critical|aborted|killed|segmentation fault|nan|oom)\b|out of memory"
    r"|\b\w+Error\b|NCCL (WARN|ERROR)|watchdog.*timeout",
    re.I,
)
_WARNING = re.compile(r"\bwarn(ing)?\b|\b\w+Warning\b", re.I)
_TOKENS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[:=!<>A-Za-z#][=!]?|.", re.S)  # of a regular expression


class _Placed(NamedTuple):
    cursor: tuple[int, int]  # microseconds, and how many lines of the same moment come behind it
    line: ConsoleLine
    text: str


@dataclass(frozen=True)
class LogRequest:
    """Which lines: at most limit of them before or after a cursor, around a moment (unix s), or the newest.

    Raises UsageError where this cannot be asked.
    """

    ranks: Collection[int] | None = None
    stream: Literal["stdout", "stderr"] | None = None
    pattern: str | None = None
    limit: int = 500
    before: str | None = None
    after: str | None = None
    at: float | None = None
    fold: bool = False

    def __post_init__(self) -> None:
        if self.pattern is not None:
            _compiled(self.pattern)
        for cursor in (self.before, self.after):
            if cursor is not None:
                _cursor(cursor)


@dataclass(frozen=True)
class LogLine:
    """One line; ranks, count: who printed it, and how often in all, where equal ones were folded into it."""

    cursor: str
    rank: int
    ranks: list[int]
    attempt: int
    stream: str
    at: float  # unix seconds
    text: str
    count: int
    lost_bytes: int
    cell: int | None
    step: int | None  # the last that the rank had logged by then
    level: Literal["error", "warning"] | None


@dataclass(frozen=True)
class LogPage:
    """Lines in the order of time; total, matched: lines in all, and those that match, None where not all were read."""

    lines: list[LogLine]
    first: str | None
    last: str | None
    more_before: bool
    more_after: bool
    total: int | None
    matched: int | None
    ranks: list[int]  # that printed anything


def log_page(snapshot: Snapshot, request: LogRequest) -> LogPage:
    """Return some of the lines that ranks printed."""
    tail = None if request.pattern is not None or request.at is not None else _READ_FIRST * request.limit
    found = _read(snapshot, request, tail)
    if tail is not None and not _reaches(found, request):
        tail = None
        found = _read(snapshot, request, None)
    pattern = None if request.pattern is None else _compiled(request.pattern)
    matching = [one for one in found if pattern is None or pattern.search(one.text, 0, MAX_SEARCHED)]
    first, end = _window(matching, request)
    page = matching[first:end]
    steps = _steps(snapshot, {one.line.rank for one in page})
    lines = [_line([one], steps) for one in page]
    if request.fold:
        lines = _folded(page, steps)
    return LogPage(
        lines=lines,
        first=_written(page[0].cursor) if page else None,
        last=_written(page[-1].cursor) if page else None,
        more_before=first > 0 or (tail is not None and len(found) >= tail),
        more_after=end < len(matching),
        total=len(found) if tail is None else None,
        matched=len(matching) if tail is None else None,
        ranks=sorted({member.rank for member in members(snapshot.record) if _prints(snapshot, member.src)}),
    )


def _prints(snapshot: Snapshot, src: int) -> bool:
    return bool(snapshot.console.starts.get(src) or snapshot.console.tail.get(src))


def _read(snapshot: Snapshot, request: LogRequest, tail: int | None) -> list[_Placed]:
    """Return lines with their cursors; tail: at least so many of the last of each rank."""
    placed: list[_Placed] = []
    lines = console_lines(snapshot, request.ranks, request.stream, tail)
    for time_us, group in groupby(lines, key=lambda line: round(line.time * 1e6)):
        moment = list(group)
        for behind, line in zip(range(len(moment) - 1, -1, -1), moment, strict=True):
            placed.append(_Placed((time_us, -behind), line, _ANSI.sub("", line.text)))
    return placed


def _reaches(found: Sequence[_Placed], request: LogRequest) -> bool:
    """Say whether lines that were read from the end of each rank on hold all that is asked for."""
    if not found:
        return True
    if request.after is not None:
        return found[0].cursor <= _cursor(request.after)
    if request.before is not None:
        before = _cursor(request.before)
        return sum(one.cursor < before for one in found[: 2 * request.limit]) >= request.limit
    return True


def _window(found: Sequence[_Placed], request: LogRequest) -> tuple[int, int]:
    n, limit = len(found), request.limit
    if request.after is not None:
        after = _cursor(request.after)
        first = next((at for at, one in enumerate(found) if one.cursor > after), n)
        return first, min(n, first + limit)
    end = n
    if request.before is not None:
        before = _cursor(request.before)
        end = next((at for at, one in enumerate(found) if one.cursor >= before), n)
    elif request.at is not None:
        here = next((at for at, one in enumerate(found) if one.line.time >= (request.at or 0.0)), n)
        end = min(n, max(here + limit // 2, limit))
    return max(0, end - limit), end


def _line(same: Sequence[_Placed], steps: Mapping[int, tuple[Ints, Ints]]) -> LogLine:
    (cursor, line, text), *_ = same
    return LogLine(
        cursor=_written(cursor),
        rank=line.rank,
        ranks=sorted({one.line.rank for one in same}),
        attempt=line.attempt,
        stream=line.stream,
        at=line.time,
        text=text,
        count=len(same),
        lost_bytes=line.lost_bytes,
        cell=line.cell,
        step=_step(steps.get(line.rank), cursor[0]),
        level=_level(text),
    )


def _folded(page: Sequence[_Placed], steps: Mapping[int, tuple[Ints, Ints]]) -> list[LogLine]:
    """Return lines with those equal ones of other ranks in one that follow it within FOLD_S."""
    open_: dict[tuple[str, str], list[_Placed]] = {}
    groups: list[list[_Placed]] = []
    for one in page:
        key = one.text, one.line.stream
        known = open_.get(key)
        is_new = known is None or one.line.time - known[0].line.time > FOLD_S or not one.text.strip()
        if is_new or one.line.rank in {other.line.rank for other in known or ()}:
            open_[key] = [one]
            groups.append(open_[key])
        elif known is not None:
            known.append(one)
    return [_line(group, steps) for group in groups]


def _level(text: str) -> Literal["error", "warning"] | None:
    if _ERROR.search(text, 0, MAX_SEARCHED):
        return "error"
    return "warning" if _WARNING.search(text, 0, MAX_SEARCHED) else None


def _steps(snapshot: Snapshot, ranks: Collection[int]) -> dict[int, tuple[Ints, Ints]]:
    """Return when ranks logged, in microseconds and in order, and the steps beside these."""
    rank_of = {member.src: member.rank for member in members(snapshot.record) if member.rank in ranks}
    parts: dict[int, list[tuple[Ints, Ints]]] = {}
    for block in snapshot.blocks if rank_of else ():
        places = block.places()
        bounds, sources = places.slices
        for src, (start, end) in zip(sources.tolist(), pairwise(bounds.tolist()), strict=True):
            if src in rank_of:
                parts.setdefault(rank_of[src], []).append((places.time_us[start:end], places.step[start:end]))
    found: dict[int, tuple[Ints, Ints]] = {}
    for rank, of_rank in parts.items():
        time_us, step = (np.concatenate(axis) for axis in zip(*of_rank, strict=True))
        order = np.argsort(time_us, kind="stable")
        found[rank] = time_us[order], step[order]
    return found


def _step(steps: tuple[Ints, Ints] | None, time_us: int) -> int | None:
    if steps is None:
        return None
    at = int(np.searchsorted(steps[0], time_us, side="right"))
    return int(steps[1][at - 1]) if at else None


def _may_take_for_ever(pattern: str) -> bool:
    """Say whether a search may take time that grows as a power of more than 3 of a line's length, or worse.

    Such are repeats of a group that repeats something or has a choice, as (a|a)*b: Python's re tries all ways, and
    lets no other thread run meanwhile.
    """
    tokens = _TOKENS.findall(pattern)
    wide = [False]  # of the groups that are open: whether it may match in several ways
    repeats = 0
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        repeated = after in ("*", "+", "{")
        repeats += repeated
        if token.startswith("("):
            wide.append(False)
        elif token == ")" and len(wide) > 1:
            inner = wide.pop()
            if inner and repeated:
                return True
            wide[-1] |= inner or repeated
        elif token == "|" or (after in ("*", "+", "{", "?") and token not in ("*", "+", "}", "?")):
            wide[-1] = True
    return repeats > 3


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        if len(pattern) > 500 or _may_take_for_ever(pattern):
            raise UsageError(
                f"The pattern {pattern!r:.80} cannot be used",
                "to look for a repeat of what repeats or has a choice, or for many repeats, may take for ever",
                "Write it without + or * around a group that has +, *, ? or |, and with at most three of them.",
            )
        return re.compile(pattern, re.I)
    except re.error as error:
        raise UsageError(
            f"The pattern {pattern!r:.80} cannot be read", str(error), r"Put \ before signs that mean themselves."
        ) from None


def _cursor(written: str) -> tuple[int, int]:
    try:
        time_us, behind = written.split(".")
        return int(time_us), -int(behind)
    except ValueError:
        raise UsageError(
            f"The cursor {written!r:.80} cannot be used", "it is none", "Take one from an answer."
        ) from None


def _written(cursor: tuple[int, int]) -> str:
    return f"{cursor[0]}.{-cursor[1]}"
