"""A finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from disttrack.environments.launch import Identity
from disttrack.settings import Settings

__all__ = ["GROUPS", "Check", "Finding", "Level", "Surroundings", "failed", "good", "warning"]

Level = Literal["ok", "warning", "failed"]

GROUPS = {
    "rank": "This process",
    "settings": "Settings",
    "processes": "Processes of disttrack on this node",
    "meeting": "Where the nodes meet",
    "journals": "Journals on this node",
    "runs": "Runs in the root",
    "disks": "Disks",
    "clocks": "Clocks",
    "access": "Who can read it",
    "versions": "Versions",
}
"""The groups of checks, in the order they are shown, with their titles."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    check: its name for machines, "group.what", the same in every version. fix: for whoever reads it, where failed.
    facts: what the text says, for machines; plain values.
    """

    check: str
    level: Level
    text: str
    fix: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def group(self) -> str:
        """The group it is shown in."""
        return self.check.partition(".")[0]


def good(check: str, text: str, /, **facts: object) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(check, "ok", text, None, facts)


def warning(check: str, text: str, fix: str | None = None, /, **facts: object) -> Finding:
    """Return a finding of something to know about, that may be as it should be."""
    return Finding(check, "warning", text, fix, facts)


def failed(check: str, text: str, fix: str, /, **facts: object) -> Finding:
    """Return a finding of something that is wrong."""
    return Finding(check, "failed", text, fix, facts)


@dataclass(frozen=True)
class Surroundings:
    """Where an examination takes place. runtime is None where no runtime directory can be had."""

    environ: Mapping[str, str]
    modules: Mapping[str, Any]
    settings: Settings
    identity: Identity
    root: Path
    runtime: Path | None


class Check(NamedTuple):
    """One examination. what: what it looks at, for people; group: where it is shown if it cannot be made."""

    what: str
    group: str
    run: Callable[[Surroundings], Iterator[Finding]]
