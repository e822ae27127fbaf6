"""A Ray cluster over nodes in namespaces of their own (tests.nodes.cluster)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import PATIENCE
from tests.nodes.cluster import Cluster, Node, NodeProcess, Process
from tests.ray.conftest import ray_environment
from tests.road.site import wait_until

__all__ = ["RayNodes"]

PORT = 6379
CPUS = 2
READY_S = 120.0

COUNT = "import ray; ray.init(log_to_driver=False); print(len([n for n in ray.nodes() if n['Alive']]))"


class RayNodes:
    """`ray start` on every node of a cluster, the first one as head."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._drivers: list[NodeProcess] = []
        self.environment = {**ray_environment(), "RAY_ADDRESS": f"{self.head.address}:{PORT}"}
        del self.environment["PYTHONPATH"]
        self._start(self.head, "--head", f"--port={PORT}", "--include-dashboard=false")
        wait_until(lambda: self._alive() >= 1, "the head runs", READY_S)
        for node in cluster.nodes[1:]:
            self._start(node, f"--address={self.head.address}:{PORT}")
        wait_until(lambda: self._alive() == len(cluster.nodes), "all nodes joined", READY_S)

    @property
    def head(self) -> Node:
        return self._cluster[0]

    def _start(self, node: Node, *arguments: str) -> None:
        own = (f"--node-ip-address={node.address}", f"--num-cpus={CPUS}", f"--object-store-memory={100 << 20}")
        command = [Path(sys.executable).with_name("ray"), "start", "--block", "--disable-usage-stats", *own, *arguments]
        log = f"exec {' '.join(map(str, command))} >/tmp/ray-start.log 2>&1"
        environment = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        node.popen(["bash", "-c", log], environment)

    def _alive(self) -> int:
        process = self.head.popen([sys.executable, "-c", COUNT], self.environment)
        output, _ = process.communicate(timeout=PATIENCE * READY_S)
        last = output.split()[-1] if process.returncode == 0 and output.split() else "0"
        return int(last) if last.isdecimal() else 0

    def drive(self, script: Path, *arguments: object, env: Mapping[str, str] | None = None) -> NodeProcess:
        """Start a driver on the head."""
        driver = self.head.popen([sys.executable, script, *arguments], {**self.environment, **(env or {})})
        self._drivers.append(driver)
        return driver

    def stop_drivers(self) -> None:
        """End the drivers that a test has left; Ray ends their jobs."""
        for driver in self._drivers:
            driver.kill()
            driver.wait(PATIENCE * READY_S)
        self._drivers.clear()

    def actors(self, name: str) -> list[Process]:
        """Return the processes of an actor class on the head."""
        return [process for process in self.head.processes() if process.command[0].startswith(f"ray::{name}")]

    def actor(self, name: str, limit_s: float, instead_of: Process | None = None) -> Process:
        """Wait until an actor of a class runs on the head, and return its process."""
        found: list[Process] = []

        def one_runs() -> bool:
            found[:] = [process for process in self.actors(name) if process != instead_of]
            return len(found) == 1

        wait_until(one_runs, f"an actor {name} runs", limit_s)
        return found[0]
