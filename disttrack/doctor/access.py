"""Who can read and write what disttrack keeps: the runs, the runtime directory, and the keys between nodes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning
from disttrack.environments.host import runtime_places
from disttrack.transport.curve import JOB_KEY, job_key_trouble
from disttrack.transport.meeting import private_files

__all__ = ["check_access"]


def check_access(around: Surroundings) -> Iterator[Finding]:
    """Tell who may read the runs, and whether what is private is."""
    if around.root.is_dir():
        yield from _root(around.root)
        for path in private_files(around.root):
            yield from _private("access.meeting_files", path)
    if around.runtime is not None:
        best = runtime_places(around.settings.runtime_dir)[0]
        if around.runtime != best:
            yield warning(
                "access.runtime_taken",
                f"{best} cannot be used (another user's, or no directory), so {around.runtime} is",
                f"remove {best}; ranks that find another directory would not find their writer",
                path=str(best),
            )
        found = os.lstat(around.runtime)
        yield good(
            "access.runtime",
            f"{around.runtime} is open to {_owner(around.runtime)} alone (mode {stat.S_IMODE(found.st_mode):04o})",
            path=str(around.runtime),
            owner=_owner(around.runtime),
            mode=f"{stat.S_IMODE(found.st_mode):04o}",
        )
    yield _job_key((around.identity.nodes or 1) > 1)


def _root(root: Path) -> Iterator[Finding]:
    found = root.stat()
    mode = stat.S_IMODE(found.st_mode)
    owner, group = _owner(root), _group(root)
    facts: dict[str, object] = {"path": str(root), "owner": owner, "group": group, "mode": f"{mode:04o}"}
    told = f"{root} belongs to {owner}, group {group}, mode {mode:04o}"
    shut = _shut_above(root)
    if mode & stat.S_IWOTH and shut is None:
        yield failed(
            "access.root",
            f"{told}: every user of this host can change and remove runs",
            f"chmod o-w {root}",
            **facts,
            readable_by="everybody",
        )
    elif mode & stat.S_IROTH and shut is None:
        yield warning(
            "access.root",
            f"{told}: every user of this host can read the runs",
            f"chmod o-rx {root}, unless that is meant",
            **facts,
            readable_by="everybody",
        )
    else:
        by_group = bool(mode & stat.S_IRGRP) and shut is None
        who = f"{owner} and the group {group}" if by_group else owner
        behind = "" if shut is None else f" ({shut} is closed to others)"
        text = f"{told}: {who} can read the runs{behind}"
        yield good("access.root", text, **facts, readable_by="group" if by_group else "owner")


def _shut_above(path: Path) -> Path | None:
    """Return the directory above a path that others cannot pass; None where there is none."""
    for parent in Path(os.path.realpath(path)).parents:
        if not stat.S_IMODE(parent.stat().st_mode) & stat.S_IXOTH:
            return parent
    return None


def _private(check: str, path: Path) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
    except FileNotFoundError:
        return  # its launch has ended
    if mode & 0o077:
        yield failed(
            check,
            f"{path} may hold keys between nodes, and others may read it (mode {mode:04o})",
            f"chmod go-rwx {path}; jobs that run now should be started again",
            path=str(path),
            mode=f"{mode:04o}",
        )


def _job_key(nodes: bool) -> Finding:
    source, trouble, mend = job_key_trouble()
    facts = {"source": source}
    if source is not None and trouble is not None:
        return failed("access.job_key", f"the job key in {source} is not used: {trouble}", mend, **facts)
    if source is not None:
        return good(
            "access.job_key", f"nodes prove themselves by the job key in {source}; no store carries it", **facts
        )
    text = "no job key: the key between nodes travels through where they meet, and who can read that store has it"
    if nodes:
        return warning(
            "access.job_key", text, f"export {JOB_KEY}, the same on every node, where others share it", **facts
        )
    return good("access.job_key", "no job key; one node needs none", **facts)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, NotImplementedError):  # a user of another host; Windows
        return str(path.stat().st_uid)


def _group(path: Path) -> str:
    try:
        return path.group()
    except (KeyError, NotImplementedError):
        return str(path.stat().st_gid)
