"""What each launcher's variables say of this process's rank, whether or not detection heeds them: to show where they
contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

__all__ = ["Statement", "statements"]


class Statement(NamedTuple):
    """One source's word on who this process is. trouble: why it cannot be believed; then its numbers may be None."""

    source: str
    variables: tuple[str, str]
    rank: int | None
    world_size: int | None
    trouble: str | None


# (source, rank, world size, what must be there besides), facts/launchers.md §1
_SOURCES = (
    ("RANK and WORLD_SIZE", "RANK", "WORLD_SIZE", ""),
    ("Horovod", "HOROVOD_RANK", "HOROVOD_SIZE", ""),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ""),
    ("MVAPICH2", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", ""),
    ("PMI", "PMI_RANK", "PMI_SIZE", ""),
    ("Slurm step", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"),  # a batch script has no step
    ("LSF", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", ""),
)


def statements(environ: Mapping[str, str]) -> Iterator[Statement]:
    """Yield what is said by those who say anything."""
    for source, rank_name, size_name, besides in _SOURCES:
        if (besides and besides not in environ) or (rank_name not in environ and size_name not in environ):
            continue
        rank, size = _number(environ.get(rank_name)), _number(environ.get(size_name))
        yield Statement(source, (rank_name, size_name), rank, size, _trouble(environ, rank_name, size_name, rank, size))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None


def _trouble(
    environ: Mapping[str, str], rank_name: str, size_name: str, rank: int | None, size: int | None
) -> str | None:
    for name, number in ((rank_name, rank), (size_name, size)):
        if name not in environ:
            return f"{name} is not set"
        if number is None:
            return f"{name}={environ[name]!r:.40} is no number"
    if rank is not None and size is not None and not rank < size:
        return f"{rank_name}={rank} is not below {size_name}={size}"
    return None
