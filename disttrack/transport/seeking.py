"""A rank's way to the head of its cluster: where do the nodes of my launch meet?

The rank's thread asks, so nothing is loaded here that only another node's process needs.
"""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING

from disttrack.environments import ray
from disttrack.errors import DisttrackError
from disttrack.records.types import Join

if TYPE_CHECKING:
    from disttrack.transport.seats import Seat

__all__ = ["Seeker"]

#: By what launch keys begin with: the module whose ask() reaches that cluster's head. By name: its floor is higher.
CLUSTERS = {ray.PREFIX: "disttrack.integrations.ray.hosting"}

ASK_AGAIN_S = 1.0
FAILURES = 2  # in a row, until it is said: whom we ask may be on its way back


class Seeker:
    """Asks a cluster where the nodes of a launch meet; in a thread of its own, for that may take seconds."""

    def __init__(self, join: Join) -> None:
        """join: who asks. A helper does not: in a forked child the cluster's library is not to be used."""
        self._key, self._root = join.launch_key, join.root  # the head refuses a root that it cannot have
        clusters = (name for prefix, name in CLUSTERS.items() if self._key.startswith(prefix))
        self._module = next(clusters, None) if join.role == "rank" else None
        self._asking: threading.Thread | None = None
        self._due = 0.0
        self.seat: Seat | None = None  # None, too, where the launch has one node only
        self.answered = self._module is None  # at any time
        self.trouble: str | None = None  # why questions have no answer
        self._failures = 0  # in a row

    def poll(self, now: float) -> bool:
        """Ask, if it is time to and nobody does; say whether an answer came since the last look."""
        if self._module is None or now < self._due:
            return False
        if self._asking is None:
            self._asking = threading.Thread(target=self._ask, name="disttrack-seek", daemon=True)
            self._asking.start()
            return False
        if self._asking.is_alive():
            return False
        self._asking = None
        self._due = now + ASK_AGAIN_S
        if self._failures:
            return False
        self.answered = True
        return True

    def _ask(self) -> None:
        try:
            seat: Seat | None = importlib.import_module(str(self._module)).ask(self._key, self._root)
        except Exception as error:  # of the cluster's library, or the head refused: it is said, and asked again
            cause = getattr(error, "cause", None) or error  # what was raised on the head, as Ray hands it over
            self._failures += 1
            if self._failures >= FAILURES or isinstance(cause, DisttrackError):
                self.trouble = f"{type(cause).__name__}: {cause}".splitlines()[0]
        else:
            self.seat, self.trouble, self._failures = seat, None, 0
