"""horovodrun (Gloo): ranks from its variables. Under mpirun it sets none, and the ranks are those of MPI."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from disttrack.environments.host import boot_id
from disttrack.environments.launch import Identity, launcher_key
from disttrack.environments.variables import Names, node_count, place

__all__ = ["NAMES", "identity"]

NAMES = Names("Horovod", "HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE")
RENDEZVOUS = ("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT")
SECRET = "_HOROVOD_SECRET_KEY"


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is under horovodrun; None where the variables are not there or make no sense."""
    rank = place(environ, NAMES)
    if rank is None:
        return None
    # Not the parent: horovodrun has a process of its own between it and each rank.
    launch = _launch(environ)
    key = f"horovod:{boot_id()}:{launch}" if launch else launcher_key(environ, NAMES[1:3])
    nodes = node_count(environ, rank.world_size, local=NAMES.local_world_size, nodes="HOROVOD_CROSS_SIZE")
    return Identity(rank, key, meeting=f"file:horovod-{launch}" if launch and nodes != 1 else "", nodes=nodes)


def _launch(environ: Mapping[str, str]) -> str:
    """Return what tells this launch from every other: its rendezvous server, and the secret it was made with."""
    address = [environ.get(name, "") for name in RENDEZVOUS]
    if not all(address):
        return ""
    secret = hashlib.sha256(environ.get(SECRET, "").encode()).hexdigest()[:16]
    return ":".join([*address, secret])
