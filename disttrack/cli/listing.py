"""The verbs that show runs: ls, show, ranks and compare."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from disttrack.cli.attempts import state_colour
from disttrack.cli.output import count, day_time, duration, figure, iso, printable, say_json
from disttrack.cli.rank_reports import rank_report
from disttrack.cli.reading import as_json, in_directory, opened_root
from disttrack.cli.reports import comparison_report, damage_sentence, run_report, runs_report
from disttrack.cli.tables import Column, Terminal, table, without
from disttrack.query.comparing import compare_runs
from disttrack.query.finding import check_search
from disttrack.query.listing import list_runs, page_of_runs, show_run
from disttrack.query.rank_view import show_rank
from disttrack.query.ranks import compare_ranks
from disttrack.query.runs import RunRow
from disttrack.query.shapes import comparison_shape, detail_shape, rank_shape, run_shape, runs_shape

__all__ = ["compare", "ls", "ranks", "run_table", "show"]

_NEGATED = re.compile(r"-[^-].*[:=<>]", re.DOTALL)
_WITH_VALUE = ("--project", "--order", "--dir", "-n")
SHOWN = 100  # runs of a table, where nobody says how many
_SUMMARY_COLUMNS = 3
_NAMED_PROJECTS = 5


class _Filtered(click.Command):
    """A command that takes `-tag:bad` as an argument, a filter's term, and not as the options -t, -a, -g."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = ["", *args]
        return super().parse_args(
            ctx,
            [
                f" {arg}" if _NEGATED.match(arg) and last not in _WITH_VALUE else arg
                for arg, last in zip(args, before, strict=False)
            ],
        )


@click.command(cls=_Filtered)
@click.argument("filters", metavar="[FILTER]...", nargs=-1)
@click.option("--project", metavar="P", help="Only the runs of this project.")
@click.option("--order", metavar="FIELD", help="The least of FIELD first; -FIELD: the greatest (default: -created).")
@click.option(
    "-n",
    "limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Only the first N of them (default: 100; with --json: all).",
)
@click.option("--archived", is_flag=True, help="Also those that were put away.")
@as_json()
@in_directory
def ls(
    filters: tuple[str, ...],
    project: str | None,
    order: str | None,
    limit: int | None,
    archived: bool,
    json: bool,
    directory: str | None,
) -> None:
    """List the runs, newest first.

    FILTER: what they must be, as state:finished 'loss<1' lr:3e-4 rank:5 -tag:bad (docs/filters.md).
    """
    wanted = " ".join(filters)
    check_search(wanted, order)
    root = opened_root(directory)
    most = limit if limit is not None or json else SHOWN
    found, total = page_of_runs(root, project, most, wanted, order, archived=archived)
    if not found:
        click.echo(_nothing_there(root, project, wanted), err=True)
    for run in found:
        if sentence := damage_sentence(run):
            click.echo(f"{printable(run.project)}/{printable(run.id)}: {sentence}.", err=True)
    if json:
        say_json([run_shape(run, iso) for run in found])
    elif found:
        _say(run_table(found, _terminal()))
        if limit is None and total > len(found):
            click.echo(f"These are the first {len(found):,} of {total:,} runs; -n {total} shows all.", err=True)


@click.command()
@click.argument("run_id", metavar="ID")
@click.option("--rank", metavar="R", type=int, help="One of its ranks alone.")
@as_json()
@in_directory
def show(run_id: str, rank: int | None, json: bool, directory: str | None) -> None:
    """Show one run: config, summary, ranks, and what became of its records."""
    if rank is not None:
        one = show_rank(opened_root(directory), run_id, rank)
        if json:
            say_json(rank_shape(one, iso))
        else:
            _say(rank_report(one, _terminal()))
        return
    run = show_run(opened_root(directory), run_id)
    if json:
        say_json(detail_shape(run, iso))
    else:
        _say(run_report(run, _terminal()))


