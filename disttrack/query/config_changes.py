"""What a rank was configured with otherwise when it went on: a perturbed trial, a retry with other arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from disttrack.query.members import Member
from disttrack.query.summaries import is_alike

__all__ = ["ConfigChange", "config_changes"]


@dataclass(frozen=True)
class ConfigChange:
    """A key of a rank's config that had another value from a step on; before is None where it had none."""

    rank: int
    attempt: int
    step: int | None  # of the first row after it; None where none came
    key: str
    before: object
    after: object


def config_changes(everybody: Sequence[Member]) -> list[ConfigChange]:
    """Return where each rank's config changed from one of its incarnations to the next, ranks one after the other."""
    found: list[ConfigChange] = []
    before: dict[int, dict[str, object]] = {}
    in_time = list(reversed(everybody))  # of one attempt, who went on comes first (members)
    for member in sorted(in_time, key=lambda member: (member.rank, member.attempt)):
        config = member.source.config
        if member.source.role != "rank" or not config:
            continue
        known = before.setdefault(member.rank, config)
        found += [
            ConfigChange(member.rank, member.attempt, member.source.first_step, key, known.get(key), config[key])
            for key in sorted(config)
            if not (key in known and is_alike(config[key], known[key]))
        ]
        before[member.rank] = {**known, **config}
    return found
