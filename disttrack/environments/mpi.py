"""MPI's launchers: Open MPI, MVAPICH2, and those of the PMI family (MPICH and Intel MPI by Hydra)."""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments.host import process_arguments
from disttrack.environments.launch import Identity, launcher_pid, parent_key
from disttrack.environments.variables import Names, node_count, place
from disttrack.records.types import Rank

__all__ = ["MVAPICH", "OPEN_MPI", "PMI", "identity"]

OPEN_MPI = Names(
    "Open MPI",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
)
MVAPICH = Names(
    "MVAPICH2",
    "MV2_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_SIZE",
)
PMI = Names("PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
PORT = "--control-port"  # of Hydra's proxies: where mpiexec listens, in the arguments of the one on each node


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is under an mpirun; None where no family's variables make sense."""
    for names in (OPEN_MPI, MVAPICH, PMI):
        rank = place(environ, names)
        if rank is not None and not (names is PMI and _is_sruns(environ)):
            return _identity(environ, names, rank)
    return None


def _identity(environ: Mapping[str, str], names: Names, rank: Rank) -> Identity:
    nodes = node_count(
        environ,
        rank.world_size,
        local=names.local_world_size,
        nodes="OMPI_MCA_orte_num_nodes" if names is OPEN_MPI else "",
    )
    launcher = launcher_pid(environ, names[1:3])
    launch = _openmpi_launch(environ) if names is OPEN_MPI else _hydra_launch(launcher)
    return Identity(rank, parent_key(launcher), meeting=f"file:{launch}" if launch and nodes != 1 else "", nodes=nodes)


def _is_sruns(environ: Mapping[str, str]) -> bool:
    """Say whether srun itself set PMI's variables (--mpi=pmi2): then Slurm's own say more."""
    same = environ.get("PMI_RANK") == environ.get("SLURM_PROCID")
    return "SLURM_STEP_ID" in environ and same and PMI.local_rank not in environ


def _openmpi_launch(environ: Mapping[str, str]) -> str:
    """Return what tells this mpirun from every other, on all its nodes."""
    # Random in each launch of Open MPI 2 to 4; its successor has the host and the pid in the name.
    nonce = environ.get("OMPI_MCA_orte_precondition_transports") or environ.get("PMIX_NAMESPACE")
    return f"openmpi-{nonce}" if nonce else ""


def _hydra_launch(proxy: int) -> str:
    """Return where mpiexec listens for its proxies, one of which is the parent of this node's ranks."""
    arguments = process_arguments(proxy)
    following = arguments[arguments.index(PORT) + 1 :] if PORT in arguments else []
    return f"hydra-{following[0]}" if following else ""
