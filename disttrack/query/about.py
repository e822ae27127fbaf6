"""What a run knows of itself: what its ranks found out about their program, source, packages and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from disttrack.index.facts import SourceFacts
from disttrack.query.members import Team

__all__ = ["NodeRow", "about_of", "node_rows"]


@dataclass(frozen=True)
class NodeRow:
    """One node of an attempt: its name, the ranks that joined there, and what they found out about it."""

    node: str
    ranks: list[int]
    host: dict[str, object]  # cpus, memory_bytes, os, ...; empty where no rank of it told
    devices: dict[str, object]  # driver, gpus; empty where there is none


def about_of(sources: Sequence[SourceFacts]) -> dict[str, dict[str, object]]:
    """Return the sections that sources told of, given by precedence: the first one's word counts.

    program: argv, program, python, cwd, environment. source: root, commit, branch, remote, dirty. packages: versions
    by name. host, devices: those of one node; node_rows has all.
    """
    found: dict[str, dict[str, object]] = {}
    for source in sources:
        for section, values in source.about.items():
            found.setdefault(section, values)
    return dict(sorted(found.items()))


def node_rows(team: Team) -> list[NodeRow]:
    """Return the nodes of an attempt, in the order of their lowest ranks."""
    nodes: dict[str, list[int]] = {}
    for rank, source in team.joined.items():
        if source.join is not None:
            nodes.setdefault(source.join.host, []).append(rank)
    return [
        NodeRow(node, ranks, _said(team, ranks, "host"), _said(team, ranks, "devices")) for node, ranks in nodes.items()
    ]


def _said(team: Team, ranks: Sequence[int], section: str) -> dict[str, object]:
    told = [team.joined[rank].about for rank in ranks]
    return next((about[section] for about in told if section in about), dict[str, object]())
