"""The writer on a Ray cluster: a named, detached actor on the head that has it started, and goes with it.

The actor holds no data. It keeps the place where the nodes of a launch meet, and the writer's process running; records
go over ZeroMQ (transport), and who is killed is started again by whoever is left. On one node there is no actor: ranks
find their writer as ranks of other launchers do.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from disttrack.environments.host import runtime_directory
from disttrack.errors import UsageError
from disttrack.settings import load, root_of
from disttrack.transport.rendezvous import launch_hash
from disttrack.transport.seats import Host, Seat

__all__ = ["NAMESPACE", "WriterHost", "ask", "check_directory"]

_ray: Any = ray  # much of it has no annotations

NAMESPACE = "disttrack"
HEAD = "node:__internal_head__"  # a resource that Ray gives to the head alone, whatever the user gives to it
ANSWER_S = 60.0
SOON_S = 10.0


class WriterHost:
    """The actor, for one launch."""

    def __init__(self, launch_key: str) -> None:
        runtime = runtime_directory(load().runtime_dir)
        self._host = Host(runtime, launch_key, _ray.util.get_node_ip_address())
        threading.Thread(target=self._keep, name="disttrack-host", daemon=True).start()

    def meet(self, root: str) -> Seat:
        """Return where the nodes meet; raise UsageError where the runs could not lie in this directory of the head."""
        _check(Path(root).parent)  # the root itself is made by the writer
        return self._host.meet()

    def _keep(self) -> None:
        self._host.keep()
        _ray.kill(_ray.get_runtime_context().current_actor, no_restart=True)


def ask(launch_key: str, root: str) -> Seat | None:
    """Return where the nodes of a launch meet, its actor made if need be; None where the cluster has one node.

    Raises what Ray raises, RayActorError or TimeoutError among them, and UsageError for a root the head does not have.
    """
    if not _has_nodes():
        return None
    seat: Seat = _ray.get(_asked(launch_key, root), timeout=ANSWER_S)
    return seat


def check_directory(launch_key: str, directory: str) -> None:
    """Raise UsageError where the head of this cluster has no such directory; wait for its answer for SOON_S only."""
    if not ray.is_initialized():
        return
    if not _has_nodes():
        _check(Path(directory))
        return
    answer = _asked(launch_key, str(root_of(directory)))
    if _ray.wait([answer], timeout=SOON_S)[0]:
        try:
            _ray.get(answer)
        except UsageError as error:
            raise getattr(error, "cause", error) from None
        except RayError:
            pass  # it is asked again, by whoever carries the records there


def _has_nodes() -> bool:
    return ray.is_initialized() and len([node for node in _ray.nodes() if node["Alive"]]) > 1


def _asked(launch_key: str, root: str) -> Any:
    actor: Any = ray.remote(WriterHost).options(
        name=f"writer-{launch_hash(launch_key)}",
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        max_restarts=-1,
        num_cpus=0,
        resources={HEAD: 0.0001},
        scheduling_strategy="DEFAULT",  # not in the placement group of the trial that asks
    )
    return actor.remote(launch_key).meet.remote(root)


def _check(directory: Path) -> None:
    if not directory.is_dir():
        raise UsageError(
            f"dir={str(directory)!r:.200} cannot be used on this cluster",
            "the writer runs on the head node, which has no such directory",
            "Make it there, or pass dir=, an absolute path that exists on the head node.",
        )
