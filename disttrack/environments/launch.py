"""What a detected environment says: who this process is, and which launch it belongs to.

The launch key ties ranks together before anyone talks: equal in all ranks of one launch, different
in every other. It is never the group, which people choose and reuse.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from disttrack.environments.host import boot_id, is_alive, parent_of, process_environ, process_start_time
from disttrack.records.types import Rank

__all__ = ["Identity", "launcher_key", "launcher_lives", "launcher_pid", "own_key", "owner_is_gone", "parent_key"]


class Identity(NamedTuple):
    """A rank, its launch, and what tells one attempt of that launch from the next.

    launch_key is None where only the process group's store can tell (environments.process_group). It is the same in
    all ranks of a node; how nodes find each other is meeting: "tcp://host:port/name", a TCPStore and the launch's
    name in it, or "file:name", a file in the runs' root; "" where there is one node only. nodes: None if unknown.
    """

    rank: Rank
    launch_key: str | None
    hints: tuple[tuple[str, str], ...] = ()
    meeting: str = ""
    nodes: int | None = None


def own_key() -> str:
    """Return the key of a process that is a launch by itself; its runs in a loop share it, and so one writer."""
    pid = os.getpid()
    return f"process:{boot_id()}:{pid}:{process_start_time(pid)}"


def owner_is_gone(launch_key: str) -> bool:
    """Say whether no process of this launch can come any more, because the one that starts them has ended."""
    kind, _, owner = launch_key.partition(":")
    if kind not in ("process", "parent"):
        return False
    boot, pid, start_time = owner.rsplit(":", 2)
    if pid == "0":  # the ranks' parent stands outside their container: not ours to see
        return False
    return boot == boot_id() and not is_alive(int(pid), int(start_time))


def launcher_lives(launch_key: str) -> bool:
    """Say whether the process that starts this launch's ranks on this host is known, and runs."""
    return launch_key.startswith("parent:") and not owner_is_gone(launch_key)


def parent_key(pid: int | None = None) -> str:
    """Return the key of a launch whose ranks one process of this host started (default: this process's parent)."""
    pid = os.getppid() if pid is None else pid
    return f"parent:{boot_id()}:{pid}:{process_start_time(pid)}"


def launcher_key(environ: Mapping[str, str], names: Iterable[str]) -> str:
    """Return the key of the launch whose ranks the launcher on this host started, told by these variables."""
    return parent_key(launcher_pid(environ, names))


def launcher_pid(environ: Mapping[str, str], names: Iterable[str]) -> int:
    """Return the nearest ancestor that was not itself started as this rank: what started it, on this host.

    names: the variables that tell the ranks apart. The rank may stand below a wrapper (bash, numactl) that inherited
    the same ones.
    """
    said = {name: environ[name] for name in names if name in environ}
    pid = os.getppid()
    while said and pid > 1:
        started_with = process_environ(pid)
        if started_with is None or any(started_with.get(name) != value for name, value in said.items()):
            break
        pid = parent_of(pid)
    return pid