@click.command()
@click.argument("run_id", metavar="ID")
@click.argument("metric", metavar="[METRIC]", required=False)
@as_json()
@in_directory
def ranks(run_id: str, metric: str | None, json: bool, directory: str | None) -> None:
    """Compare the ranks of a run: who is slow, behind or gone.

    METRIC is what they are compared by (default: the time between their rows).
    """
    comparison = compare_ranks(opened_root(directory), run_id, metric)
    if json:
        say_json(comparison_shape(comparison))
    else:
        _say(comparison_report(comparison, _terminal()))


@click.command()
@click.argument("run_ids", metavar="ID ID [ID]...", nargs=-1)
@as_json()
@in_directory
def compare(run_ids: tuple[str, ...], json: bool, directory: str | None) -> None:
    """Set runs side by side: where their configs differ, and how they ended."""
    if len(run_ids) < 2:
        raise click.UsageError("Name the runs to compare: two or more.")
    compared = compare_runs(opened_root(directory), run_ids)
    if json:
        say_json(runs_shape(compared, iso))
    else:
        _say(runs_report(compared, _terminal()))


def run_table(runs: Sequence[RunRow], terminal: Terminal) -> Iterator[str]:
    """Yield the lines of `ls`."""
    one_project = len({run.project for run in runs}) == 1
    keys = _summary_keys(runs)
    columns = [
        Column("ID"),  # never shortened: half an id finds nothing
        Column("NAME", least=12),
        Column("PROJECT", worth=3 if one_project else 6, least=8),
        Column("GROUP", worth=7, least=8),
        Column("STATE", colour=state_colour),
        Column("RANKS", right=True),
        Column("ATTEMPT", right=True, worth=4),
        Column("CREATED", worth=5),
        Column("DURATION", right=True, worth=8),
        # The first of them is kept longest, the others go before anything else.
        *(Column(printable(key), right=True, worth=9 if at == 0 else -at) for at, key in enumerate(keys)),
    ]
    rows = [
        [
            printable(run.id),
            printable(run.name),
            printable(run.project),
            printable(run.group or "-"),
            run.state,
            f"{run.ranks_joined}/{run.world_size}",
            str(run.attempt),
            day_time(run.created_at),
            duration(run.duration_s),
            *(figure(run.summary.get(key)) for key in keys),
        ]
        for run in runs
    ]
    if not any(run.attempt for run in runs):
        columns, rows = without("ATTEMPT", columns, rows)
    yield from table(columns, rows, terminal)


def _summary_keys(runs: Sequence[RunRow]) -> list[str]:
    """Return the numbers that most of these runs have, in the order in which the newest of them has them."""
    having = Counter(key for run in runs for key, value in run.summary.items() if _is_number(value))
    return sorted(having, key=lambda key: -having[key])[:_SUMMARY_COLUMNS]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nothing_there(root: Path, project: str | None, filters: str = "") -> str:
    """Return where was looked, how to look elsewhere, and how to start a run."""
    where = printable(str(root))
    start = "Start a run with `run = disttrack.init(project='my-project')`"
    if not root.is_dir():
        return (
            f"No runs: {where} does not exist. {start}, or name the directory it lies in with --dir (or DISTTRACK_DIR)."
        )
    if filters.strip() and (others := page_of_runs(root, project, 0)[1]):
        return f"None of {count(others, 'run')} in {where} passes the filter: {printable(filters.strip())}"
    projects = sorted({run.project for run in list_runs(root)}) if project is not None else []
    if projects:
        return f"No runs of project {project!r} in {where}. There are runs of {_named(projects)}."
    return f"No runs in {where} yet. {start}, or look elsewhere with --dir (or DISTTRACK_DIR)."


def _named(projects: Sequence[str]) -> str:
    named = ", ".join(printable(project) for project in projects[:_NAMED_PROJECTS])
    return named if len(projects) <= _NAMED_PROJECTS else f"{named} and {len(projects) - _NAMED_PROJECTS} more"


def _terminal() -> Terminal:
    return Terminal.of(sys.stdout, os.environ)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
