"""The launches that this node has, or had: their claims, and the ranks and journals that name them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from disttrack.environments.host import boot_id
from disttrack.journal.stored import stored_outboxes
from disttrack.records.types import Join
from disttrack.transport.rendezvous import Claimed, claimed
from disttrack.writer.liveness import lives

__all__ = ["Launch", "launches"]


class Launch(NamedTuple):
    """A launch on this node. claim is None where it never had a process here.

    live: the ranks whose process runs here, and not in another container that shares the runtime directory.
    """

    key: str
    claim: Claimed | None
    joins: tuple[Join, ...]
    live: tuple[Join, ...]

    @property
    def has_process(self) -> bool:
        """Say whether its writer or agent runs on this node (it may have been stopped)."""
        return self.claim is not None and self.claim.record is not None and self.claim.record.may_answer()

    @property
    def title(self) -> str:
        """Its project and first rank's host for people, who know no launch keys."""
        projects = sorted({join.project for join in self.joins})
        return f"project {', '.join(projects)}" if projects else f"launch {self.key}"

    @property
    def meetings(self) -> set[tuple[str, Path]]:
        """Where its nodes meet: the names of places, and the root beside each."""
        return {(join.meeting, Path(join.root)) for join in self.live or self.joins if join.meeting}


def launches(runtime: Path) -> list[Launch]:
    """Return the launches of a runtime directory, and of the journals it knows."""
    claims = {claim.launch_key: claim for claim in claimed(runtime)}
    joins: dict[str, list[Join]] = {}
    for stored in stored_outboxes(runtime):
        joins.setdefault(stored.join.launch_key, []).append(stored.join)
    return [
        Launch(
            key,
            claims.get(key),
            tuple(joins.get(key, ())),
            tuple(join for join in joins.get(key, ()) if join.boot_id == boot_id() and lives(join)),
        )
        for key in sorted({*claims, *joins})
    ]
