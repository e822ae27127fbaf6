"""What people call a run: the program's name, tags and notes, as far as nobody changed them since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from disttrack.records.types import Edit

__all__ = ["Labels", "edited"]


class Labels(NamedTuple):
    """A run's labels. archived: put away, out of lists."""

    name: str
    tags: list[str]
    notes: str | None
    archived: bool


def edited(edits: Sequence[tuple[int, Edit]], name: str, tags: Sequence[str], notes: str | None) -> Labels:
    """Return labels after edits, given by the segment each lies in: the higher one came later."""
    labels = Labels(name, list(tags), notes, archived=False)
    for _, edit in sorted(edits, key=lambda placed: placed[0]):
        kept = [tag for tag in labels.tags if tag not in edit.remove_tags]
        labels = Labels(
            labels.name if edit.name is None else edit.name,
            list(dict.fromkeys([*kept, *edit.add_tags])),
            labels.notes if edit.notes is None else edit.notes or None,
            labels.archived if edit.archived is None else edit.archived,
        )
    return labels
