"""Who belongs to a run that is being written, and which attempt of it.

In: what each incarnation says of itself as it joins, and whether the processes of the others live. Out: the attempt and
role that this writer gives it. Called by RunIngest, which stores them, and by Launch.
"""

from __future__ import annotations

from collections.abc import Callable

from disttrack.environments.endings import UNKNOWN
from disttrack.records.types import Admission, Incarnation, Join, Role
from disttrack.transport.streams import Incoming
from disttrack.writer.attempts import Member, place, requeued, restarted, same_process
from disttrack.writer.team import Team

__all__ = ["Roster", "Source"]


class Source(Incoming):
    """One incarnation as its writer knows it."""

    def __init__(self, admission: Admission, end: int) -> None:
        super().__init__(end)
        self.join = admission.join
        self.admission = admission
        self.admitted = False  # in this segment
        self.over = False  # it ended, or its process did
        self.clean = False  # it ended with exit code 0, whatever became of its process
        self.stopped = False  # it ended before it was done, as it said
        self.ending = UNKNOWN  # what was last stored of how it ended
        self.silent = False
        self.heard = False  # by this writer, which may have read of it only in the log of an earlier one
        self.died = False  # on another node: its agent says that the process is gone
        self.blobs_waiting = 0  # on another node: whether some are with its agent


class Roster(dict[Incarnation, Source]):
    """The sources of one run by their incarnation, in the order in which they joined."""

    def __init__(self) -> None:
        super().__init__()
        self._team = Team[Source](0)  # of the newest attempt
        self._speakers: dict[tuple[int, str, str], Source] = {}  # by attempt and node

    def add(self, source: Source) -> None:
        """Note a source whose attempt is decided."""
        admission = source.admission
        self[admission.join.incarnation] = source
        if admission.attempt > self._team.attempt:
            self._team = Team[Source](admission.attempt)
        if admission.role == "rank" and admission.attempt == self._team.attempt:
            self._team.add(source)

    def speaks(self, source: Source) -> bool:
        """Say whether a rank is the one that tells of its node in its attempt: the first, unless that crashed."""
        join, admission = source.join, source.admission
        if admission.role != "rank":
            return False
        node = (admission.attempt, join.node, join.boot_id)
        speaker = self._speakers.setdefault(node, source)
        if speaker is not source and speaker.over and not speaker.clean:
            speaker = self._speakers[node] = source
        return speaker is source

    def place(self, join: Join, alive: Callable[[Source], bool]) -> tuple[int, Role]:
        """Return attempt and role of a new incarnation; a helper has its parent's attempt, else the newest."""
        if join.role in ("helper", "node"):
            parent = self.get(join.parent) if join.parent is not None else None
            return (parent.admission.attempt if parent else self._team.attempt), join.role
        joining = Source(Admission(join=join, attempt=0, role="rank"), 0)
        lives = alive(joining)
        if lives and self._team.takes(join, alive):
            return self._team.attempt, "rank"
        members = [
            Member(
                source.join,
                source.admission.attempt,
                source.over or same_process(source.join, join) or requeued(source.join, join) or not alive(source),
                source.clean,
                source.heard,
                source.stopped,
            )
            for source in self.values()
            if source.admission.role == "rank"
        ]
        return place(join, lives, members)

    def finished_before(self, join: Join) -> bool:
        """Say whether this rank took part already and all ended well: then it opens another run, and retries none."""
        if join.is_onlooker or join.incarnation in self or join.parent in self:
            return False  # it is of this run, whoever asks: an agent may not have heard that its ranks' run has ended
        team = self._team
        return (
            team.has(join.rank.rank)
            and team.ended_well()
            and not restarted(
                join, [Member(other.join, team.attempt, other.over, other.clean) for other in team.members]
            )
        )

    def left_by_earlier_starts(self) -> list[Source]:
        """Return the sources of which nothing was seen to end, although their job has been started anew since."""
        newest: dict[str, Join] = {}
        for source in self.values():
            join = source.join
            if join.job and (join.job not in newest or requeued(newest[join.job], join)):
                newest[join.job] = join
        return [
            source
            for source in self.values()
            if not source.over and source.join.job and requeued(source.join, newest[source.join.job])
        ]

    def is_replaced(self, source: Source) -> bool:
        """Say whether another process came in place of a rank of which this writer has heard nothing."""
        team = self._team
        return not source.heard and source.admission.attempt < team.attempt and team.has(source.join.rank.rank)

    def newest(self) -> list[Source]:
        """Return the ranks of the newest attempt."""
        return self._team.members

    def ended_well(self) -> bool:
        """Say whether all of these did."""
        return self._team.ended_well()

    def all_over(self) -> bool:
        """Say whether every source ended."""
        return all(source.over for source in self.values())
