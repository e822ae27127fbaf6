"""Training jobs over the nodes of a cluster, started by torchrun as a user would: once on each node."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tests.conftest import PATIENCE
from tests.nodes.cluster import Cluster, Node, NodeProcess

__all__ = ["PORT", "Rendezvous", "agent", "ended", "torchrun"]

Rendezvous = Literal["static", "c10d"]

#: Where the agents meet, on node0. Each cluster has a network of its own, so it is free.
PORT = 29_500


def torchrun(
    cluster: Cluster, rendezvous: Rendezvous, script: Path, *arguments: object, env: Mapping[str, str] | None = None
) -> list[NodeProcess]:
    """Start a script in two ranks on each node, and return torchrun's process on each."""
    nodes = cluster.nodes
    return [agent(node, rendezvous, [script, *arguments], nodes=str(len(nodes)), env=env) for node in nodes]


def agent(
    node: Node,
    rendezvous: Rendezvous,
    command: Sequence[object],
    *,
    nodes: str,
    ranks: int = 2,
    options: Sequence[object] = (),
    env: Mapping[str, str] | None = None,
) -> NodeProcess:
    """Start torchrun on one node.

    nodes: how many take part, or "1:2" for a job that grows and shrinks (c10d only).
    ranks: on this node.
    """
    meet: list[object] = (
        ["--node-rank", node.index, "--master-addr", "node0", "--master-port", PORT]
        if rendezvous == "static"
        else ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"node0:{PORT}", "--rdzv-id", "job"]
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", nodes, "--nproc-per-node", ranks]
    return node.popen([*torchrun, *meet, *options, *command], env)


def ended(processes: Sequence[NodeProcess], code: int = 0, timeout_s: float = 60) -> list[str]:
    """Wait for processes and return what each printed; any other exit code than the one expected fails."""
    outputs = [process.communicate(timeout=PATIENCE * timeout_s)[0] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), "\n".join(outputs)
    return outputs
