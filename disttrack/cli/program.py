"""The command `disttrack`: which verbs there are, and how each of them ends."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from contextlib import closing
from typing import NamedTuple

import click

from disttrack.cli.output import printable
from disttrack.cli.progress import ProgressLine
from disttrack.errors import DisttrackError, FilterError, UsageError
from disttrack.index.progress import listening

__all__ = ["FAILED", "INTERRUPTED", "NOBODY_READS", "USAGE", "VERBS", "Verb", "main", "program"]

FAILED, USAGE = 1, 2
INTERRUPTED, NOBODY_READS = 130, 141  # as a shell reports a program that SIGINT or SIGPIPE ended


class Verb(NamedTuple):
    """Where a verb is, and what it does in a few words: help is printed without importing any of them."""

    module: str
    summary: str


VERBS = {
    "ui": Verb("ui", "Serve the page: every run and every rank, live."),
    "ls": Verb("listing", "List the runs, newest first."),
    "show": Verb("listing", "Show one run: config, summary, ranks, and what became of its records."),
    "ranks": Verb("listing", "Compare the ranks of a run: who is slow, behind or gone."),
    "compare": Verb("listing", "Set runs side by side: where their configs differ, and how they ended."),
    "logs": Verb("logs", "Print what the ranks of a run printed."),
    "tail": Verb("tailing", "Follow a run: the rows that its ranks log and the lines that they print, until it ends."),
    "watch": Verb("watching", "Watch a run: its ranks by step as a heat-map, its metrics as small lines, its console."),
    "tag": Verb("editing", "Add tags to a run, or take them away."),
    "note": Verb("editing", "Write a run's notes."),
    "rename": Verb("editing", "Give a run another name."),
    "archive": Verb("editing", "Put a run away, out of lists; nothing of it is lost."),
    "rm": Verb("editing", "Delete runs; without --yes only say which."),
    "restore": Verb("editing", "Undo the deletion of a run."),
    "doctor": Verb("doctor", "Examine this node and its job: what was detected, what answers, what is wrong."),
    "fsck": Verb("checking", "Verify every frame and record of a run's log, or of all, and name what is damaged."),
    "recover": Verb(
        "recovering", "Bring home what journals of dead processes hold, of this host or copied from another."
    ),
    "export": Verb("exporting", "Write every value a run logged, as jsonl, csv or parquet."),
}


class _Program(click.Group):
    """A group that imports a verb when it is called, and turns what it raises into text and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command: click.Command = getattr(importlib.import_module(f"disttrack.cli.{verb.module}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], VERBS, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(VERBS)}."
            ctx.fail(f"No verb {args[0]!r:.80}. {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        line = ProgressLine()
        try:
            with listening(line.show), closing(line):
                result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # `| head` has enough. The interpreter flushes once more on its way out, and must not find the pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(NOBODY_READS)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except DisttrackError as error:
            # A filter is shown with a mark below the place that cannot be read, which takes lines of its own.
            lines = str(error).split("\n") if isinstance(error, FilterError) else [str(error)]
            click.echo("Error: " + "\n".join(map(printable, lines)), err=True)
            ctx.exit(USAGE if isinstance(error, UsageError) else FAILED)
        except OSError as error:
            what = str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
            click.echo(f"Error: {printable(what)}. Mend that and try again; what is stored was not changed.", err=True)
            ctx.exit(FAILED)
        return result


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib import metadata  # 20 ms that no verb needs

    try:
        click.echo(f"disttrack {metadata.version('disttrack')}")
    except metadata.PackageNotFoundError:
        click.echo("disttrack, not installed (run from its sources)")
    ctx.exit()


@click.group(
    cls=_Program, subcommand_metavar="VERB [ARGUMENTS]...", context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def program() -> None:
    """The flight recorder of distributed training: what every rank logged, on one table."""


def main() -> None:
    """Run the command line of this process, and exit."""
    # Exact integers of any size: this process prints what was logged, however many digits it has.
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
    program(prog_name="disttrack")
