"""The writer's loop: messages, process ends, commits, and when to go."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from disttrack.environments.endings import Ending
from disttrack.environments.host import boot_id, process_start_time
from disttrack.errors import DisttrackError
from disttrack.records.types import Incarnation, Offset, Sighting
from disttrack.transport.protocol import (
    PROTOCOL_VERSION,
    Ack,
    Data,
    Hello,
    Message,
    Moved,
    Ping,
    Refusal,
    Unknown,
    Welcome,
)
from disttrack.transport.receiver import Peer, Receiver
from disttrack.transport.rendezvous import Claim, Record, remove_empty_log, remove_sockets, socket_path
from disttrack.writer.ingest import RunIngest, Source, now_us
from disttrack.writer.launch import Launch
from disttrack.writer.liveness import Watch

__all__ = ["main"]

P = ParamSpec("P")
Process = tuple[str, int, int]  # boot id, pid, start time: many runs may come from one

HOUSEKEEPING_S = 1.0
SILENT_S = 15.0
MARKER_S = 15.0
ADOPT_S = 5.0
LATE_S = 2.0  # after the last rank of a run ended; whoever joins later opens it again
LINGER_S = 5.0  # after somebody said Hello, for the next run of the same processes
GIVE_UP_S = 300.0  # with records of the dead that the disk does not take
STOPPED_S = 5.0  # a gap in our own loop: we were stopped, not the ranks


def main(runtime: str, launch_key: str) -> int:
    """Be the writer of a launch until its ranks have ended; return at once if another process is."""
    claim = Claim(Path(runtime), launch_key)
    if not claim.take():
        return 0
    _stand_aside()
    claim.sweep()
    remove_sockets(Path(runtime), launch_key)
    _Writer(Path(runtime), launch_key, claim).serve()
    remove_empty_log(Path(runtime), launch_key)
    return 0


def _stand_aside() -> None:
    """Outlive the signals meant for ranks (their last records come after them), and leave them the processors."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:  # a launch may have more ranks than a shell's default allows files
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(5)
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))  # a rank's own pinning is not for its writer
        except OSError:
            pass  # a kernel or container that forbids it: then we share the rank's processor


