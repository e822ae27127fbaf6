"""A training job over the nodes of a cluster, that logs as long as the test wants and tells what it logged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.nodes.cluster import Cluster, Listener, Node, Process
from tests.nodes.torchrun import Rendezvous, ended, torchrun
from tests.road.site import wait_until

__all__ = [
    "COMMON_STEPS",
    "Job",
    "Told",
    "disttrack_processes",
    "exported",
    "listening_besides_torchrun",
    "said",
    "serving",
    "shown",
    "wait_for_disttrack",
]

#: Logs a row every 10 ms until the test says stop; then in step, by a gloo process group; then tells what it did.
TRAIN = """
import json, os, time
from pathlib import Path
import disttrack

rank = int(os.environ["RANK"])
slowest_s = 0.0

def log(row, step):
    global slowest_s
    began = time.perf_counter()
    run.log(row, step=step)
    slowest_s = max(slowest_s, time.perf_counter() - began)

def tell(what, **facts):
    Path(f"{what}-{rank}.part").write_text(json.dumps(facts))
    os.replace(f"{what}-{rank}.part", f"{what}-{rank}.json")

run = disttrack.init(project="demo", config={"lr": 0.1})
rows = 0
while rows < 100 or not Path("stop").exists():
    log({"plain/loss": rows + rank / 4}, rows)
    rows += 1
    if rows == 100:
        run._recorder.sender.welcomed.wait()
        tell("started", run_id=run.id)
    time.sleep(0.01)

import torch
import torch.distributed as dist
dist.init_process_group("gloo")
for step in range(100_000, 100_020):
    ranks = torch.tensor([float(rank)])
    dist.all_reduce(ranks)
    log({"plain/sum": ranks.item()}, step)
dist.destroy_process_group()
receipt = run.finish()
tell("ended", run_id=run.id, rows=rows, slowest_s=slowest_s, stored=receipt.stored, pending=receipt.pending)
"""

#: Steps that every rank logs in common at the end, as the key plain/sum.
COMMON_STEPS = list(range(100_000, 100_020))


@dataclass(frozen=True)
class Told:
    """What one rank said of itself at its end."""

    run_id: str
    #: Rows with the key plain/loss, at the steps 0, 1, ...
    rows: int
    #: The longest that a call of log() took.
    slowest_s: float
    #: Of the receipt: records in the run, and records of which no writer has said that they are.
    stored: int
    pending: int


class Job:
    """Two ranks on each node, under torchrun."""

    def __init__(self, cluster: Cluster, rendezvous: Rendezvous, env: Mapping[str, str] | None = None) -> None:
        self._directory = cluster.shared
        self._ranks = range(2 * len(cluster.nodes))
        script = cluster.shared / "train.py"
        script.write_text(TRAIN)
        self.processes = torchrun(cluster, rendezvous, script, env=env)

    def started(self, limit_s: float = 60) -> set[str]:
        """Wait until every rank has logged its first 100 rows, and return the run ids that they have learnt."""
        files = [self._directory / f"started-{rank}.json" for rank in self._ranks]
        wait_until(
            lambda: all(file.exists() for file in files) or any(one.poll() is not None for one in self.processes),
            "every rank logs",
            limit_s,
        )
        if not all(file.exists() for file in files):
            ended(self.processes)  # says why
        return {json.loads(file.read_text())["run_id"] for file in files}

    def stop(self) -> None:
        """Let the ranks log their last steps and end."""
        (self._directory / "stop").touch()

    def ended(self, timeout_s: float = 60) -> list[Told]:
        """Wait until every rank has ended well, and return what each told, by rank."""
        ended(self.processes, timeout_s=timeout_s)
        return [Told(**json.loads((self._directory / f"ended-{rank}.json").read_text())) for rank in self._ranks]


def disttrack_processes(node: Node) -> list[Process]:
    """Return the writers and agents of a node, those too that only come to see that there is one."""
    return [process for process in node.processes() if "disttrack.writer" in process.command]


def serving(node: Node, limit_s: float = 15, instead_of: Process | None = None) -> Process:
    """Wait until a process serves this node's ranks, and return it: one that starts or goes can be there beside it."""
    found: list[Process] = []

    def one_serves() -> bool:
        found[:] = [process for process in disttrack_processes(node) if process.pid in _published(node)]
        return len(found) == 1 and found[0] != instead_of

    wait_until(one_serves, f"a process serves the ranks of {node.name}", limit_s)
    return found[0]


def _published(node: Node) -> list[int]:
    """Return the process ids that the ranks of a node find their processes by."""
    records = Path(f"/proc/{node.init_pid}/root/tmp").glob("disttrack-*/claims/*.json")
    try:
        return [json.loads(record.read_text())["pid"] for record in records if not record.name.startswith(".")]
    except FileNotFoundError:  # withdrawn this moment
        return []


def said(node: Node) -> str:
    """Return what the disttrack processes of a node, and those before them, complained of in their logs."""
    found = ""
    for log in Path(f"/proc/{node.init_pid}/root/tmp").glob("disttrack-*/logs/*.log"):
        try:
            found += log.read_text()
        except FileNotFoundError:
            continue  # empty, and removed by its process as that goes
    return found


def wait_for_disttrack(node: Node, processes: int, limit_s: float = 15) -> None:
    """Wait until as many disttrack processes run on a node."""
    wait_until(lambda: len(disttrack_processes(node)) == processes, f"{processes} processes on {node.name}", limit_s)


def listening_besides_torchrun(node: Node) -> list[Listener]:
    return [one for one in node.listening() if "torch.distributed.run" not in one.process.command]


def shown(node: Node, run_id: str) -> dict[str, Any]:
    """Return `disttrack show --json` on a node."""
    run: dict[str, Any] = json.loads(node.cli("show", run_id, "--json"))
    return run


def exported(node: Node, run_id: str, key: str) -> dict[int, list[tuple[int, float]]]:
    """Return the steps and values of a key in `disttrack export` on a node, by rank and in its order."""
    rows: dict[int, list[tuple[int, float]]] = {}
    for line in node.cli("export", run_id, "--format", "jsonl", "--keys", key).splitlines():
        row = json.loads(line)
        rows.setdefault(row["rank"], []).append((row["step"], row["value"]))
    return rows
