"""The verb recover: journals brought home, a line for each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from disttrack.cli.output import count, printable, say_json
from disttrack.cli.reading import as_json, in_directory
from disttrack.settings import root_of
from disttrack.writer.recovery import Recovered, recover_copies
from disttrack.writer.recovery import recover as recover_here

__all__ = ["recover"]

REMAINS = 1


@click.command()
@click.argument("journals", metavar="[DIR]", required=False)
@as_json()
@in_directory
@click.pass_context
def recover(context: click.Context, journals: str | None, json: bool, directory: str | None) -> None:
    """Bring home what journals of dead processes hold, of this host or copied from another.

    DIR is a journal, or a directory with journals below it, as copied from another machine's disk. Safe while other
    ranks log, and as often as one likes. Ends with 1 where something remains that could not be brought home.
    """
    if journals is None:
        found = recover_here(root_of(directory))
    else:
        found = recover_copies(Path(journals), None if directory is None else root_of(directory))
    if json:
        say_json({"ok": all(one.why is None for one in found), "journals": [dataclasses.asdict(one) for one in found]})
    else:
        click.echo("\n".join(map(_line, found)) or "No journal of a dead process waits here.")
    if any(one.why is not None for one in found):
        context.exit(REMAINS)


def _line(one: Recovered) -> str:
    run = f"{printable(one.project or '?')}/{printable(one.run or 'a run yet to be made')}"
    whose = "" if one.rank is None else f" of rank {one.rank} of {run}"
    journal = printable(one.journal)
    if one.removed and one.project is None:
        return f"Removed what was left of {journal}: all it held is stored."
    came = f"Brought home {count(one.records, 'record')}{whose} from {journal}."
    if one.why is None:
        found = came if one.records else f"All{whose} in {journal} is stored already."
        return f"{found[:-1]}, and removed it." if one.removed else found
    return (
        f"{came if one.records else f'Nothing{whose} came home from {journal}.'} The rest remains: {printable(one.why)}"
    )