class _Writer:
    def __init__(self, runtime: Path, launch_key: str, claim: Claim) -> None:
        self._nonce = secrets.token_hex(16)
        self._claim = claim
        self._launch = Launch(runtime, launch_key, claim, self._nonce)
        self._receiver = Receiver(socket_path(runtime, launch_key, self._nonce))
        self._peers: dict[Incarnation, Peer] = {}
        self._watches: dict[Process, Watch] = {}
        self._heard: dict[Incarnation, float] = {}
        self._last_words: list[tuple[RunIngest, Source, int, bytes]] = []  # ... that end at this offset
        self._busy_until = time.monotonic() + LINGER_S
        self._looked = self._marked = self._adopted = 0.0
        self._progressed = time.monotonic()
        self._complaints: set[str] = set()

    def serve(self) -> None:
        """Publish where we listen, and work until nobody needs us."""
        self._publish()
        while True:
            started = time.monotonic()
            fds = self._receiver.wait(self._next_due())
            if time.monotonic() - started > HOUSEKEEPING_S + STOPPED_S:
                self._heard = dict.fromkeys(self._heard, time.monotonic())
            for peer, message in self._receiver.messages():
                self._guard(self._take, peer, message)
                self._progressed = time.monotonic()
            for fd in fds:
                self._process_ended(fd)
            for run in list(self._launch.runs.values()):
                if run.due_in() == 0.0:
                    self._guard(self._commit, run)
            self._say_ends()
            now = time.monotonic()
            if now - self._looked >= HOUSEKEEPING_S or fds:
                self._looked = now
                self._keep_house(now)
                if self._may_go(now) and self._go():
                    return

    def _publish(self) -> None:
        pid = os.getpid()
        self._claim.publish(
            Record(
                address=self._receiver.address,
                nonce=self._nonce,
                pid=pid,
                start_time=process_start_time(pid),
                boot_id=boot_id(),
            )
        )

    def _next_due(self) -> float:
        waits = [due for run in self._launch.runs.values() if (due := run.due_in()) is not None]
        return min([max(0.0, self._looked + HOUSEKEEPING_S - time.monotonic()), *waits])

    def _guard(self, action: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> None:
        """Do one thing; what goes wrong with it must not cost the other ranks their writer."""
        try:
            action(*arguments, **named)
        except Exception as error:  # crash-only is for us; a poisoned message would crash each next writer, too
            text = f"{type(error).__name__}: {error}"
            if text not in self._complaints:
                self._complaints.add(text)
                traceback.print_exc(file=sys.stderr)

    # Messages

    def _take(self, peer: Peer, message: Message) -> None:
        if isinstance(message, Hello):
            self._welcome(peer, message)
        elif isinstance(message, Data | Ping | Moved):
            run = self._launch.run_of(message.incarnation)
            if run is None or self._peers.get(message.incarnation) is None:
                self._receiver.send(peer, Unknown(message.incarnation))
                return
            self._peers[message.incarnation] = peer
            self._hear(run, message.incarnation)
            source = run.sources[message.incarnation]
            if isinstance(message, Data):
                before = source.end
                run.receive(source, message.offset, message.data, urgent=message.urgent)
                if message.final:
                    self._last_words.append((run, source, message.offset + len(message.data), message.data))
                if source.end == before:
                    self._receiver.send(peer, Ack(message.incarnation, source.committed))
            elif isinstance(message, Moved):
                run.see(source, Sighting(incarnation=message.incarnation, seen="moved", time_us=now_us()))
                run.become_alias(message.to)
                self._receiver.send(peer, Ack(message.incarnation, source.committed))
            else:
                self._receiver.send(peer, Ack(message.incarnation, source.committed))

    def _welcome(self, peer: Peer, hello: Hello) -> None:
        join = hello.join
        if hello.nonce != self._nonce:
            self._receiver.send(peer, Refusal(reason="this is not the writer your record named"))
            return
        if hello.version > PROTOCOL_VERSION:
            reason = f"it speaks protocol {hello.version}, this writer {PROTOCOL_VERSION}: use one version of disttrack"
            self._receiver.send(peer, Refusal(reason=reason))
            return
        try:
            run, source = self._launch.admit(join)
        except (DisttrackError, OSError) as error:  # a newer format, a full or unwritable disk: the rank asks again
            self._receiver.send(peer, Refusal(reason=str(error)))
            raise
        self._peers[join.incarnation] = peer
        for other in run.sources.values():  # those an earlier writer admitted are ours to watch, too
            self._watch(other)
        self._hear(run, join.incarnation)
        self._busy_until = time.monotonic() + LINGER_S
        self._receiver.send(
            peer,
            Welcome(
                incarnation=join.incarnation,
                nonce=self._nonce,
                run_id=run.header.run_id,
                name=run.header.name,
                group=run.header.group,
                attempt=source.admission.attempt,
                role=source.admission.role,
                offset=Offset(source.committed),
            ),
        )

    def _hear(self, run: RunIngest, incarnation: Incarnation) -> None:
        self._heard[incarnation] = time.monotonic()
        source = run.sources[incarnation]
        if source.silent:
            run.see(source, Sighting(incarnation=incarnation, seen="running", time_us=now_us()))

    def _commit(self, run: RunIngest) -> None:
        for source in run.commit():
            peer = self._peers.get(source.join.incarnation)
            if peer is not None:
                self._receiver.send(peer, Ack(source.join.incarnation, source.committed))

    def _say_ends(self) -> None:
        """Store that ranks ended, after their last records were stored and acknowledged."""
        waiting, self._last_words = self._last_words, []
        for run, source, end, data in waiting:
            if source.over or source.end < end:
                continue  # said twice; or the disk took nothing, and the rank says it again
            if source.committed < end:
                self._last_words.append((run, source, end, data))
            else:
                self._guard(self._launch.ended, run, source, data)

    # Processes

    def _watch(self, source: Source) -> None:
        process = _process(source)
        self._heard.setdefault(source.join.incarnation, time.monotonic())
        if process not in self._watches:
            watch = self._watches[process] = Watch(source.join)
            if watch.fd >= 0:
                self._receiver.watch(watch.fd)

    def _process_ended(self, fd: int) -> None:
        self._receiver.unwatch(fd)
        next(watch for watch in self._watches.values() if watch.fd == fd).close()

    def _bury_the_dead(self) -> None:
        gone = {process: watch for process, watch in self._watches.items() if watch.fd < 0 and watch.gone()}
        dead = [
            (run, source, gone[_process(source)].ending())
            for run in self._launch.runs.values()
            for source in run.sources.values()
            if _process(source) in gone
        ]
        # Of those that are seen dead at one look, whoever was told to go comes last: the others may be why.
        for run, source, ending in sorted(dead, key=lambda death: death[2].signal == signal.SIGTERM):
            if not source.over:
                self._guard(self._bury, run, source, ending)
            else:
                self._guard(self._launch.outlived, run, source, ending)

    def _bury(self, run: RunIngest, source: Source, ending: Ending) -> None:
        self._launch.bury(run, source, ending)
        self._progressed = time.monotonic()

    # Now and then

    def _keep_house(self, now: float) -> None:
        self._bury_the_dead()
        if now - self._adopted >= ADOPT_S:
            self._adopted = now
            self._guard(self._launch.adopt)
        mark = now - self._marked >= MARKER_S
        if mark:
            self._marked = now
        for run in list(self._launch.runs.values()):
            if not run.ended:
                self._guard(self._look_after, run, now, mark)

    def _look_after(self, run: RunIngest, now: float, mark: bool) -> None:
        self._notice_silence(run, now)
        if self._is_over(run, now):
            self._launch.adopt()
            if self._is_over(run, now):
                self._launch.end_run(run)
                self._progressed = now
        elif mark:
            run.marker.touch()

    def _notice_silence(self, run: RunIngest, now: float) -> None:
        for incarnation, source in run.sources.items():
            heard = self._heard.get(incarnation, now)
            if not source.over and not source.silent and now - heard > SILENT_S and source.admission.role != "helper":
                run.see(source, Sighting(incarnation=incarnation, seen="silent", time_us=now_us()))

    def _is_over(self, run: RunIngest, now: float) -> bool:
        """Say whether every source of a run ended; while their processes live, a late rank is given a moment."""
        if not all(source.over for source in run.sources.values()):
            return False
        return now - run.changed_at >= LATE_S or not self._any_process(run)

    def _any_process(self, run: RunIngest) -> bool:
        processes = {_process(source) for source in run.sources.values() if source.admission.role != "helper"}
        return any(process in self._watches and not self._watches[process].gone() for process in processes)

    def _may_go(self, now: float) -> bool:
        """Say whether nobody needs us: all runs ended, or what is left cannot be stored and nobody lives to say more.

        In the second case the journals keep it, and the next reader on this host brings it home.
        """
        runs = self._launch.runs.values()
        alone = not any(self._any_process(run) for run in runs)
        if any(not run.ended for run in runs):
            return alone and now - self._progressed > GIVE_UP_S
        return now >= self._busy_until or (bool(runs) and alone)

    def _go(self) -> bool:
        """Withdraw, unless somebody says Hello at the last moment; say whether we are gone."""
        self._claim.withdraw()
        late = list(self._receiver.messages())
        for peer, message in late:
            self._guard(self._take, peer, message)
        if late:
            self._publish()
            return False
        self._launch.close()
        self._receiver.close()
        return True


def _process(source: Source) -> Process:
    return source.join.boot_id, source.join.pid, source.join.start_time
