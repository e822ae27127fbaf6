"""The ranks of one attempt of a run, kept so that one more takes its place without a look at all the others.

Most ranks of a launch come when nothing has happened yet: they join the newest attempt, whoever else is in it.
attempts.place would say the same, and decides all that is less plain, but it looks at everybody: of 4,096 ranks, at
eight million.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from disttrack.records.types import Admission, Join

__all__ = ["Team"]


class _Source(Protocol):
    @property
    def admission(self) -> Admission: ...
    @property
    def over(self) -> bool: ...
    @property
    def clean(self) -> bool: ...


S = TypeVar("S", bound=_Source)


class Team(Generic[S]):
    """The ranks (no helpers, no claimants) that were placed in one attempt."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.members: list[S] = []
        self._ranks: set[int] = set()
        self._world_sizes: set[int] = set()
        self._starts: set[tuple[str, int]] = set()  # of their scheduler's jobs
        self._by_host: dict[tuple[str, str], list[S]] = {}
        self._clean = self._gone = 0  # so many of the first members are

    def add(self, source: S) -> None:
        """Note a rank that was placed in this attempt."""
        join = source.admission.join
        self.members.append(source)
        self._ranks.add(join.rank.rank)
        self._world_sizes.add(join.rank.world_size)
        self._starts.add((join.job, join.requeues))
        self._by_host.setdefault((join.boot_id, join.node), []).append(source)

    def has(self, rank: int) -> bool:
        """Say whether a rank is one of them."""
        return rank in self._ranks

    def ended_well(self) -> bool:
        """Say whether all of them did."""
        while self._clean < len(self.members) and self.members[self._clean].clean:  # and stay so
            self._clean += 1
        return self._clean == len(self.members)

    def takes(self, join: Join, alive: Callable[[S], bool]) -> bool:
        """Say whether a living incarnation is one more of them, beyond doubt; False leaves that to attempts.place.

        That is so where it is another rank of a launch of this size, the others of its host were started with it and
        live, and somebody does.
        """
        if self._world_sizes != {join.rank.world_size} or self._starts != {(join.job, join.requeues)}:
            return False
        if join.rank.rank in self._ranks or not self._somebody(alive):
            return False
        return all(
            (other.admission.join.launch_key, other.admission.join.hints) == (join.launch_key, join.hints)
            and not other.over
            and alive(other)
            for other in self._by_host.get((join.boot_id, join.node), ())
        )

    def _somebody(self, alive: Callable[[S], bool]) -> bool:
        """Say whether one of them lives: the first that did so when it was last asked for, or one after it."""
        while self._gone < len(self.members):
            member = self.members[self._gone]
            if not member.over and alive(member):
                return True
            self._gone += 1
        return False
