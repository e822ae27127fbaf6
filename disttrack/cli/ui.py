"""The verb ui: serves the page, and prints the line that opens it."""

from __future__ import annotations

import html
import os
import sys
import webbrowser
from pathlib import Path

import click

from disttrack.cli.output import printable
from disttrack.cli.reading import in_directory, opened_root
from disttrack.environments.files import open_plain
from disttrack.environments.host import private_directory, runtime_directory
from disttrack.server.instances import Instance, running
from disttrack.server.page_files import is_complete
from disttrack.server.serving import DEFAULT_PORT, serve
from disttrack.settings import load

__all__ = ["ui"]


@click.command
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65_535),
    help=f"The port to listen at; 0: any (default: the first free one from {DEFAULT_PORT} on).",
)
@click.option("--host", "address", metavar="ADDRESS", help="The address to listen at (default: 127.0.0.1).")
@click.option(
    "--allow-host", "hosts", metavar="NAME", multiple=True, help="A name that browsers may call this server by."
)
@click.option("--no-open", is_flag=True, help="Open no browser; without a screen or a terminal none is opened anyway.")
@in_directory
def ui(port: int | None, address: str | None, hosts: tuple[str, ...], no_open: bool, directory: str | None) -> None:
    """Serve the page: every run and every rank, live.

    Prints the one line that opens it, and serves until Ctrl-C. It listens on this machine alone; from elsewhere go
    through `ssh -L 6017:127.0.0.1:6017 HOST`. The line carries a token, since every user of a shared machine reaches
    its ports. A server of the same directory is used again.
    """
    root = opened_root(directory)
    if not is_complete():
        click.echo(
            "The page's third-party modules are missing: this disttrack was built where npm could not be reached. The"
            " API answers; the page does not.",
            err=True,
        )
    same = running(root, load().runtime_dir) if port is None and address is None and not hosts else None
    if same is not None:
        _say(same, opens=not no_open)
        click.echo("It runs already (end that one with Ctrl-C where it was started).", err=True)
        return
    serve(root, address or "127.0.0.1", port, hosts, lambda instance: _say(instance, opens=not no_open))


def _say(instance: Instance, *, opens: bool) -> None:
    click.echo(instance.url())
    sys.stdout.flush()
    if instance.host not in ("127.0.0.1", "::1", "localhost"):
        click.echo(
            f"Everybody who can reach {printable(instance.host)} and has this line sees these runs and can edit them;"
            " it goes over the network unencrypted.",
            err=True,
        )
    if opens and sys.stdout.isatty() and _has_screen():
        _open(instance)


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(instance: Instance) -> None:
    """Open a browser by way of a file that only this user reads: arguments of processes are for all to see."""
    url = html.escape(instance.url())
    path: Path = private_directory(runtime_directory(load().runtime_dir) / "servers") / f"open-{instance.port}.html"
    fd = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(f'<!doctype html><title>disttrack</title><meta http-equiv="refresh" content="0; url={url}">')
    webbrowser.open(path.as_uri())
