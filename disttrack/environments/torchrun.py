"""torchrun (torchelastic): ranks from its agent's variables, the agent itself as the launch."""

from __future__ import annotations

from collections.abc import Mapping

from disttrack.environments.launch import Identity, launcher_pid, parent_key
from disttrack.records.types import Rank

__all__ = ["agent_store", "identity"]

SOURCE = "torchrun"


def identity(environ: Mapping[str, str]) -> Identity | None:
    """Return who this process is under torchrun; None where the variables are not torchrun's or make no sense."""
    try:
        run_id = environ["TORCHELASTIC_RUN_ID"]
        rank, world_size = int(environ["RANK"]), int(environ["WORLD_SIZE"])
        local_rank = int(environ["LOCAL_RANK"]) if environ.get("LOCAL_RANK") else None
    except (KeyError, ValueError):
        return None
    if not 0 <= rank < world_size or not 0 <= (local_rank or 0) < world_size:
        return None
    place = Rank(rank=rank, world_size=world_size, local_rank=local_rank, source=SOURCE)
    # The count is a hint, not an attempt's number: it stays 0 on an elastic scale-up (facts/launchers.md §0.1).
    hints = (("TORCHELASTIC_RESTART_COUNT", environ.get("TORCHELASTIC_RESTART_COUNT", "0")),)
    key = parent_key(launcher_pid({"TORCHELASTIC_RUN_ID": run_id, "RANK": environ["RANK"]}))
    return Identity(place, key, hints, _meeting(environ, run_id), _nodes(environ))


def _nodes(environ: Mapping[str, str]) -> int | None:
    count = environ.get("GROUP_WORLD_SIZE", "")
    return int(count) if count.isdecimal() and count != "0" else None


def _meeting(environ: Mapping[str, str], run_id: str) -> str:
    """Return where the agents' ranks can meet: in the agent's store, else in a file named after it."""
    store = agent_store(environ)
    if store is not None:
        host, port = store
        return f"tcp://{host}:{port}/{run_id}"
    master = f"{environ.get('MASTER_ADDR', '')}:{environ.get('MASTER_PORT', '')}"
    return f"file:{run_id}@{master}" if (_nodes(environ) or 1) > 1 and master != ":" else ""


def agent_store(environ: Mapping[str, str]) -> tuple[str, int] | None:
    """Return host and port of the agent's TCPStore, where ranks without a common runtime directory can meet."""
    if environ.get("TORCHELASTIC_USE_AGENT_STORE", "").lower() != "true":
        return None
    host, port = environ.get("MASTER_ADDR"), environ.get("MASTER_PORT", "")
    return (host, int(port)) if host and port.isdecimal() and 0 < int(port) < 65536 else None
