"""The node process's loop: messages, process ends, what is due, and when to go."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

from disttrack.journal.directories import remove_rests
from disttrack.transport.protocol import Ask, Message
from disttrack.transport.receiver import Peer
from disttrack.transport.rendezvous import Claim, remove_empty_log, remove_sockets
from disttrack.writer.choice import Choice
from disttrack.writer.node import Node, Part
from disttrack.writer.sweeping import may_sweep, start_sweeping

__all__ = ["main"]

HOUSEKEEPING_S = 1.0
SWEEP_S = 2.0  # after our start: ranks that wait for us come first


def main(runtime: str, launch_key: str) -> int:
    """Be the process of a launch on this node until its ranks have ended; return at once if another one is."""
    claim = Claim(Path(runtime), launch_key)
    if not claim.take():
        return 0
    _stand_aside()
    claim.sweep()
    remove_sockets(Path(runtime), launch_key)
    _serve(Node(Path(runtime), launch_key, claim))
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


def _serve(node: Node) -> None:
    """Publish where we listen, and work until nobody needs us."""
    node.publish()
    part: Part = Choice(node)
    looked = 0.0
    sweeping = _Sweeping(node)
    while True:
        fds = node.receiver.wait(min(part.due_s(), max(0.0, looked + HOUSEKEEPING_S - time.monotonic())))
        for fd in fds:
            node.watches.ended(fd)
        now = time.monotonic()
        keep_house = bool(fds) or now - looked >= HOUSEKEEPING_S
        if fds:
            part.keep_house(now)  # before new messages: who replaces a dead rank comes after it
        for peer, message in node.receiver.messages():
            _take(node, part, peer, message)
        part.work()
        if keep_house:
            looked = now
            part.keep_house(now)
            sweeping.keep_house(now)
        part = part.next_part()
        if keep_house and part.may_go(now) and _go(node, part):
            return


class _Sweeping:
    """Has the journals removed that killed processes of earlier launches left on this node: once, beside the loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._due: float | None = time.monotonic() + SWEEP_S
        self._process: subprocess.Popen[bytes] | None = None

    def keep_house(self, now: float) -> None:
        if self._due is not None and now >= self._due:
            self._due = None
            self._node.guard(self._begin)
        if self._process is not None and self._process.poll() is not None:
            self._process = None

    def _begin(self) -> None:
        remove_rests(self._node.runtime)
        if may_sweep(self._node.runtime, self._node.launch_key):
            self._process = start_sweeping(self._node.runtime)


def _take(node: Node, part: Part, peer: Peer, message: Message) -> None:
    """Answer whoever only asks; all else is the part's."""
    if isinstance(message, Ask):
        node.guard(lambda: node.receiver.send(peer, part.status()))
    else:
        node.guard(part.take, peer, message)


def _go(node: Node, part: Part) -> bool:
    """Withdraw, unless somebody says Hello at the last moment; say whether we are gone."""
    node.claim.withdraw()
    late = list(node.receiver.messages())
    for peer, message in late:
        _take(node, part, peer, message)
    if any(not isinstance(message, Ask) for _, message in late):
        node.publish()
        return False
    part.close()
    node.close()
    return True
