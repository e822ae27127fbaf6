"""The verb that follows a run: tail."""

from __future__ import annotations

import csv
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import click

from disttrack.cli.attempts import state_colour
from disttrack.cli.logs import line_text
from disttrack.cli.output import MAX_UNIX_S, MIN_UNIX_S, duration, figure, printable, to_json
from disttrack.cli.reading import as_json, in_directory, opened_root
from disttrack.cli.tables import Terminal
from disttrack.query.console import STREAMS, ConsoleLine
from disttrack.query.following import Follower
from disttrack.query.members import MAX_RANKS
from disttrack.query.news import LoggedRow, News, Wanted
from disttrack.query.reader import Reader
from disttrack.query.runs import RunRow
from disttrack.records.metrics import matches

__all__ = ["has_key", "patterns", "rank_numbers", "tail", "told"]

END_LOOK_S = 2.0  # between two looks whether a run that says nothing still goes on
SHOWN = 10  # of what is there already, where nobody says how many
_RANK_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
_MARKS = {"stdout": "|", "stderr": "!"}

Told = LoggedRow | ConsoleLine


def rank_numbers(_context: click.Context, _parameter: click.Parameter, text: str | None) -> list[int] | None:
    """Return the ranks that a text as 0,3,8-15 names."""
    if text is None:
        return None
    found: set[int] = set()
    for part in text.split(","):
        span = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part)
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (1, 0)
        if not first <= last < MAX_RANKS:
            raise click.BadParameter(f"{text!r:.80} are not ranks; write them as 0,3,8-15")
        found.update(range(first, last + 1))
    return sorted(found)


def patterns(_context: click.Context, _parameter: click.Parameter, text: str | None) -> list[str] | None:
    """Return the names in a text as a,b*; one with a comma is quoted as in csv."""
    return None if text is None else [name for row in csv.reader([text], skipinitialspace=True) for name in row]


