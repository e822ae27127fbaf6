"""How busy this node is, written down for each run that has ranks on it, by a thread of the node's process.

Samples are rows like any other: of an incarnation of the role "node", with a journal and a sender of its own. So they
are as safe as what ranks log, and whoever reads the run tells them from it by that role. The writer and the agent only
say who runs here; a driver that hangs stops this thread, and nothing else.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from disttrack.environments.host import process_start_time
from disttrack.journal.directories import mark_home, outbox_directory
from disttrack.journal.ledger import Ledger
from disttrack.journal.outbox import Outbox
from disttrack.records.classes import DropReason, RecordClass, share
from disttrack.records.codec import COMMIT, RowEncoder, encode
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Join, RunId, changed, new_incarnation
from disttrack.transport.membership import Membership
from disttrack.transport.sender import Sender

if TYPE_CHECKING:
    from disttrack.capture.system import NodeProbe

__all__ = ["Placed", "Sampling"]

QUOTA_BYTES = 64 << 20  # of a run's samples on a node: weeks of them
FIRST_S = 1.0  # after the first rank came: what a short run leaves begins here


class Placed(NamedTuple):
    """A rank of this node and the run that it belongs to."""

    run_id: RunId
    join: Join


def _node_join(rank: Join) -> Join:
    """Return the Join of this process as the node that a rank runs on."""
    pid = os.getpid()
    join = changed(
        rank,
        incarnation=new_incarnation(),
        role="node",
        parent=rank.incarnation,
        name=None,
        pid=pid,
        start_time=process_start_time(pid),
        time_us=_now_us(),
    )
    return changed(join, journal=str(outbox_directory(Path(rank.journal).parent, join)))


def _now_us() -> int:
    return time.time_ns() // 1000


class _Samples:
    """The samples of one run on this node."""

    def __init__(self, rank: Join, runtime: Path) -> None:
        join = _node_join(rank)
        self.interval_s = rank.sample_s
        self.due = time.monotonic() + min(FIRST_S, self.interval_s)
        self._outbox = Outbox(Path(join.journal), join, min(QUOTA_BYTES, rank.sample_quota_bytes or QUOTA_BYTES))
        self._sender = Sender(self._outbox, Membership(join, key_known=True, parent=None, job_type_of=_no), runtime)
        self._encoder = RowEncoder()
        self._ledger = Ledger()
        self._waiting: deque[tuple[int, float]] = deque()  # where samples end that are not stored, and when they came
        self._step = 0

    def add(self, sample: dict[str, int | float]) -> None:
        """Append a sample, or count it as dropped."""
        self.due = max(self.due + self.interval_s, time.monotonic())
        row = self._encoder.encode({**sample, "disttrack.lag_s": self._lag_s()}, self._step, _now_us(), COMMIT, [])
        self._step += 1
        if not self._outbox.has_room(len(row), share(RecordClass.SYSTEM)):
            self._drop("quota")
            return
        try:
            self._tell()
            if self._outbox.append(row, 1):
                self._outbox.announcement_due = False
                self._encoder.announce_again()
            self._waiting.append((self._outbox.end, time.monotonic()))
        except OSError:
            self._drop("disk error")

    def _drop(self, reason: DropReason) -> None:
        self._ledger.add(RecordClass.SYSTEM, reason, self._step - 1)
        self._encoder.announce_again()

    def _tell(self) -> None:
        drops = self._ledger.take()
        try:
            self._outbox.append(b"".join(encode(RecordKind.DROP, drop) for drop in drops), 0)
        except OSError:
            self._ledger.put_back(drops)
            raise

    def _lag_s(self) -> float:
        """Return for how long the oldest sample that is not stored yet has waited."""
        while self._waiting and self._waiting[0][0] <= self._sender.acked:
            self._waiting.popleft()
        return time.monotonic() - self._waiting[0][1] if self._waiting else 0.0

    def end(self) -> None:
        """Say that nothing follows."""
        end = End(
            exit_code=0, logged=self._outbox.count + self._ledger.total, dropped=self._ledger.total, time_us=_now_us()
        )
        try:
            self._tell()
            start = self._outbox.end
            self._outbox.append(encode(RecordKind.END, end), 0)
            self._sender.finish(start, self._outbox.end)
        except OSError:
            self._sender.stop(0.0)  # the disk takes nothing: the journal says what it has, as that of one that died

    @property
    def journal(self) -> Path:
        """Where its journal lies."""
        return self._outbox.directory

    @property
    def over(self) -> bool:
        """Whether all is stored."""
        return self._sender.finished.is_set()

    def close(self) -> None:
        """Let go of the journal; what is not stored yet is brought home by whoever comes next."""
        self._sender.stop(1.0)
        self._outbox.close()


def _no(_: object) -> None:
    return None


class Sampling:
    """Samples for the runs of this node, one incarnation for each."""

    def __init__(self, runtime: Path, complain: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._complain = complain
        self._wanted: dict[RunId, list[Join]] = {}
        self._samples: dict[RunId, _Samples] = {}
        self._ending: list[_Samples] = []
        self._refused: set[RunId] = set()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stop = False

    def follow(self, ranks: Iterable[Placed]) -> None:
        """Take samples for the runs of these living ranks of this node, and for no others."""
        wanted: dict[RunId, list[Join]] = {}
        for run_id, join in ranks:
            if join.sample_s > 0 and join.journal:
                wanted.setdefault(run_id, []).append(join)
        with self._change:
            if wanted.keys() != self._wanted.keys():
                self._change.notify()
            self._wanted = wanted
        if wanted and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="disttrack-samples", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop at once."""
        with self._change:
            self._stop = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    # The thread.

    def _run(self) -> None:
        from disttrack.capture.system import NodeProbe  # with psutil, here: ranks wait for our first words

        probe = NodeProbe()
        while True:
            with self._change:
                self._change.wait(self._pause_s())
                wanted, stop = dict(self._wanted), self._stop
            if stop:
                break
            try:
                self._begin(wanted)
                self._sample(probe, wanted)
                self._finish(wanted)
            except Exception as error:  # no sample is worth the process
                self._complain(f"samples of this node: {type(error).__name__}: {error}")
        for samples in [*self._samples.values(), *self._ending]:
            samples.close()

    def _pause_s(self) -> float:
        if self._wanted.keys() - self._refused != self._samples.keys():
            return 0.0
        due = min((samples.due for samples in self._samples.values()), default=None)
        longest_s = 0.1 if self._ending else 60.0
        return longest_s if due is None else min(longest_s, max(0.0, due - time.monotonic()))

    def _begin(self, wanted: dict[RunId, list[Join]]) -> None:
        for run_id in wanted.keys() - self._samples.keys() - self._refused:
            try:
                self._samples[run_id] = _Samples(min(wanted[run_id], key=lambda join: join.rank.rank), self._runtime)
            except (OSError, RuntimeError) as error:  # no room for a journal, no thread left
                self._refused.add(run_id)
                self._complain(f"no samples of this node for run {run_id}: {error}")

    def _sample(self, probe: NodeProbe, wanted: dict[RunId, list[Join]]) -> None:
        """Take one sample for all runs that want one now; of a run that has gone, the last."""
        now = time.monotonic()
        due = {run: samples for run, samples in self._samples.items() if samples.due <= now or run not in wanted}
        if not due:
            return
        ranks = {
            join.rank.rank if join.rank.local_rank is None else join.rank.local_rank: join.pid
            for joins in wanted.values()
            for join in joins
        }
        sample = probe.sample(ranks)
        for samples in due.values():
            samples.add(sample)

    def _finish(self, wanted: dict[RunId, list[Join]]) -> None:
        for run_id in self._samples.keys() - wanted.keys():
            samples = self._samples.pop(run_id)
            samples.end()
            self._ending.append(samples)
        for samples in [samples for samples in self._ending if samples.over]:
            self._ending.remove(samples)
            samples.close()
            mark_home(samples.journal)
