"""Ranks as torchrun starts them, without torch in them: a launcher on each node, and one process with all the stores.

What disttrack sees of torchrun is its variables, its process as the ranks' parent, and the TCPStore in its agent. The
stores are torch's own; ranks that import no torch start in a tenth of the time.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import PATIENCE
from tests.nodes.cluster import Cluster, Node, NodeProcess
from tests.nodes.job import wait_for_disttrack
from tests.road.site import wait_until

__all__ = ["LAST_PORT", "PORT", "PlainJob", "Rows", "Told", "serve_stores"]

#: The ports of the stores on the first node: one for each job of a cluster.
PORT, LAST_PORT = 29_500, 29_530

STORES = """
import signal, sys
from torch.distributed import TCPStore
ports = range(*map(int, sys.argv[1:]))
stores = [TCPStore("localhost", port, is_master=True, wait_for_workers=False) for port in ports]
print("up", flush=True)
signal.pause()
"""

LAUNCHER = """
import json, os, subprocess, sys
ranks, command = json.loads(sys.argv[1]), sys.argv[2:]
started = [subprocess.Popen(command, env={**os.environ, **variables}) for variables in ranks]
sys.exit(max(map(abs, [process.wait() for process in started])))
"""

#: Logs a row after each pause until the test says stop; then tells what log() did with its thread.
RANK = """
import json, os, resource, struct, sys, time
from pathlib import Path
import disttrack

rank, directory, pause_s = int(os.environ["RANK"]), Path(sys.argv[1]), float(sys.argv[2])

def waits():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

def tell(what, **facts):
    (directory / f"{what}-{rank}.part").write_text(json.dumps(facts))
    os.replace(directory / f"{what}-{rank}.part", directory / f"{what}-{rank}.json")

began = time.perf_counter()
run = disttrack.init(project="demo", **json.loads(sys.argv[3]))
init_s = time.perf_counter() - began
counter = os.open(directory / f"count-{rank}", os.O_RDWR | os.O_CREAT)  # outlives this process
stops = [directory / "stop", directory / f"stop-{rank}"]
rows, waited, slowest_s = 0, 0, 0.0
while rows < 50 or not any(stop.exists() for stop in stops):
    row = {"loss": rows + rank / 8, **{f"noise/{k}": float(rows ^ k) for k in range(int(sys.argv[4]))}}
    before, began = waits(), time.perf_counter()
    run.log(row, step=rows)
    if rows >= 50:  # before, the sender's imports take the interpreter now and then
        slowest_s, waited = max(slowest_s, time.perf_counter() - began), waited + waits() - before
    rows += 1
    os.pwrite(counter, struct.pack("<q", rows), 0)
    if rows == 50:
        if sys.argv[5] == "meet":
            run._recorder.sender.welcomed.wait()
        tell("started", pid=os.getpid(), run_id=None if sys.argv[5] == "alone" else run.id)
    time.sleep(pause_s)
began = time.perf_counter()
receipt = run.finish()
tell("ended", run_id=run.id, rows=rows, init_s=init_s, waited=waited, slowest_s=slowest_s,
     finish_s=time.perf_counter() - began, stored=receipt.stored, pending=receipt.pending, dropped=receipt.dropped)
"""

Rows = dict[int, list[int]]


@dataclass(frozen=True)
class Told:
    """What one rank said of itself at its end."""

    run_id: str
    rows: int
    init_s: float
    #: Voluntary context switches in all calls of log() but the first 50, and the longest that one of them took.
    waited: int
    slowest_s: float
    finish_s: float
    #: Of the receipt.
    stored: int
    pending: int
    dropped: int


@contextmanager
def serve_stores(cluster: Cluster) -> Generator[None]:
    """Have a TCPStore at each of the ports on a cluster's first node."""
    stores = cluster[0].popen([sys.executable, "-c", STORES, PORT, LAST_PORT])
    assert stores.stdout is not None
    said = stores.stdout.readline()
    assert said == "up\n", said + stores.stdout.read()
    yield
    if cluster[0].alive:
        stores.terminate()
        stores.communicate(timeout=300)


#: What rank 0 says at its end.
RECEIPT = re.compile(r"records logged: [\d,]+ stored, 0 pending, 0 dropped$")