def _expression(_context: click.Context, _parameter: click.Parameter, text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise click.BadParameter(f"{text!r:.80} is no regular expression: {error}") from None


@click.command()
@click.argument("run_id", metavar="ID")
@click.option("--ranks", metavar="0,3,8-15", callback=rank_numbers, help="Only these ranks.")
@click.option("--keys", metavar="a,b*", callback=patterns, help="Only these metrics of rows; * stands for any text.")
@click.option("--only", type=click.Choice(["rows", "console"]), help="Only what was logged, or what was printed.")
@click.option("--stream", type=click.Choice(STREAMS), help="Of what is printed, only what goes to this one.")
@click.option("--grep", metavar="REGEX", callback=_expression, help="Only what this is found in, as it is printed.")
@click.option(
    "-n", "last", metavar="N", type=click.IntRange(min=0), default=SHOWN, help="Begin with the last N (default: 10)."
)
@click.option("--no-follow", is_flag=True, help="End where the run is now.")
@as_json("Print a line of strict JSON for each.")
@in_directory
def tail(
    run_id: str,
    ranks: list[int] | None,
    keys: list[str] | None,
    only: str | None,
    stream: str | None,
    grep: re.Pattern[str] | None,
    last: int,
    no_follow: bool,
    json: bool,
    directory: str | None,
) -> None:
    """Follow a run: the rows that its ranks log and the lines that they print, until it ends.

    In the order of time, with the rank in front: = is a row, | a line of stdout, ! one of stderr.
    """
    wanted = Wanted(ranks, has_key(keys), rows=only != "console", lines=only != "rows", stream=stream)
    root = opened_root(directory)
    terminal = Terminal.of(sys.stdout, os.environ)
    with Reader(root) as reader:
        follower, news = Follower(reader, run_id), News(wanted)

        def texts(found: Sequence[Told] | None) -> list[str]:
            width = len(str(max(follower.row().world_size - 1, 0)))
            all_of_them = (
                to_json(_shape(one), compact=True) if json else told(one, terminal, width) for one in found or ()
            )
            return [text for text in all_of_them if grep is None or grep.search(click.unstyle(text))]

        def say(found: Sequence[Told] | None) -> None:
            _print(texts(found), json=json)

        # Which are the last that an expression is found in is known only once it was looked for in all.
        begin = texts(follower.look(lambda snapshot: news.of(snapshot, last if grep is None else None), always=True))
        _print(begin[len(begin) - min(last, len(begin)) :], json=json)
        if not no_follow:
            _follow(follower, news, say)
            opened_root(directory)  # where nobody was left to store what the ranks had in their journals
        say(follower.look(lambda snapshot: [*news.of(snapshot), *news.rest(snapshot)], always=True))
        if not no_follow:
            _say_end(follower.row(), json=json)


def _print(texts: Sequence[str], *, json: bool) -> None:
    """Print lines with one write, so that those of other processes do not come between them."""
    if texts:
        lines = "".join(f"{text}\n" for text in texts)
        if json:
            click.echo(lines.encode("utf-8", "backslashreplace"), nl=False)
        else:
            print(lines, end="", flush=True)


def _follow(follower: Follower, news: News, say: Callable[[Sequence[Told]], None]) -> None:
    """Say what is new in a run until it is over."""
    look_at_end = time.monotonic()
    while True:
        found = follower.look(news.of)
        if found is not None:
            say(found)
        if found is not None or time.monotonic() >= look_at_end:
            if follower.is_over():
                return
            look_at_end = time.monotonic() + END_LOOK_S
        time.sleep(follower.pause_s)


def _say_end(run: RunRow, *, json: bool) -> None:
    if json:
        click.echo(to_json({"kind": "end", "run": run.id, "project": run.project, "state": run.state}, compact=True))
        return
    state = click.style(run.state, fg=state_colour(run.state)) if sys.stderr.isatty() else run.state
    click.echo(f"{printable(run.project)}/{printable(run.id)}: {state} after {duration(run.duration_s)}", err=True)


def has_key(wanted: Sequence[str] | None) -> Callable[[str], bool] | None:
    """Return what says whether one of these patterns stands for a key; None where all keys are wanted."""
    if wanted is None:
        return None
    return lambda key: any(matches(pattern, key) for pattern in wanted)


def _shape(one: Told) -> dict[str, object]:
    """Return what `tail --json` prints: fields are only ever added."""
    if isinstance(one, LoggedRow):
        return {
            "kind": "row",
            "rank": one.rank,
            "attempt": one.attempt,
            "step": one.step,
            "time": one.time,
            "values": one.values,
        }
    return {
        "kind": "console",
        "rank": one.rank,
        "attempt": one.attempt,
        "stream": one.stream,
        "time": one.time,
        "text": one.text,
        "lost_bytes": one.lost_bytes,
        "cell": one.cell,
    }


def told(one: Told, terminal: Terminal, width: int) -> str:
    """Return a row or a line as a person reads it; width: of the widest rank."""
    mark = "=" if isinstance(one, LoggedRow) else _MARKS.get(one.stream, "|")
    rank = f"{one.rank:>{width}}{mark}"
    moment = _clock(one.time)
    if terminal.colour:
        rank = click.style(rank, fg=_RANK_COLOURS[one.rank % len(_RANK_COLOURS)], bold=mark == "!")
        moment = click.style(moment, dim=True)
    text = " ".join(_row_parts(one)) if isinstance(one, LoggedRow) else line_text(one)
    return f"{moment} {rank} {text}".rstrip()


def _row_parts(row: LoggedRow) -> Iterator[str]:
    yield f"step {row.step} "  # no separators: people search for it
    yield from (f"{printable(key)}={figure(value)}" for key, value in row.values.items())


def _clock(unix_s: float) -> str:
    known = MIN_UNIX_S <= unix_s <= MAX_UNIX_S
    return time.strftime("%H:%M:%S", time.localtime(unix_s)) if known else "--:--:--"
