"""Every exception disttrack raises, in one tree.

DisttrackError
├── UsageError               an argument of init, Settings or the command line cannot be used
│   ├── UnknownSetting       a setting nobody defined; the message names the near ones
│   ├── ResumeError          a run to go on with is not there, must not be there, or is being written
│   └── FilterError          a filter or an order that cannot be read; the message shows the place
├── NotLoggedIn              init(force=True), and there is no server to send to
├── NotInitialized           log, config or summary before init
├── ConfigError              a config value would change without allow_val_change
├── RootGone                 the directory that is read was there, and is not any more
├── RunNotFound              no run, or more than one, answers to this id
├── RunDeleted               the id of a deleted run is never given again
├── InitStartError           a warning: no writer can be started; the run goes on into its journal
├── UnsafeDirectory          a directory that must be ours alone belongs to somebody else
├── UnsupportedFormat        a file written by a newer disttrack
└── StoreUnavailable         a torch TCPStore cannot be reached or does not speak its protocol

Each passes all its arguments to ``super().__init__`` so that it survives pickling, and says what
happened, why, and how to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "ConfigError",
    "DisttrackError",
    "FilterError",
    "InitStartError",
    "NotInitialized",
    "NotLoggedIn",
    "ResumeError",
    "RootGone",
    "RunDeleted",
    "RunNotFound",
    "StoreUnavailable",
    "UnknownSetting",
    "UnsafeDirectory",
    "UnsupportedFormat",
    "UsageError",
]


class DisttrackError(Exception):
    """The base of every exception disttrack raises."""


class UsageError(DisttrackError, ValueError):
    """An argument cannot be used; nothing was started and nothing was written."""

    def __init__(self, what: str, why: str, mend: str) -> None:
        super().__init__(what, why, mend)
        self.what, self.why, self.mend = what, why, mend

    def __str__(self) -> str:
        return f"{self.what}: {self.why}. {self.mend}"


class UnknownSetting(UsageError):
    """A setting nobody defined."""

    def __init__(self, name: str, source: str, near: Sequence[str]) -> None:
        hint = f"Did you mean {' or '.join(near)}?" if near else "See Settings for the names there are."
        super().__init__(f"Unknown setting {name!r} in {source}", "disttrack has no setting of that name", hint)
        self.args = (name, source, tuple(near))
        self.name, self.source, self.near = name, source, tuple(near)


class ResumeError(UsageError):
    """A run to go on with is not there, must not be there, or is being written by another launch."""


class FilterError(UsageError):
    """A filter or an order that cannot be read."""

    def __init__(self, text: str, at: int, expected: str) -> None:
        """at: the column of the first character that does not fit, from 0 on."""
        shown, caret = _around(text, at)
        super().__init__(
            f"The filter cannot be read at column {at + 1}",
            f"here should be {expected}:\n  {shown}\n  {' ' * caret}^\n",
            "docs/filters.md has the grammar.",
        )
        self.args = (text, at, expected)
        self.text, self.at, self.expected = text, at, expected

    def __str__(self) -> str:
        return f"{self.what}: {self.why}{self.mend}"


def _around(text: str, at: int) -> tuple[str, int]:
    """Return text near a place, on one line, and where in it the place is."""
    start = max(0, at - 60)
    return "".join(char if char.isprintable() else " " for char in text[start : at + 40]), at - start


class NotInitialized(DisttrackError):
    """A module-level call came before init."""

    def __init__(self, call: str) -> None:
        super().__init__(call)
        self.call = call

    def __str__(self) -> str:
        return (
            f"disttrack.{self.call} was used before disttrack.init() in this process, so there is no run to use. "
            f"Add this line before it: run = disttrack.init(project='my-project')"
        )


class NotLoggedIn(DisttrackError):
    """init(force=True) wants the run on a server, and there is none to send to; nothing was started."""

    def __init__(self, asked: str) -> None:
        super().__init__(asked)
        self.asked = asked

    def __str__(self) -> str:
        return (
            f"init({self.asked}) wants this run on a server, but none is configured, and nobody is logged in. "
            f"Nothing was started. Leave force out to record the run on this machine, or use mode='offline'."
        )


class ConfigError(DisttrackError):
    """A config value would change without allow_val_change."""

    def __init__(self, key: str, old: object, new: object) -> None:
        super().__init__(key, old, new)
        self.key, self.old, self.new = key, old, new

    def __str__(self) -> str:
        return (
            f"config[{self.key!r}] is {self.old!r} and was about to become {self.new!r}. A config value is fixed once "
            f"set, so that runs can be compared by it. "
            f"Nothing was changed; if the change is meant: config.update({{{self.key!r}: ...}}, allow_val_change=True)"
        )


class RootGone(DisttrackError):
    """The directory that is read was there, and is not any more."""

    def __init__(self, root: Path, why: str) -> None:
        super().__init__(root, why)
        self.root, self.why = root, why

    def __str__(self) -> str:
        return (
            f"{self.root} {self.why}. What it held is not known to be lost: mount it again, or move it back, "
            "and reading goes on."
        )


class RunNotFound(DisttrackError):
    """No run, or more than one, answers to this id."""

    def __init__(self, run_id: str, root: Path, matches: Sequence[str] = ()) -> None:
        super().__init__(run_id, root, tuple(matches))
        self.run_id, self.root, self.matches = run_id, root, tuple(matches)

    def __str__(self) -> str:
        if self.matches:
            return (
                f"{self.run_id!r} names more than one run in {self.root}: {', '.join(self.matches)}. Use one of these."
            )
        return (
            f"No run {self.run_id!r} in {self.root}. `disttrack ls` shows the runs there are; "
            f"name another directory with --dir (or DISTTRACK_DIR)."
        )


class RunDeleted(DisttrackError):
    """The id of a deleted run is never given again."""

    def __init__(self, project: str, run_id: str) -> None:
        super().__init__(project, run_id)
        self.project, self.run_id = project, run_id

    def __str__(self) -> str:
        name = f"{self.project}/{self.run_id}"
        return (
            f"The run {name} was deleted, and its id is never given again. Use another id; or `disttrack restore "
            f"{name}` brings it back, with what was logged for it since, which waits in its journal."
        )


class InitStartError(DisttrackError, UserWarning):
    """No writer can be started. A warning, given once: the run goes on into its journal."""

    def __init__(self, cause: str, journal: Path) -> None:
        super().__init__(cause, journal)
        self.cause, self.journal = cause, journal

    def __str__(self) -> str:
        return (
            f"This run's writer cannot be started: {self.cause}. Nothing is lost: what is logged stays in "
            f"{self.journal}, and is stored by the next writer that starts here, or by `disttrack ls` on this host."
        )


class UnsafeDirectory(DisttrackError):
    """A directory that must be ours alone belongs to somebody else."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return (
            f"{self.path} cannot hold private files: {self.why}. Remove it, or choose another place with "
            f"DISTTRACK_RUNTIME_DIR (sockets) or DISTTRACK_JOURNAL_DIR (journals)."
        )


class UnsupportedFormat(DisttrackError):
    """A file written by a newer disttrack; it was not touched."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(path, found, known)
        self.path, self.found, self.known = path, found, known

    def __str__(self) -> str:
        return (
            f"{self.path} has format version {self.found}, but this disttrack reads up to {self.known}. "
            f"Nothing was touched. Update with `pip install -U disttrack` and try again."
        )


class StoreUnavailable(DisttrackError):
    """A torch TCPStore cannot be reached in time or does not speak its protocol."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(address, why)
        self.address, self.why = address, why

    def __str__(self) -> str:
        return (
            f"The TCPStore at {self.address} cannot be used: {self.why}. "
            f"Ranks find each other by other ways; nothing is lost."
        )
