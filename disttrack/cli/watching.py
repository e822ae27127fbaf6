"""The verb that shows a live run: watch."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from disttrack.cli.drawings import Ink
from disttrack.cli.pictures import Page, foot, picture_lines, view_of
from disttrack.cli.reading import in_directory, opened_root
from disttrack.cli.tables import Terminal
from disttrack.cli.tailing import has_key, patterns
from disttrack.errors import UsageError
from disttrack.index.snapshots import Snapshot
from disttrack.query.finding import find_runs
from disttrack.query.following import Follower
from disttrack.query.members import members, newest_team
from disttrack.query.picture import Picture, picture_of, refreshed
from disttrack.query.reader import Reader

if TYPE_CHECKING:
    from disttrack.cli.screens import Screen

__all__ = ["watch"]

TICK_S = 1.0  # between two drawings of what only grows older
STATES_S = 5.0  # between two looks who lives, of a run that says nothing: it costs a call for each rank of this host
PLAIN_LINES, PLAIN_CONSOLE = 60, 8  # where there is no terminal: in all, and of the console
TERMINATED = 143  # as a shell reports a program that SIGTERM ended


@click.command()
@click.argument("run_id", metavar="[ID]", required=False)
@click.option("--metric", metavar="KEY", help="What ranks are shown by (default: what tells most of who is slow).")
@click.option("--keys", metavar="a,b*", callback=patterns, help="Only these metrics; * stands for any text.")
@click.option("--once", is_flag=True, help="Print the picture as it is now, and end.")
@in_directory
def watch(run_id: str | None, metric: str | None, keys: list[str] | None, once: bool, directory: str | None) -> None:
    """Watch a run: its ranks by step as a heat-map, its metrics as small lines, its console.

    Without ID the newest run. Keys: q quits, tab is the next metric, ? lists them all.
    """
    root = opened_root(directory)
    with Reader(root) as reader:
        follower = Follower(reader, run_id or _newest(reader))
        page = Page(metric=metric, has_key=has_key(keys))
        if once or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb" or os.name == "nt":
            terminal = Terminal.of(sys.stdout, os.environ)
            page.most_lines = PLAIN_CONSOLE
            size = terminal.width or shutil.get_terminal_size().columns, PLAIN_LINES
            for line in picture_lines(_picture(follower, page, size), page, size, _ink(colour=terminal.colour), 0.0):
                print(line.rstrip())
            return
        _watch(follower, page)


def _watch(follower: Follower, page: Page) -> None:
    """Show a run until somebody has seen enough; the last picture stays on the terminal."""
    from disttrack.cli.screens import Terminated, screen  # needs termios, which Windows has not

    ink = _ink(colour=not os.environ.get("NO_COLOR"))
    try:
        with screen() as shown:
            lines = _shown(follower, page, shown, ink)
    except Terminated:
        raise SystemExit(TERMINATED) from None
    for line in lines:
        print(line)


def _shown(follower: Follower, page: Page, shown: Screen, ink: Ink) -> list[str]:
    size = shown.size
    picture, taken_at = _picture(follower, page, size), time.monotonic()
    states_at = drawn_at = taken_at
    lines: list[str] = []
    key = None
    while key not in ("q", "escape"):
        now = time.monotonic()
        if key is not None or shown.size != size:
            if key is not None:
                page.press(key, picture.metrics, picture.metric)
            size = shown.size
            found: Picture | None = _picture(follower, page, size)
        else:
            found = follower.look(_ask(follower, page, size))
        if found is None and now >= states_at + STATES_S:
            found = refreshed(picture, follower.record, follower.observer())
        if found is not None:
            picture, taken_at, states_at = found, now, now
        if found is not None or not lines or now >= drawn_at + TICK_S:
            lines = picture_lines(picture, page, size, ink, now - taken_at)
            blanks = [""] * (size[1] - len(lines) - 1)
            shown.draw([*lines[: size[1] - 1], *blanks, foot(size, ink)])
            drawn_at = now
        key = shown.key(follower.pause_s)
    return lines


def _newest(reader: Reader) -> str:
    """Return the run that began last."""
    found = find_runs(reader, None, "", None)
    if not found:
        raise UsageError("There is no run to watch", f"{reader.root} has none", "Start one, or name it with --dir.")
    return f"{found[0].row.project}/{found[0].row.id}"


def _picture(follower: Follower, page: Page, size: tuple[int, int]) -> Picture:
    """Return the picture of now."""
    found = follower.look(_ask(follower, page, size), always=True)
    assert found is not None  # always
    return found


def _ask(follower: Follower, page: Page, size: tuple[int, int]) -> Callable[[Snapshot], Picture]:
    def ask(snapshot: Snapshot) -> Picture:
        ranks = newest_team(members(snapshot.record)).world_size
        return picture_of(snapshot, view_of(page, size, ranks), follower.observer())

    return ask


def _ink(*, colour: bool) -> Ink:
    return Ink.of(os.environ, sys.stdout.encoding or "", colour=colour)
