"""The disks under runs, journals, runtime directory and index: of what kind, with how much room, a test of each."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from disttrack.doctor.clocks import compared
from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning
from disttrack.environments.host import (
    filesystem_type,
    is_network_filesystem,
    journal_places,
    runtime_places,
    try_lock,
)
from disttrack.index.sqlite import index_paths
from disttrack.transport.rendezvous import socket_path

__all__ = ["check_index", "check_journal_place", "check_root", "check_runtime"]

PROBE_BYTES = 64 << 10
LITTLE_BYTES, TOO_LITTLE_BYTES = 1 << 30, 64 << 20
LITTLE_FILES = 1_000
SLOW_S = 1.0
SOCKET_PATH_BYTES = 107  # sun_path of the kernel, less its end
MEMORY = ("tmpfs", "ramfs")


class _Probe(NamedTuple):
    """What a test file told. took_s: to be written, synced and removed. ahead_s: the file system's clock to ours."""

    took_s: float
    ahead_s: float
    locks: bool


def check_root(around: Surroundings) -> Iterator[Finding]:
    """Test the directory of the runs."""
    root = around.root
    where = _existing(root)
    there = "" if where == root else f" (not made yet; {where} is tested in its place)"
    facts = _facts(root)
    if not where.is_dir():
        text = f"runs go to {root}, but {where} is no directory"
        yield failed("disks.root", text, f"move {where} away, or name another place with DISTTRACK_DIR", **facts)
        return
    try:
        probe = _probe(where)
    except OSError as error:
        yield failed(
            "disks.root",
            f"runs cannot be written to {root}{there}: {error.strerror}",
            f"make {where} writable for this user, or name another place with DISTTRACK_DIR; what ranks log waits "
            "in their journals until then",
            **facts,
        )
        return
    text = f"runs go to {root}{there}, {_kind(where)}; a file is stored in {1000 * probe.took_s:.0f} ms"
    if probe.took_s > SLOW_S:
        fix = "the writer waits for it, ranks do not; journals grow meanwhile"
        yield warning("disks.root", text, fix, **facts, took_s=probe.took_s)
    else:
        yield good("disks.root", text, **facts, took_s=probe.took_s)
    if not facts["network"] and (around.identity.nodes or 1) > 1:
        yield warning(
            "disks.root_shared",
            f"{root} is on a local disk and the launch has {around.identity.nodes} nodes: the runs are on the writer's "
            "node alone, and no other node can succeed it",
            "name a shared directory with DISTTRACK_DIR",
            **facts,
        )
    yield from _room("disks.root_room", where)
    yield compared("clocks.root", f"the clock of the file system of {where}", probe.ahead_s, probe.took_s + 0.01)


def check_journal_place(around: Surroundings) -> Iterator[Finding]:
    """Test where the next rank's journal would lie."""
    chosen = around.settings.journal_dir
    tried: list[str] = []
    for place in journal_places(chosen, around.environ):
        where = _existing(place)
        facts = _facts(place)
        try:
            probe = _probe(where)
        except OSError as error:
            tried.append(f"{where} ({error.strerror})")
            continue
        text = f"journals go to {place}, {_kind(where)}; a file is stored in {1000 * probe.took_s:.0f} ms"
        if tried:
            text += f"; not to {', '.join(tried)}"
        if facts["filesystem"] in MEMORY:
            fix = "name a directory on a disk with DISTTRACK_JOURNAL_DIR"
            yield warning(
                "disks.journals", f"{text}; what is not stored yet is lost with this node's power", fix, **facts
            )
        elif tried and chosen:
            yield warning("disks.journals", text, f"make {chosen} writable for this user", **facts)
        else:
            yield good("disks.journals", text, **facts)
        yield from _room("disks.journals_room", where)
        break
    else:
        yield failed(
            "disks.journals",
            f"no local directory takes a journal, so nothing that ranks log here is kept; tried: {', '.join(tried)}",
            "free some space, or name a local directory with DISTTRACK_JOURNAL_DIR",
        )
    if chosen and is_network_filesystem(Path(chosen)):
        yield warning(
            "disks.journals_network",
            f"{chosen} is on {filesystem_type(Path(chosen))}, which other hosts share: it takes no journals",
            "name a directory on a local disk with DISTTRACK_JOURNAL_DIR",
        )


