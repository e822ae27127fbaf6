"""What every reading verb does first: find the root, bring home what waits on this host, and say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from disttrack.cli.output import count, printable
from disttrack.settings import ROOT_NAME, root_of
from disttrack.writer.homecoming import Homecoming, bring_home

__all__ = ["as_json", "in_directory", "opened_root", "sentences"]

_Verb = TypeVar("_Verb", bound=Callable[..., object])


def in_directory(verb: _Verb) -> _Verb:
    """Give a verb the option --dir."""
    return click.option(
        "--dir", "directory", metavar="D", help=f"Where {ROOT_NAME} lies (default: DISTTRACK_DIR, else here)."
    )(verb)


def as_json(meaning: str = "Print strict JSON, for machines.") -> Callable[[_Verb], _Verb]:
    """Give a verb the option --json."""
    return click.option("--json", "json", is_flag=True, help=meaning)


def opened_root(directory: str | None) -> Path:
    """Return the root of runs after bringing home the pending journals of this host; it need not exist."""
    root = root_of(directory)
    try:
        for sentence in sentences(bring_home(root)):
            click.echo(sentence, err=True)
    except OSError as error:
        click.echo(
            f"Journals on this host could not be brought home: {printable(str(error))}. Nothing is lost: they stay"
            f" where they are, and the next try finds them. What follows is what {printable(str(root))} holds.",
            err=True,
        )
    return root


def sentences(homecomings: Iterable[Homecoming]) -> Iterator[str]:
    """Yield a sentence for each run that got records back."""
    runs: dict[tuple[str, str], list[Homecoming]] = {}
    for homecoming in homecomings:
        runs.setdefault((homecoming.project, homecoming.run_id), []).append(homecoming)
    for (project, run_id), of_run in runs.items():
        records = count(sum(homecoming.records for homecoming in of_run), "record")
        ranks = count(len({homecoming.rank for homecoming in of_run}), "dead rank")
        orphan = " No writer ever met them: tagged orphan." if any(homecoming.orphan for homecoming in of_run) else ""
        yield f"Brought home {records} of {ranks} into {printable(project)}/{printable(run_id)}.{orphan}"
