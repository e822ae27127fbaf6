"""Which launch a process belongs to, as far as it is known now: its Join, which may be upgraded once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from disttrack.environments.detect import in_group
from disttrack.environments.launch import Identity, own_key
from disttrack.environments.process_group import agree_on_key
from disttrack.journal.heads import write_join
from disttrack.journal.stored import newest_join
from disttrack.records.types import Join, Rank, RunId, changed, new_incarnation

__all__ = ["Membership"]


class Membership:
    """One incarnation's Join. A newer one is left beside the journal, for whoever brings it home."""

    def __init__(
        self, join: Join, *, key_known: bool, parent: Path | None, job_type_of: Callable[[Rank], str | None]
    ) -> None:
        """key_known: the launch key is final. parent: of a helper, the journal whose launch it belongs to.

        job_type_of: makes the rank's own job type, once the rank is known.
        """
        self.join = join
        self.key_known = key_known
        self._parent = parent
        self._job_type_of = job_type_of

    def upgrade(self) -> bool:
        """Take the launch of a process group that has appeared, or of the parent; say whether the key is final now."""
        if self.key_known:
            return True
        if self._parent is not None:
            parent = newest_join(self._parent)
            if parent is None or not parent.rank.settled:
                return False
            self._become(Identity(parent.rank, parent.launch_key, parent.hints, parent.meeting, parent.nodes))
            return True
        found = in_group(os.environ, sys.modules)
        if found is None:
            return False
        key = found.launch_key or agree_on_key(sys.modules, f"{new_incarnation():016x}")
        self._become(found._replace(launch_key=key))
        return True

    def _become(self, identity: Identity) -> None:
        rank = identity.rank if self.join.rank.source != "settings" else self.join.rank
        rank = changed(rank, settled=True)
        self._replace(
            changed(
                self.join,
                rank=rank,
                launch_key=identity.launch_key or own_key(),
                hints=identity.hints,
                meeting=identity.meeting,
                nodes=identity.nodes,
                run_id=None,
                rank_job_type=self._job_type_of(rank),
            )
        )
        self.key_known = True

    def belong_to(self, run_id: RunId) -> None:
        """Note which run welcomed this incarnation, for whoever brings its journal home."""
        if self.join.run_id != run_id:
            self._replace(changed(self.join, run_id=run_id))

    def meet_at(self, meeting: str) -> bool:
        """Note where the nodes of the launch meet; say whether that is news."""
        if self.join.meeting == meeting:
            return False
        self._replace(changed(self.join, meeting=meeting))
        return True

    def go_alone(self) -> None:
        """Be a process by itself, as far as anyone can tell now; a later process group may still move it."""
        if not self.join.rank.settled:
            rank = changed(self.join.rank, settled=True)
            self._replace(changed(self.join, rank=rank))

    def _replace(self, join: Join) -> None:
        self.join = join
        write_join(Path(join.journal), join)
