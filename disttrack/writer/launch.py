"""The runs of one launch: which run a rank belongs to, and what becomes of ranks whose process is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from disttrack.environments.endings import Ending
from disttrack.environments.host import node_id
from disttrack.environments.launch import owner_is_gone
from disttrack.errors import DisttrackError, RunDeleted
from disttrack.journal.directories import is_abandoned, is_journal, mark_home, remove
from disttrack.journal.glance import failed_here
from disttrack.journal.segment import FORMAT_VERSION
from disttrack.journal.spool import has_blobs
from disttrack.journal.stored import StoredOutbox
from disttrack.records.names import DELETED, directory_name, generated_name, generated_words, new_run_id
from disttrack.records.types import Incarnation, Join, RunHeader, RunId, Sighting
from disttrack.transport.rendezvous import Claim
from disttrack.writer.attempts import same_process
from disttrack.writer.earlier import count_runs, run_in_root, run_of_job, run_of_parent, run_that_lacks
from disttrack.writer.ends import Ends
from disttrack.writer.ingest import RunIngest, now_us
from disttrack.writer.liveness import dead_journals, how_ended, lives
from disttrack.writer.roster import Source
from disttrack.writer.watches import process_of

__all__ = ["Launch", "run_key"]


RESUME_LOOK_S = 1.0


class Launch(Ends):
    """The runs of one launch, held by whoever holds its claim."""

    def __init__(
        self,
        runtime: Path,
        launch_key: str,
        claim: Claim,
        nonce: str,
        known_runs: Callable[[], dict[str, str]] = dict,
        clock: Callable[[], float] = time.monotonic,
        ending: Callable[[Join], Ending] = how_ended,
    ) -> None:
        """known_runs: the run ids that writers on other nodes gave, by run key. ending: how a dead process ended."""
        super().__init__()
        self.runs: dict[str, RunIngest] = {}  # by run key
        self._known_runs = known_runs
        self._node = node_id(runtime)
        self._runtime = runtime
        self._key = launch_key
        self._claim = claim
        self._nonce = nonce
        self._clock = clock
        self._ending = ending
        self._run_of: dict[Incarnation, RunIngest] = {}
        self._given_up: set[Incarnation] = set()  # whose run takes nothing from us
        self._adopting = False

    def run_of(self, incarnation: Incarnation) -> RunIngest | None:
        """Return the run an incarnation was admitted to."""
        return self._run_of.get(incarnation)

    def admit(self, join: Join, *, orphans: bool = False) -> tuple[RunIngest, Source]:
        """Return the run an incarnation belongs to, opened if need be, and its source there.

        orphans: the journal never met a writer; a run that it opens is marked so.
        Raises OSError where the run's directory cannot be written, UnsupportedFormat where a newer disttrack did.
        """
        run, source = self.place(join, orphans=orphans)
        run.open([source])
        return run, source

    def place(self, join: Join, *, orphans: bool = False) -> tuple[RunIngest, Source]:
        """Do as admit, but write nothing to the run's log yet."""
        run = self._run_of.get(join.incarnation) or self._find(join)
        if run is None and not self._adopting:
            # One before it may have died before it met a writer. A trial that fails at once is tried again as soon, and
            # whoever is placed first would have the first attempt.
            self.adopt(before=join)
            run = self._find(join)
        orphan = orphans and run is None
        run = run or self._open(join, orphans=orphans)
        known = join.incarnation in run.sources
        source = run.admit(join, self._may_live, orphan=orphan or (orphans and not known and _only_orphans(run)))
        if not known:
            self._bury_replaced(run, source)
        self._remember(run, source)
        return run, source

    def _bury_replaced(self, run: RunIngest, source: Source) -> None:
        """Store the rest of the rank whose process now is this one: a program was executed over it."""
        other = self._last_of.get(process_of(source.join))
        if other is None or other is source or other.join.incarnation not in run.sources:
            return
        if other.admission.role == source.admission.role == "rank" and same_process(other.join, source.join):
            self.bury(run, other)

    def _remember(self, run: RunIngest, source: Source) -> None:
        incarnation = source.join.incarnation
        if incarnation not in self._run_of:
            self._last_of[process_of(source.join)] = source
        self._run_of[incarnation] = run

    def _may_live(self, source: Source) -> bool:
        """Say whether the process of a source lives, as far as we or its node's agent can tell."""
        join = source.join
        if join.node in ("", self._node):
            return lives(join)
        return not source.died and not is_abandoned(Path(join.journal))  # that of a container that has ended, here

    def _find(self, join: Join) -> RunIngest | None:
        if join.role in ("helper", "node") and join.parent is not None and join.parent in self._run_of:
            return self._run_of[join.parent]
        run = self.runs.get(self._key_of(join))
        if run is not None and join.given_id is None and run.sources.finished_before(join):
            return None
        return run

    def _key_of(self, join: Join) -> str:
        """Return the key of the run that a join belongs to: an onlooker's is the one that its launch had last."""
        known = [*self._claim.runs()] if join.is_onlooker else []
        return known[-1] if known else run_key(join)

    def _open(self, join: Join, *, orphans: bool = False) -> RunIngest:
        key = self._key_of(join)
        project = Path(join.root) / directory_name(join.project)
        given = join.given_id
        again = self.runs.get(key)  # finished, and begun once more by the same parent
        known = None if again is not None else self._known(key, project, join, orphans)
        run_id = RunId(given or known or join.own_id)
        while not given and not known and (project / directory_name(run_id)).exists():
            run_id = RunId(new_run_id())
        if (project / DELETED / directory_name(run_id)).exists():
            raise RunDeleted(join.project, run_id)
        group = join.group or (generated_words(self._key) if join.rank.world_size > 1 else None)
        header = _run_header(run_id, join, generated_name(count_runs(project) + 1), group, self._nonce)
        directory = project / directory_name(run_id)
        # A rank may open a run of a given id again while others are still in its first attempt: one log, one writer.
        same = next((run for run in self.runs.values() if run.directory == directory), None)
        run = same or RunIngest(directory, header, self._clock, shared=join.shared)
        if not given and run.sources.finished_before(join):  # by an earlier writer of this launch
            self._claim.remember_runs({name: value for name, value in self._claim.runs().items() if name != key})
            self.runs[key] = run
            return self._open(join)
        self._claim.remember_runs({**self._claim.runs(), key: run_id})
        if again is not None:
            self.runs[f"{key} {again.header.run_id}"] = again
        self.runs[key] = run
        for source in run.sources.values():
            self._remember(run, source)
        return run

    def _known(self, key: str, project: Path, join: Join, orphans: bool) -> str | None:
        """Return the run that this launch has for a rank: as an earlier writer said, the rank, or the root."""
        return (
            self._claim.runs().get(key)
            or self._known_runs().get(key)
            or join.run_id
            or _resumed(project, join)
            or run_in_root(project, join)
            or run_of_job(project, join)
            or run_of_parent(project, join)
            or (run_that_lacks(project, join) if orphans else None)
        )

    def run_ids(self) -> dict[str, str]:
        """Return the run ids of this launch, by run key."""
        return {key: run.header.run_id for key, run in self.runs.items()}

    def leave(self, incarnation: Incarnation, to: RunId) -> None:
        """Note that another writer has admitted an incarnation of ours: its run is ours no longer, or never was."""
        run = self._run_of.pop(incarnation, None)
        if run is None or run.header.run_id == to:
            return
        run.see(run.sources[incarnation], Sighting(incarnation=incarnation, seen="moved", time_us=now_us()))
        if not run.moved:
            run.become_alias(to)
        run.sync()
        if run.sources.all_over():
            run.end()

    def end_earlier_starts(self, run: RunIngest) -> None:
        """Note that nothing more comes of those whose job a scheduler has started anew, maybe on other nodes."""
        for source in run.sources.left_by_earlier_starts():
            if source.join.node not in ("", self._node):  # else we see ourselves that its process is gone
                run.see(source, Sighting(incarnation=source.join.incarnation, seen="lost", time_us=now_us()))

    def adopt(
        self, *, orphans: bool = False, also: Callable[[Join], bool] = lambda _: False, before: Join | None = None
    ) -> list[tuple[RunIngest, Source, int]]:
        """Bring home the journals of this launch whose process is dead, whether it ever met a writer or not.

        also: of which other launches. before: only those of the run that this incarnation would open.
        Returns run, source and offset from which on records were new.
        """
        self._adopting = True
        try:
            return self._adopt(orphans, also, before)
        finally:
            self._adopting = False

    def _adopt(
        self, orphans: bool, also: Callable[[Join], bool], before: Join | None
    ) -> list[tuple[RunIngest, Source, int]]:
        # orphans: also those from before this node booted again; that nobody holds them is asked of each.
        def wanted(join: Join) -> bool:
            mine = join.launch_key == self._key and (orphans or join.node in ("", self._node))
            mine = mine or also(join) or self._is_left_by_a_container(join)
            left = not self._is_over(join.incarnation) or has_blobs(Path(join.journal))
            meant = before is None or (
                self._key_of(join) == self._key_of(before) and join.incarnation != before.incarnation
            )
            return mine and meant and join.incarnation not in self._given_up and left

        adopted: list[tuple[RunIngest, Source, int]] = []
        left = [(stored, self._ending(stored.join)) for stored in dead_journals(self._runtime, wanted)]

        # Those before a rank may be of several attempts; of one attempt, who led the others into their end comes first.
        def order(death: tuple[StoredOutbox, Ending]) -> tuple[int, int]:
            stored, ending = death
            return (0 if before is None else stored.join.start_time), ending.led

        for stored, ending in sorted(left, key=order):
            join = stored.join
            try:
                run, source = self.place(join, orphans=orphans)
                rest = bool(stored.read(source.committed, 1 << 20))
                if source.over and not rest and not has_blobs(stored.directory):
                    if run.ended:  # an earlier writer was killed before it removed this
                        self._remove_journal(run, source)
                    else:  # or before it noted that this waits for nothing but the end of its run
                        mark_home(stored.directory)
                    continue
                run.open([source])
            except DisttrackError:  # its run was deleted, or a newer disttrack wrote it: the journal waits
                self._given_up.add(join.incarnation)
                continue
            offset = source.committed
            if source.over and rest:  # and stored: but the log was damaged since
                self.bury_again(run, source)
            elif not source.over:
                self.bury(run, source, ending)
            adopted.append((run, source, offset))
        return adopted

    def _is_left_by_a_container(self, join: Join) -> bool:
        """Say whether a rank of a run of ours was in a container that was here before this one, with the same volume.

        Its journal is here, but neither its writer nor the place where that was to be met.
        """
        run = self._run_of.get(join.incarnation)
        return run is not None and join.node not in ("", self._node) and not run.sources[join.incarnation].heard

    def _is_over(self, incarnation: Incarnation) -> bool:
        run = self._run_of.get(incarnation)
        return run is not None and run.sources[incarnation].over

    def end_run(self, run: RunIngest) -> None:
        """Close a run all of whose sources are over, and remove the journals it no longer needs."""
        if run.ended:
            run.marker.unlink(missing_ok=True)
        else:
            run.end()
        for source in run.sources.values():
            self._remove_journal(run, source)

    def _remove_journal(self, run: RunIngest, source: Source) -> None:
        directory = Path(source.join.journal)
        if run.moved:
            return  # another run needs it
        try:
            stored = StoredOutbox(directory)
            rest = stored.read(source.committed, 1 << 20)
        except (OSError, ValueError):
            return  # on another node, or removed already
        if rest or has_blobs(directory):
            return
        if stored.join.incarnation == source.join.incarnation and is_journal(directory):
            remove(directory)

    def close(self) -> None:
        """Close all runs and give the claim back."""
        for run in self.runs.values():
            run.close()
        if owner_is_gone(self._key):
            self._claim.forget()
        else:
            self._claim.release()


def _run_header(run_id: RunId, join: Join, name: str, group: str | None, nonce: str) -> RunHeader:
    """Return the header of a run that this join opens."""
    return RunHeader(
        format_version=FORMAT_VERSION,
        run_id=run_id,
        project=join.project,
        name=name,
        group=group,
        launch_key=join.launch_key,
        ordinal=join.ordinal,
        meeting=join.meeting,
        job=join.job,
        requeues=join.requeues,
        nonce=nonce,
        time_us=now_us(),
    )


def _resumed(project: Path, join: Join) -> str | None:
    """Return the run that resume="auto" means: as the primary found it, or as it will have when it comes."""
    if not join.auto:
        return None
    if join.lineage is not None:
        return join.lineage.run_id
    found = failed_here(project, join.host, join.cwd, time.monotonic() + RESUME_LOOK_S)
    return found[0] if found is not None else None


def _only_orphans(run: RunIngest) -> bool:
    return all(source.admission.orphan for source in run.sources.values())


def run_key(join: Join) -> str:
    """Return what tells the runs of a launch apart. Not the root: each node may see it at another path."""
    return json.dumps([join.project, join.group, join.given_id, join.ordinal])