class PlainJob:
    """Two ranks on each of some nodes, that log until they are told to stop."""

    def __init__(
        self,
        cluster: Cluster,
        port: int,
        nodes: Sequence[Node],
        *,
        ranks: int = 2,
        pause_s: float = 0.01,
        wide: int = 0,
        meet: bool | None = True,
        name: str = "",
        init: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        each: Sequence[Mapping[str, str]] | None = None,
        start: bool = True,
    ) -> None:
        """port: of the store. ranks: on each node. pause_s: between two rows. wide: further values in a row.
        meet: each rank has met the writer when it has started; None: it has asked for its run, and may go on without.

        init: arguments of it. each: further variables of each rank on a node.
        """
        self.nodes, self._cluster, self._ranks = list(nodes), cluster, ranks
        self.directory = cluster.shared / (name or f"job-{port}")
        self.directory.mkdir(exist_ok=True)
        self.root = self.directory / "disttrack-runs"
        script = self.directory / "rank.py"
        script.write_text(RANK)
        self._command = [sys.executable, script, self.directory, pause_s, json.dumps(dict(init or {})), wide]
        self._command.append("ask" if meet is None else "meet" if meet else "alone")
        self.env = {
            "DISTTRACK_DIR": str(self.directory),
            "TORCHELASTIC_RUN_ID": "none",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "MASTER_ADDR": nodes[0].name,
            "MASTER_PORT": str(port),
            "GROUP_WORLD_SIZE": str(len(nodes)),
            "WORLD_SIZE": str(ranks * len(nodes)),
            **(env or {}),
        }
        self._each: Sequence[Mapping[str, str]] = each or [dict[str, str]()] * ranks
        self.processes: dict[str, NodeProcess] = {}
        if start:
            self.start(*self.nodes)

    def start(self, *nodes: Node) -> None:
        """Start the ranks of these nodes."""
        for node in nodes:
            group = self.nodes.index(node)
            ranks = [
                {"RANK": str(group * self._ranks + local), "LOCAL_RANK": str(local), **self._each[local]}
                for local in range(self._ranks)
            ]
            launcher = [sys.executable, "-S", "-I", "-c", LAUNCHER, json.dumps(ranks), *self._command]
            self.processes[node.name] = node.popen(launcher, env=self.env)

    def move_to(self, directory: Path) -> None:
        """Have ranks that start from now on tell what they do in another directory; runs go where they went."""
        self._command[self._command.index(self.directory)] = directory
        directory.mkdir()
        self.directory = directory

    def ranks_of(self, *nodes: Node) -> list[int]:
        """Return the ranks on these nodes (default: on all)."""
        groups = [self.nodes.index(node) for node in nodes or self.nodes]
        return [group * self._ranks + local for group in groups for local in range(self._ranks)]

    def started(self, *nodes: Node, limit_s: float = 30) -> None:
        """Wait until each rank of these nodes has logged 50 rows, and (meet) knows its run."""
        files = [self.directory / f"started-{rank}.json" for rank in self.ranks_of(*nodes)]
        wait_until(
            lambda: all(file.exists() for file in files) or any(one.poll() for one in self.processes.values()),
            "every rank logs",
            limit_s,
        )
        for process in self.processes.values():
            if process.poll():
                raise AssertionError(process.communicate()[0])

    def logged(self, rank: int) -> int:
        """Return how many calls of log() a rank has counted."""
        path = self.directory / f"count-{rank}"
        data = path.read_bytes() if path.exists() else b""
        return int(struct.unpack("<q", data)[0]) if len(data) == 8 else 0

    def logs_on(self, rows: int, *nodes: Node, limit_s: float = 120) -> None:
        """Wait until each rank of these nodes has logged so many rows more."""
        aims = {rank: self.logged(rank) + rows for rank in self.ranks_of(*nodes)}
        wait_until(lambda: all(self.logged(rank) >= aim for rank, aim in aims.items()), "the ranks log on", limit_s)

    def pid(self, rank: int) -> int:
        """Return the pid of a rank on its node."""
        return int(json.loads((self.directory / f"started-{rank}.json").read_text())["pid"])

    def stop(self, *ranks: int) -> None:
        """Let these ranks end (default: all)."""
        for name in [f"stop-{rank}" for rank in ranks] or ["stop"]:
            (self.directory / name).touch()

    def told(self, rank: int) -> Told:
        """Return what a rank told at its end."""
        return Told(**json.loads((self.directory / f"ended-{rank}.json").read_text()))

    def ended(self, *nodes: Node, timeout_s: float = 60) -> dict[int, Told]:
        """Wait until the ranks of these nodes have ended well and said nothing; return what each told."""
        for node in nodes or self.nodes:
            process = self.processes[node.name]
            output, _ = process.communicate(timeout=PATIENCE * timeout_s)
            said = [line for line in output.splitlines() if not RECEIPT.search(line)]
            assert (process.returncode, said) == (0, []), output
        return {rank: self.told(rank) for rank in self.ranks_of(*nodes)}

    def cli(self, node: Node, *arguments: object) -> str:
        """Return what `disttrack ...` prints on a node for this job's root."""
        return node.cli(*arguments, env={"DISTTRACK_DIR": self.env["DISTTRACK_DIR"]})

    def runs(self, node: Node) -> list[dict[str, Any]]:
        """Return `disttrack ls --json` on a node."""
        found: list[dict[str, Any]] = json.loads(self.cli(node, "ls", "--json"))
        return found

    def only_run(self, node: Node) -> dict[str, Any]:
        """Return `disttrack show --json` of the one run there is."""
        (run,) = self.runs(node)
        shown: dict[str, Any] = json.loads(self.cli(node, "show", run["id"], "--json"))
        return shown

    def rows(self, node: Node, run_id: str) -> Rows:
        """Return the steps in the export, by rank, whatever superseded them; a value that is not its step's fails."""
        found: Rows = {}
        lines = self.cli(node, "export", run_id, "--format", "jsonl", "--keys", "loss", "--superseded").splitlines()
        for line in lines:
            row = json.loads(line)
            assert row["value"] == row["step"] + row["rank"] / 8
            found.setdefault(row["rank"], []).append(row["step"])
        return found

    def gone(self, limit_s: float = 60) -> None:
        """Wait until no process of disttrack remains on the nodes that are up, and nothing listens but the stores."""
        for node in self.nodes:
            if node.alive:
                wait_for_disttrack(node, 0, limit_s)
                ports = {one.port for one in node.listening()}
                assert ports <= set(range(PORT, LAST_PORT)), ports
