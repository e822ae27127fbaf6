"""Who this process is, which source said so, and who says otherwise; and where each setting comes from."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import fields

from disttrack.api.attach import job_type_maker
from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning
from disttrack.environments.processes import PARENT
from disttrack.environments.statements import Statement, statements
from disttrack.errors import UsageError
from disttrack.settings import PREFIX, Settings, given_outside
from disttrack.transport.curve import JOB_KEY

__all__ = ["check_place", "check_settings", "in_launch"]


def in_launch(around: Surroundings) -> bool:
    """Say whether a launcher started this process as one of several ranks."""
    return around.identity.rank.world_size > 1


def check_place(around: Surroundings) -> Iterator[Finding]:
    """Tell what init() would find out here, and what contradicts it."""
    identity, rank = around.identity, around.identity.rank
    said = list(statements(around.environ))
    if rank.source == "single process" and not said:
        yield good(
            "rank.detected",
            "no launcher around this process: it is rank 0 of 1. To see what ranks will find, put "
            "`-m disttrack doctor` in place of the script: torchrun --nproc-per-node 2 -m disttrack doctor",
            **_place(around),
        )
        return
    local = "" if rank.local_rank is None else f", local rank {rank.local_rank}"
    nodes = "" if identity.nodes is None else f", on {identity.nodes} node{'' if identity.nodes == 1 else 's'}"
    yield good(
        "rank.detected",
        f"rank {rank.rank} of {rank.world_size}{local}{nodes}: from {rank.source}",
        **_place(around),
    )
    for statement in said:
        finding = _compared(around, statement)
        if finding is not None:
            yield finding
    if identity.launch_key is not None and in_launch(around):
        yield good("rank.launch", f"launch key {identity.launch_key}", launch_key=identity.launch_key)
        where = f"the nodes meet at {identity.meeting}" if identity.meeting else "one node: nothing to meet at"
        yield good("rank.meeting", where, meeting=identity.meeting or None)
    job_type = job_type_maker(around.settings)(rank)
    if job_type is not None:
        yield good("rank.job_type", f"job type {job_type}", job_type=job_type)


def _place(around: Surroundings) -> dict[str, object]:
    rank = around.identity.rank
    return {
        "rank": rank.rank,
        "world_size": rank.world_size,
        "local_rank": rank.local_rank,
        "nodes": around.identity.nodes,
        "source": rank.source,
        "settled": rank.settled,
    }


def _compared(around: Surroundings, statement: Statement) -> Finding | None:
    """Return what one source says, where that is not what was detected."""
    rank, nodes = around.identity.rank, around.identity.nodes
    facts = {"source": statement.source, "rank": statement.rank, "world_size": statement.world_size}
    rank_name, size_name = statement.variables
    if statement.trouble is not None:
        fix = f"set {rank_name} and {size_name} both, or unset both"
        return warning("rank.contradiction", f"{statement.source} is not heeded: {statement.trouble}", fix, **facts)
    if (statement.rank, statement.world_size) == (rank.rank, rank.world_size):
        return None
    says = f"{statement.source} says rank {statement.rank} of {statement.world_size}"
    if nodes is not None and statement.world_size == nodes:
        return good("rank.around", f"{says}: the launcher of the nodes, around {rank.source}", **facts)
    if statement.world_size == 1:
        return good("rank.around", f"{says}: left over from the shell around it", **facts)
    by_hand = rank.source == "settings"
    unset = f"{PREFIX}RANK and {PREFIX}WORLD_SIZE" if by_hand else f"{rank_name} and {size_name}"
    fix = f"unset {unset} if they are left over from another launch"
    return warning("rank.contradiction", f"{says}; {rank.source} has the last word", fix, **facts)


def check_settings(around: Surroundings) -> Iterator[Finding]:
    """Tell which settings files and the environment give, and which names mean nothing."""
    try:
        for name, (value, source) in sorted(given_outside(around.environ).items()):
            yield good("settings.given", f"{name} = {value!r}, from {source}", setting=name, value=value, source=source)
    except UsageError as error:
        yield failed("settings.given", f"{error.what}: {error.why}; here the defaults stand in", error.mend)
    names = [PREFIX + field.name.upper() for field in fields(Settings)]
    for name in sorted(around.environ):
        if name.startswith(PREFIX) and name not in (*names, PARENT, JOB_KEY):
            near = difflib.get_close_matches(name, names, n=1)
            fix = f"did you mean {near[0]}?" if near else "docs/settings.md has the names there are"
            yield warning("settings.unknown", f"{name} is set, and means nothing to disttrack", fix, variable=name)
    if around.settings.mode == "disabled":
        yield warning("settings.mode", "mode is disabled: nothing is kept", "unset DISTTRACK_MODE to track this job")
