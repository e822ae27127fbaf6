"""Who am I: the ladder from an environment to an Identity (DESIGN §4). Pure over the mappings it is given.

The innermost launcher wins, and all fields come from one row. Beside the ladder stands the scheduler's job around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from disttrack.environments import (
    deepspeed,
    horovod,
    lightning,
    lsf,
    mpi,
    process_group,
    rank_variables,
    ray,
    slurm,
    torchrun,
)
from disttrack.environments.launch import Identity, launcher_key, own_key
from disttrack.environments.processes import inherited
from disttrack.environments.statements import variables
from disttrack.environments.variables import master_meeting
from disttrack.errors import UsageError
from disttrack.records.types import Rank, changed
from disttrack.settings import PREFIX, Settings

__all__ = ["detect", "in_group", "single"]

LAUNCHERS: tuple[Callable[[Mapping[str, str]], Identity | None], ...] = (
    torchrun.identity,  # its agent is the innermost under Slurm, MPI and Kubernetes
    horovod.identity,
    deepspeed.identity,
    rank_variables.identity,
    lightning.identity,
    mpi.identity,  # mpirun in a batch script is further in than Slurm
    slurm.identity,
    lsf.identity,
    rank_variables.of_node,
)
"""What launchers say in variables, the innermost first."""


def detect(environ: Mapping[str, str], modules: Mapping[str, Any], settings: Settings) -> Identity:
    """Return who this process is; raise UsageError only for ranks that were set by hand and make no sense."""
    found = (
        _by_hand(environ, modules, settings)
        or ray.identity(environ, modules)  # it knows better than what leaked into its workers
        or in_group(environ, modules)
        or _of_launcher(environ, modules)
        or single(settled=not process_group.may_appear(modules))
    )
    return found._replace(job=slurm.job(environ, modules))


def single(*, settled: bool) -> Identity:
    """Return the identity of a process by itself; unsettled while a process group may still tell more."""
    return Identity(Rank(rank=0, world_size=1, local_rank=0, source="single process", settled=settled), own_key())


def in_group(environ: Mapping[str, str], modules: Mapping[str, Any]) -> Identity | None:
    """Return the place in a live process group; the launch is the launcher's where that started all of the group.

    Its launch survives restarts. A group that is smaller is a part of the launch, and says nothing about the whole.
    """
    group, launcher = process_group.identity(modules), _of_launcher(environ, modules)
    if group is None or launcher is None:
        return group
    if launcher.launch_key is None or _is_inherited(environ, modules):
        return group
    if launcher.rank.world_size != group.rank.world_size:
        return launcher if launcher.rank.world_size > group.rank.world_size else group
    same = launcher.rank.rank == group.rank.rank
    return launcher._replace(rank=changed(launcher.rank, settled=True) if same else group.rank)


def _of_launcher(environ: Mapping[str, str], modules: Mapping[str, Any]) -> Identity | None:
    """Return what the innermost launcher says whose variables make sense."""
    found = next(filter(None, (identity(environ) for identity in LAUNCHERS)), None)
    if found is None:
        return None
    if found.rank.world_size == 1 and found.rank.source != torchrun.NAMES.source:
        # One of one is no launch with others: what is started from a shell inside it are runs of their own.
        rank = changed(found.rank, settled=not process_group.may_appear(modules))
        return found._replace(rank=rank, launch_key=own_key(), meeting="", nodes=1)
    if _is_inherited(environ, modules):
        return found._replace(rank=changed(found.rank, settled=False))
    return found


def _is_inherited(environ: Mapping[str, str], modules: Mapping[str, Any]) -> bool:
    """Say whether this process was started by a rank and is none itself, whatever it inherited."""
    return inherited(environ, modules, variables())


def _by_hand(environ: Mapping[str, str], modules: Mapping[str, Any], settings: Settings) -> Identity | None:
    """Return the place that the settings name, in the launch around it."""
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
    around = ray.identity(environ, modules) or in_group(environ, modules) or _of_launcher(environ, modules)
    if around is not None and (around.rank.world_size > 1 or around.rank.source == torchrun.NAMES.source):
        return around._replace(rank=place)
    if settings.world_size == 1:
        return Identity(place, own_key(), nodes=1)
    key = launcher_key(environ, (f"{PREFIX}RANK", f"{PREFIX}WORLD_SIZE"))
    return Identity(place, key, meeting=master_meeting(environ, None))
