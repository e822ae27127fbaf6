"""What each launcher's variables say of this process's rank, whether or not detection heeds them: to show where they
contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from disttrack.environments import horovod, lightning, lsf, mpi, rank_variables, slurm
from disttrack.environments.variables import Names, number

__all__ = ["Statement", "statements", "variables"]


class Statement(NamedTuple):
    """One source's word on who this process is. trouble: why it cannot be believed; then its numbers may be None."""

    source: str
    variables: tuple[str, str]
    rank: int | None
    world_size: int | None
    trouble: str | None


# RANK and WORLD_SIZE are also torchrun's, DeepSpeed's and many more's.
_SOURCES = (
    rank_variables.BARE,
    horovod.NAMES,
    mpi.OPEN_MPI,
    mpi.MVAPICH,
    mpi.PMI,
    slurm.NAMES,
    lsf.NAMES,
)


def variables() -> tuple[str, ...]:
    """Return the variables that tell one rank of a launch from the others."""
    return (*(names.rank for names in _SOURCES), "LOCAL_RANK")


def statements(environ: Mapping[str, str]) -> Iterator[Statement]:
    """Yield what is said by those who say anything."""
    for names in _SOURCES:
        said = names.rank in environ or names.world_size in environ
        if not said or any(name not in environ for name in names.besides):
            continue
        if names is rank_variables.BARE and lightning.identity(environ) is not None:
            continue  # its children have a WORLD_SIZE, and no RANK
        rank, size = number(environ.get(names.rank)), number(environ.get(names.world_size))
        yield Statement(names.source, names[1:3], rank, size, _trouble(environ, names, rank, size))


def _trouble(environ: Mapping[str, str], names: Names, rank: int | None, size: int | None) -> str | None:
    for name, said in ((names.rank, rank), (names.world_size, size)):
        if name not in environ:
            return f"{name} is not set"
        if said is None:
            return f"{name}={environ[name]!r:.40} is no number"
    if rank is not None and size is not None and not rank < size:
        return f"{names.rank}={rank} is not below {names.world_size}={size}"
    local = names.local_rank or "LOCAL_RANK" * (names is rank_variables.BARE)
    if environ.get(local) and number(environ[local]) is None:
        return f"{local}={environ[local]!r:.40} is no number"
    return None
