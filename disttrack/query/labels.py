"""What people call a run: the program's name, tags and notes, as far as nobody changed them since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from disttrack.index.facts import SourceFacts
from disttrack.records.types import Edit

__all__ = ["Labels", "edited", "given"]


class Labels(NamedTuple):
    """A run's labels; name is empty where nobody gave one. archived: put away, out of lists."""

    name: str
    tags: list[str]
    notes: str | None
    archived: bool = False


def given(attempts: Iterable[Sequence[SourceFacts]]) -> Labels:
    """Return what the program said; attempts: the sources of each, those of the newest one and of low ranks first.

    In an attempt what was set after init counts, of several ranks the lowest one's; else what init was given, the name
    by the lowest rank alone. A label of which an attempt says nothing is that of the attempt before it.
    """
    found: dict[str, Any] = {}
    for sources in attempts:
        joins = [source.join for source in sources if source.join is not None]
        for label in ("name", "tags", "notes"):
            said = [source.labels[label] for source in sources if label in source.labels]
            at_init = [getattr(join, label) for join in (joins[:1] if label == "name" else joins)]
            words = [*said, *filter(None, at_init)]
            if words:
                found.setdefault(label, words[0])
    return Labels(found.get("name") or "", list(found.get("tags") or ()), found.get("notes") or None)


def edited(edits: Sequence[tuple[int, Edit]], labels: Labels) -> Labels:
    """Return labels after edits, given by the segment each lies in: the higher one came later."""
    for _, edit in sorted(edits, key=lambda placed: placed[0]):
        kept = [tag for tag in labels.tags if tag not in edit.remove_tags]
        labels = Labels(
            labels.name if edit.name is None else edit.name,
            list(dict.fromkeys([*kept, *edit.add_tags])),
            labels.notes if edit.notes is None else edit.notes or None,
            labels.archived if edit.archived is None else edit.archived,
        )
    return labels
