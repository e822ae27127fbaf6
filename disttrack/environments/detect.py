"""Who am I: the ladder from an environment to an Identity (DESIGN §4). Pure over the mappings it is given.

The innermost launcher wins, and all fields come from one row. Rows of launchers that are not here yet
(Slurm, MPI, Ray, ...) fall through to the rows below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from disttrack.environments import process_group, ray, torchrun
from disttrack.environments.launch import Identity, own_key, parent_key
from disttrack.errors import UsageError
from disttrack.records.types import Rank
from disttrack.settings import Settings

__all__ = ["detect", "single"]


def detect(environ: Mapping[str, str], modules: Mapping[str, Any], settings: Settings) -> Identity:
    """Return who this process is; raise UsageError only for ranks that were set by hand and make no sense."""
    return (
        _explicit(environ, modules, settings)
        or ray.identity(environ, modules)
        or _in_group(environ, modules)
        or torchrun.identity(environ)
        or single(settled=not process_group.may_appear(modules))
    )


def single(*, settled: bool) -> Identity:
    """Return the identity of a process by itself; unsettled while a process group may still tell more."""
    return Identity(Rank(rank=0, world_size=1, local_rank=0, source="single process", settled=settled), own_key())


def _in_group(environ: Mapping[str, str], modules: Mapping[str, Any]) -> Identity | None:
    """Return the place in a live process group, but the launch of the launcher: that one survives restarts."""
    group, launcher = process_group.identity(modules), torchrun.identity(environ)
    if group is None or launcher is None:
        return group
    same = (group.rank.rank, group.rank.world_size) == (launcher.rank.rank, launcher.rank.world_size)
    return launcher if same else launcher._replace(rank=group.rank)


def _explicit(environ: Mapping[str, str], modules: Mapping[str, Any], settings: Settings) -> Identity | None:
    if settings.rank is None and settings.world_size is None:
        return None
    if settings.rank is None or settings.world_size is None:
        raise UsageError(
            f"rank={settings.rank} and world_size={settings.world_size} cannot be used",
            "one of them is missing",
            "Set both, or neither and let disttrack detect them.",
        )
    if not settings.rank < settings.world_size:
        raise UsageError(
            f"rank={settings.rank} cannot be used",
            f"world_size is {settings.world_size}",
            "Ranks run from 0 to world_size - 1.",
        )
    place = Rank(rank=settings.rank, world_size=settings.world_size, local_rank=settings.local_rank, source="settings")
    around = _in_group(environ, modules) or torchrun.identity(environ)
    return around._replace(rank=place) if around else Identity(place, parent_key())
