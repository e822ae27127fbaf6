"""Ray: a worker of Ray Train is a rank of its Train run, a trial of Ray Tune is a run by itself.

Ray is never imported for this: where nobody loaded it, there is no such context. A Ray process works for one trial or
worker after the other, so the context alone tells whose work it is now; never the environment, which they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from disttrack.environments.launch import Identity
from disttrack.records.types import Rank

__all__ = [
    "PREFIX",
    "Experiment",
    "directory_of",
    "experiment",
    "identity",
    "launch_of",
    "train_identity",
    "trial_identity",
]

PREFIX = "ray:"
"""Every launch key under Ray begins so: its writer runs on the head of the cluster (transport.hosting)."""
TRAIN, TUNE = "Ray Train", "Ray Tune"
WORKER_GROUP = "RAY_TRAIN_WORKER_GROUP"
"""A hint: Train starts all workers anew after a failure, and each such group has a synchronization actor of its own."""


class Experiment(NamedTuple):
    """A Tune experiment or a Train run: its name, and where it keeps its results; None where that is no directory."""

    name: str | None
    storage: str | None


def identity(environ: Mapping[str, str], modules: Mapping[str, Any]) -> Identity | None:
    """Return who this process is as a worker of Train or as a trial of Tune; None where it is neither.

    A trial does not read the ranks that the environment tells of: they are those of whoever started the cluster.
    """
    try:
        context = _train_context(modules)
        if context is not None:
            return _worker(context, environ)
        session = _session(modules)
        if session is None:
            return None
        return trial_identity(_session_key(session, environ)) if session.world_rank is None else _v1_worker(session)
    except (AttributeError, TypeError):  # of a version of Ray that keeps this elsewhere
        return None


def experiment(modules: Mapping[str, Any]) -> Experiment | None:
    """Return the Train run or the Tune experiment that this process works for; None where there is none."""
    try:
        context = _train_context(modules)
        if context is not None:
            return Experiment(context.train_run_context.run_config.name, directory_of(context.storage_context))
        session = _session(modules)
        return (
            None if session is None else Experiment(session.trial_info.experiment_name, directory_of(session.storage))
        )
    except AttributeError:
        return None


def launch_of(storage: Any) -> str:
    """Return the key of a Tune experiment, which all its trials share, and so one writer. storage: a trial's own."""
    return f"{PREFIX}tune:{storage.experiment_fs_path}"


def directory_of(storage: Any) -> str | None:
    """Return the directory below which experiments lie; None where it is no file system that can be mounted."""
    return str(storage.storage_fs_path) if storage.storage_filesystem.type_name == "local" else None


def trial_identity(launch_key: str) -> Identity:
    """Return the identity of a trial: one rank by itself."""
    return Identity(Rank(rank=0, world_size=1, local_rank=0, source=TUNE), launch_key)


def train_identity(run: Any, environ: Mapping[str, str], rank: int, world_size: int) -> Identity:
    """Return the identity of a worker as its controller knows it. run: the context of the Train run."""
    return Identity(Rank(rank=rank, world_size=world_size, source=TRAIN), _train_key(run, environ))


def _train_key(run: Any, environ: Mapping[str, str]) -> str:
    """Return the key of a Train run, the same through all its retries."""
    run_id = getattr(run, "run_id", None) or f"{run.run_config.name}:{environ.get('RAY_JOB_ID', '')}"
    return f"{PREFIX}train:{run_id}"


def _session_key(session: Any, environ: Mapping[str, str]) -> str:
    """Return the key of a trial as one launch, for whoever opens a run in it without naming it by the trial's id."""
    storage = session.storage
    where = launch_of(storage) if storage is not None else f"{PREFIX}tune:{environ.get('RAY_JOB_ID', '')}"
    return f"{where}:{session.trial_info.id}"


def _worker(context: Any, environ: Mapping[str, str]) -> Identity | None:
    """Return the identity of a worker of Train v2."""
    place = context.distributed_context
    rank = _rank(place.world_rank, place.world_size, place.local_rank)
    key = _train_key(context.train_run_context, environ)
    group = getattr(context.execution_context.synchronization_actor, "_actor_id", None)
    hints = () if group is None else ((WORKER_GROUP, group.hex()),)
    return None if rank is None else Identity(rank, key, hints)


def _v1_worker(session: Any) -> Identity | None:
    """Return the identity of a worker of Train v1, whose run is a trial of Tune."""
    rank = _rank(session.world_rank, session.world_size, session.local_rank)
    return None if rank is None else Identity(rank, f"{launch_of(session.storage)}:{session.trial_info.id}")


def _rank(rank: int, world_size: int, local_rank: int | None) -> Rank | None:
    if not 0 <= rank < world_size:
        return None
    return Rank(rank=rank, world_size=world_size, local_rank=local_rank, source=TRAIN)


def _train_context(modules: Mapping[str, Any]) -> Any:
    """Return the context of a worker of Train v2; None in any other process."""
    return getattr(modules.get("ray.train.v2._internal.execution.context"), "_train_context", None)


def _session(modules: Mapping[str, Any]) -> Any:
    """Return the session of a Tune function or of a worker of Train v1; None in any other process."""
    return getattr(modules.get("ray.train._internal.session"), "_session", None)
