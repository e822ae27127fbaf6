"""torchrun (torchelastic): ranks from its agent's variables, the agent itself as the launch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from disttrack.environments.files import read_plain
from disttrack.environments.launch import Identity, launcher_key
from disttrack.environments.variables import Names, node_count, place

__all__ = ["NAMES", "agent_store", "error_file", "error_in", "identity"]

NAMES = Names("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", besides=("TORCHELASTIC_RUN_ID",))
MAX_ERROR_BYTES = 1 << 20
MAX_EXCEPTION = 2_000  # characters


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is under torchrun; None where the variables are not torchrun's or make no sense."""
    rank = place(environ, NAMES)
    if rank is None:
        return None
    # The count is a hint, not an attempt's number: it stays 0 on an elastic scale-up (facts/launchers.md §0.1).
    hints = (("TORCHELASTIC_RESTART_COUNT", environ.get("TORCHELASTIC_RESTART_COUNT", "0")),)
    key = launcher_key(environ, ("TORCHELASTIC_RUN_ID", "RANK"))
    nodes = node_count(environ, rank.world_size, nodes="GROUP_WORLD_SIZE")
    return Identity(rank, key, hints, _meeting(environ, nodes), nodes)


def _meeting(environ: Mapping[str, str], nodes: int | None) -> str:
    """Return where the agents' ranks can meet: in the agent's store, else in a file named after it."""
    run_id = environ["TORCHELASTIC_RUN_ID"]
    store = agent_store(environ)
    if store is not None:
        host, port = store
        return f"tcp://{host}:{port}/{run_id}"
    master = f"{environ.get('MASTER_ADDR', '')}:{environ.get('MASTER_PORT', '')}"
    return f"file:{run_id}@{master}" if (nodes or 1) > 1 and master != ":" else ""


def agent_store(environ: Mapping[str, str]) -> tuple[str, int] | None:
    """Return host and port of the agent's TCPStore, where ranks without a common runtime directory can meet."""
    if environ.get("TORCHELASTIC_USE_AGENT_STORE", "").lower() != "true":
        return None
    host, port = environ.get("MASTER_ADDR"), environ.get("MASTER_PORT", "")
    return (host, int(port)) if host and port.isdecimal() and 0 < int(port) < 65536 else None


def error_file(environ: Mapping[str, str]) -> str:
    """Return where this rank leaves for its agent why it failed (elastic's @record does so); "" for nowhere."""
    return environ.get("TORCHELASTIC_ERROR_FILE", "") if place(environ, NAMES) is not None else ""


def error_in(path: str) -> str | None:
    """Return the exception that a rank left in its error file; None where there is none that can be read."""
    try:
        told: dict[str, Any] = json.loads(read_plain(path, MAX_ERROR_BYTES))
        message: dict[str, Any] | str = told["message"]
        text = message if isinstance(message, str) else str(message["message"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return text[:MAX_EXCEPTION] or None
