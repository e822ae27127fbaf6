"""The verb that shows what ranks printed: logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from disttrack.cli.output import count, printable, say_json
from disttrack.cli.reading import as_json, in_directory, opened_root
from disttrack.query.console import STREAMS, ConsoleLine, read_console

__all__ = ["line_text", "logs"]

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"
)  # colours and others


@click.command()
@click.argument("run_id", metavar="ID")
@click.option("--rank", metavar="R", type=click.IntRange(min=0), help="Only what this rank printed.")
@click.option("--stream", type=click.Choice(STREAMS), help="Only what went to this one.")
@click.option("--tail", metavar="N", type=click.IntRange(min=0), help="Only the last N lines.")
@as_json()
@in_directory
def logs(
    run_id: str, rank: int | None, stream: str | None, tail: int | None, json: bool, directory: str | None
) -> None:
    """Print what the ranks of a run printed.

    In the order of time, with the rank in front of each line where there are several.
    """
    lines = read_console(opened_root(directory), run_id, rank, stream, tail)
    if json:
        say_json([asdict(line) for line in lines])
        return
    for text in _told(lines):
        click.echo(text)


def _told(lines: Sequence[ConsoleLine]) -> Iterator[str]:
    """Yield lines as they are printed, each with its rank in front where there are several."""
    ranks = {line.rank for line in lines}
    width = len(str(max(ranks, default=0)))
    for line in lines:
        text = line_text(line)
        yield f"{line.rank:>{width}}| {text}" if len(ranks) > 1 else text


def line_text(line: ConsoleLine) -> str:
    """Return the text of a line as a terminal may get it: nothing in it moves a cursor or changes colours."""
    if line.lost_bytes:
        return f"... {count(line.lost_bytes, 'byte')} of {line.stream} not kept ..."
    return printable(_ESCAPES.sub("", line.text).expandtabs())
