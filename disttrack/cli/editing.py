"""The verbs that change runs after the fact: tag, note, rename, archive, rm, restore."""

from __future__ import annotations

import click

from disttrack.cli.output import printable
from disttrack.cli.reading import in_directory, opened_root
from disttrack.query.edits import delete_run, edit_run, new_edit, restore_run

__all__ = ["archive", "note", "rename", "restore", "rm", "tag"]


@click.command(context_settings={"ignore_unknown_options": True})  # "-old" is a tag to take away
@click.argument("run_id", metavar="ID")
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@in_directory
def tag(run_id: str, tags: tuple[str, ...], directory: str | None) -> None:
    """Add tags to a run, or take them away.

    TAG or +TAG adds one, -TAG takes one away.
    """
    edit = new_edit(
        add_tags=tuple(text.removeprefix("+") for text in tags if not text.startswith("-")),
        remove_tags=tuple(text[1:] for text in tags if text.startswith("-")),
    )
    edit_run(opened_root(directory), run_id, edit)


@click.command
@click.argument("run_id", metavar="ID")
@click.argument("text", metavar="TEXT")
@in_directory
def note(run_id: str, text: str, directory: str | None) -> None:
    """Write a run's notes.

    TEXT replaces what was there; "" clears it.
    """
    edit_run(opened_root(directory), run_id, new_edit(notes=text))


@click.command
@click.argument("run_id", metavar="ID")
@click.argument("name", metavar="NAME")
@in_directory
def rename(run_id: str, name: str, directory: str | None) -> None:
    """Give a run another name."""
    edit_run(opened_root(directory), run_id, new_edit(name=name))


@click.command
@click.argument("run_id", metavar="ID")
@click.option("--undo", is_flag=True, help="Bring it back into lists.")
@in_directory
def archive(run_id: str, undo: bool, directory: str | None) -> None:
    """Put a run away, out of lists; nothing of it is lost."""
    edit_run(opened_root(directory), run_id, new_edit(archived=not undo))


@click.command
@click.argument("run_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do it.")
@in_directory
def rm(run_ids: tuple[str, ...], yes: bool, directory: str | None) -> None:
    """Delete runs; without --yes only say which."""
    root = opened_root(directory)
    for run_id in run_ids:
        name = printable(delete_run(root, run_id, do=yes))
        click.echo(f"Deleted {name}. `disttrack restore {name}` undoes it." if yes else f"Would delete {name}.")
    if not yes:
        click.echo("Nothing was deleted. Add --yes to do it.", err=True)


@click.command
@click.argument("run_id", metavar="ID")
@in_directory
def restore(run_id: str, directory: str | None) -> None:
    """Undo the deletion of a run."""
    click.echo(f"Restored {printable(restore_run(opened_root(directory), run_id))}.")
