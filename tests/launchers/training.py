"""A script for every launcher, and what must have become of it: one run with all ranks, and every row of each."""

from __future__ import annotations

import os
import random
import re
import socket
import sys
from pathlib import Path
from typing import Any

from tests.road.site import Site

__all__ = ["LAUNCHERS", "ROWS", "TRAIN", "check_doctor", "check_run", "environment", "free_port"]

LAUNCHERS = Path(__file__).parents[2] / "launchers"

ROWS = 200

#: Logs ROWS rows in every rank, and fails where one of them is not stored.
TRAIN = f"""
    import disttrack

    run = disttrack.init(project="demo")
    for step in range({ROWS}):
        run.log({{"loss": step + run.rank / 8}}, step=step)
    receipt = run.finish()
    assert receipt.stored == receipt.logged == {ROWS}, receipt
"""


def environment() -> dict[str, str]:
    """Return variables with which launchers find this Python and this checkout, and start on 2 cores, as any user."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(LAUNCHERS.parent),
        "OMP_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "HWLOC_COMPONENTS": "-gl",  # or hwloc asks an X server for its displays
        "TOKENIZERS_PARALLELISM": "false",
    }


def check_run(
    site: Site, ranks: int, *, run_id: str | None = None, nodes: int = 1, attempt: int = 0, local: bool = True
) -> dict[str, Any]:
    """Check that all ranks are in a run, with each of their rows once; return its `show --json`.

    run_id: where there is more than one run. local: whether the launcher tells local ranks.
    """
    run = site.only_run() if run_id is None else site.show(run_id)
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", ranks, ranks, attempt)
    assert run["group"]
    each = run["ranks"]
    assert [rank["rank"] for rank in each] == list(range(ranks))
    assert [rank["job_type"] for rank in each] == [f"rank-{rank}" for rank in range(ranks)]
    assert [rank["state"] for rank in each] == ["finished"] * ranks
    if local:
        assert [rank["local_rank"] for rank in each] == [rank % (ranks // nodes) for rank in range(ranks)]
    assert len({rank["node"] for rank in each}) == nodes
    rows = site.export(run["id"], "--keys", "loss")
    assert sorted((row["rank"], row["step"], row["value"]) for row in rows) == [
        (rank, step, step + rank / 8) for rank in range(ranks) for step in range(ROWS)
    ]
    stored = ranks * ROWS
    assert run["receipt"] == {"logged": stored, "stored": stored, "pending": 0, "dropped": 0, "unreachable": 0}
    return run


def check_doctor(output: str, ranks: int, source: str) -> None:
    """Check that `disttrack doctor`, run in every rank, told each who it is and who said so."""
    told = re.findall(rf"rank (\d+) of {ranks}\b[^\n]*: from (\S[^\n]*)", output)
    assert sorted(told) == [(str(rank), source) for rank in range(ranks)], output


def free_port() -> int:
    """Return a port that nobody listens at: below those that the kernel gives by itself, to others meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue  # somebody listens there
