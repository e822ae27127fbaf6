"""A live torch process group: the only truth about ranks that no environment variable tells.

torch is never imported for this: if nobody loaded it, there is no group.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from disttrack.environments.launch import Identity, parent_key
from disttrack.environments.processes import has_multiprocessing_parent
from disttrack.records.types import Rank

__all__ = ["agree_on_key", "identity", "may_appear"]

SOURCE = "torch.distributed"
STORE_KEY = "disttrack/launch"


def identity(modules: Mapping[str, Any]) -> Identity | None:
    """Return this process's place in its default process group; None where there is none.

    local_rank stays unknown: the group does not tell which ranks share a host.
    """
    distributed = modules.get("torch.distributed")
    if distributed is None:
        return None
    try:
        if not distributed.is_available() or not distributed.is_initialized():
            return None
        rank, world_size = int(distributed.get_rank()), int(distributed.get_world_size())
    except Exception:  # half imported, or being destroyed in another thread: no group now
        return None
    if not 0 <= rank < world_size:
        return None
    place = Rank(rank=rank, world_size=world_size, source=SOURCE)
    key = parent_key() if has_multiprocessing_parent(modules) else None
    return Identity(place, key, meeting=_meeting(modules) if world_size > 1 else "")


def _meeting(modules: Mapping[str, Any]) -> str:
    """Return the group's own TCPStore as a place for its nodes to meet; "" where it has none, or one of this host."""
    try:
        store = modules["torch.distributed.distributed_c10d"]._get_default_store()
        while hasattr(store, "underlying_store"):
            store = store.underlying_store
        host, port = str(store.host), int(store.port)
    except Exception:  # a FileStore or HashStore, or the group is gone: then its nodes meet in the root, if anywhere
        return ""
    return "" if _is_loopback(host) else f"tcp://{host}:{port}/group"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_appear(modules: Mapping[str, Any]) -> bool:
    """Say whether this process looks like one that will make a process group: a child, or one that loaded torch."""
    return "torch" in modules or has_multiprocessing_parent(modules)


def agree_on_key(modules: Mapping[str, Any], nonce: str) -> str | None:
    """Return the launch key all ranks of the group agree on: the nonce of whoever asks first, kept in its store.

    Talks to the store, so it is for the sender's thread only. None where the store does not answer.
    """
    try:
        store = modules["torch.distributed.distributed_c10d"]._get_default_store()
        won = store.compare_set(STORE_KEY, "", nonce)
    except Exception:  # the group is gone, or its store cannot compare_set: the process stays by itself
        return None
    return f"group:{won.decode()}"