def check_runtime(around: Surroundings) -> Iterator[Finding]:
    """Test where the processes of this node meet."""
    runtime = around.runtime
    if runtime is None:
        places = ", ".join(map(str, runtime_places(around.settings.runtime_dir)))
        text = f"no directory where processes of this node could meet: {places} cannot be had"
        yield failed(
            "disks.runtime", text, "name one that is yours alone with DISTTRACK_RUNTIME_DIR, the same in all ranks"
        )
        return
    facts = _facts(runtime)
    room_bytes = SOCKET_PATH_BYTES - len(os.fsencode(socket_path(runtime, "", "0" * 8)))
    if room_bytes < 0:
        yield failed(
            "disks.runtime",
            f"{runtime} is {-room_bytes} bytes too long for sockets: no rank finds a writer, journals keep it all",
            "name a shorter one with DISTTRACK_RUNTIME_DIR, the same in all ranks",
            **facts,
        )
        return
    try:
        probe = _probe(runtime)
    except OSError as error:
        fix = "free some space, or name another with DISTTRACK_RUNTIME_DIR, the same in all ranks"
        yield failed("disks.runtime", f"{runtime} cannot be written: {error.strerror}", fix, **facts)
        return
    if not probe.locks:
        yield failed(
            "disks.runtime",
            f"{runtime} is on {_kind(runtime)}, which has no locks (flock): two writers may serve one launch",
            "name a directory on a local disk with DISTTRACK_RUNTIME_DIR, the same in all ranks",
            **facts,
        )
    elif facts["network"]:
        text = f"processes of this node meet in {runtime}, {_kind(runtime)}: sockets and locks may not work there"
        yield warning("disks.runtime", text, "name a local directory with DISTTRACK_RUNTIME_DIR", **facts)
    else:
        yield good("disks.runtime", f"processes of this node meet in {runtime}, {_kind(runtime)}", **facts)


def check_index(around: Surroundings) -> Iterator[Finding]:
    """Tell where the index lies."""
    if not around.root.is_dir():
        return
    path = next(index_paths(around.root, around.environ), None)
    if path is None:
        text = "no local directory takes the index: each command reads all runs anew"
        yield warning("disks.index", text, "name a local directory with DISTTRACK_CACHE_DIR")
        return
    size_bytes = path.stat().st_size if path.exists() else None
    size = "not built yet" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"
    text = f"the index is {path} ({size}), {_kind(path.parent)}"
    yield good("disks.index", text, **_facts(path), bytes=size_bytes)


def _existing(path: Path) -> Path:
    """Return a path, or what of it exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _facts(path: Path) -> dict[str, object]:
    where = _existing(path)
    return {
        "path": str(path),
        "filesystem": filesystem_type(where) or None,
        "network": is_network_filesystem(where),
    }


def _kind(path: Path) -> str:
    kind = filesystem_type(path)
    if not kind:
        return "a file system of unknown kind"
    if kind in MEMORY:
        return f"in memory ({kind})"
    return f"shared with other hosts ({kind})" if is_network_filesystem(path) else f"local ({kind})"


def _probe(directory: Path) -> _Probe:
    """Write, sync, look at and remove a file; raise OSError where that cannot be done."""
    path = directory / f".disttrack-doctor-{secrets.token_hex(8)}"
    before, began = time.time(), time.monotonic()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        locks = try_lock(fd)
        data = bytes(PROBE_BYTES)
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
        changed = os.stat(path).st_mtime
        after = time.time()
    finally:
        os.close(fd)
        os.unlink(path)
    return _Probe(time.monotonic() - began, changed - (before + after) / 2, locks)


def _free(where: Path) -> tuple[int, int | None]:
    """Return how many bytes and files this user may still store; some file systems, and Windows, count no files."""
    if not hasattr(os, "statvfs"):
        return shutil.disk_usage(where).free, None
    found = os.statvfs(where)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def _room(check: str, where: Path) -> Iterator[Finding]:
    free_bytes, free_files = _free(where)
    facts: dict[str, object] = {"path": str(where), "free_bytes": free_bytes, "free_files": free_files}
    files = "" if free_files is None else f", {free_files:,} files"
    text = f"{free_bytes / 1e9:,.1f} GB{files} free for this user in {where}"
    few = free_files is not None and free_files < LITTLE_FILES
    if free_bytes < TOO_LITTLE_BYTES or few:
        yield failed(check, text, f"free some space there: df -h {where}; df -i {where}", **facts)
    elif free_bytes < LITTLE_BYTES:
        yield warning(check, text, f"free some space there: df -h {where}", **facts)
    else:
        yield good(check, text, **facts)
