"""A run that is open here, as a notebook shows it: what its own process knows, and what is stored of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from disttrack.query.alone import read_alone
from disttrack.query.cards import card, charts_of

__all__ = ["run_card"]


def run_card(
    name: str, place: tuple[Path, str, str] | None, facts: Mapping[str, object], values: Mapping[str, object]
) -> str:
    """Return the card of a run; place: its root, project and id; None where nothing of it is written.

    The charts are of all ranks, as far as the run's log holds them and can be read here: no index is made.
    """
    snapshot = read_alone(*place) if place is not None else None
    where = "/".join(place[1:]) if place is not None else "disabled"
    return card(name, where, facts, values, charts_of(snapshot) if snapshot is not None else None)
