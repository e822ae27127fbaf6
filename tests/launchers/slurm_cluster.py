"""A real Slurm on the nodes of a test cluster: slurmctld and slurmd on node0, slurmd on the others.

Each node has munged, spool and state directories of its own (below its /tmp and /var/tmp), and every daemon ends with
its node. Where the kernel lets us, Slurm tracks processes by control groups, as clusters in the field do: what a step
leaves behind is killed with it, whatever it detached itself from. Elsewhere by ancestry.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.nodes.cluster import BOOT_S, Cluster, Node, NodeProcess
from tests.nodes.job import disttrack_processes
from tests.road.site import wait_until

__all__ = ["PROGRAMS", "SlurmCluster"]

#: What makes a Slurm besides what makes a node.
PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "sbatch", "scancel", "scontrol", "sinfo")

FREEZER = Path("/sys/fs/cgroup/freezer")

#: Seconds between SIGTERM and SIGKILL of a job that is taken down.
KILL_WAIT_S = 15

SLURM_CONF = """
ClusterName=testing
SlurmctldHost=node0
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# How long a requeued job waits before it starts again.
AuthInfo=socket=/tmp/munge.socket,cred_expire=5
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
MpiDefault=none
SlurmctldPidFile=/var/tmp/slurm/slurmctld.pid
SlurmctldLogFile=/var/tmp/slurm/slurmctld.log
StateSaveLocation=/var/tmp/slurm/state
SlurmdPidFile=/var/tmp/slurm/slurmd.pid
SlurmdLogFile=/var/tmp/slurm/slurmd.log
SlurmdSpoolDir=/var/tmp/slurm/spool
# As many processors as the tests ask for, whatever this machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0,batch_sched_delay=0
KillWait={kill_wait}
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
"""


class SlurmCluster:
    """Nodes under Slurm, from `with` until its end. Every command that is run by it knows where that Slurm is."""

    def __init__(self, directory: Path, count: int = 2) -> None:
        self.cluster = Cluster(directory, count)
        self.nodes = self.cluster.nodes
        self.shared = self.cluster.shared
        self._conf = self.shared / "slurm"
        self._freezer = f"disttrack-{uuid.uuid4().hex[:8]}"
        #: Whether what a step leaves behind is killed with it.
        self.kills_leftovers = False
        #: Where a test's scripts and runs lie: a directory of the shared file system.
        self.here = self.shared

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.callback(self._remove_freezers)
            started.enter_context(self.cluster)
            self.kills_leftovers = self._make_freezers()
            self._configure()
            for node in self.nodes:
                self._start_munge(node)
            self._daemon(self.nodes[0], "slurmctld -D -c")
            for node in self.nodes:
                self._daemon(node, f"slurmd -D -c -N {node.name}")
            wait_until(lambda: self._idle() == len(self.nodes), "Slurm has its nodes", 2 * BOOT_S)
            self._steps = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._steps.close()

    def popen(self, command: Sequence[object], env: Mapping[str, str] | None = None) -> NodeProcess:
        """Start a command on node0, as somebody does who is logged in there."""
        return self.nodes[0].popen(command, self._environment(env))

    def run(
        self, command: Sequence[object], env: Mapping[str, str] | None = None, code: int = 0, timeout_s: float = 90
    ) -> str:
        """Run a command on node0 to its end, and return what it printed."""
        return self.nodes[0].run(command, self._environment(env), code, timeout_s)

    def begin(self, name: str) -> None:
        """Have scripts and runs in a new directory from now on."""
        self.here = self.shared / f"{name}-{secrets.token_hex(2)}"
        self.here.mkdir()

    def write(self, name: str, text: str) -> Path:
        """Write a file where the test's files lie."""
        path = self.here / name
        path.write_text(text)
        return path

    def sbatch(
        self, script: str, *options: object, arguments: Sequence[object] = (), env: Mapping[str, str] | None = None
    ) -> int:
        """Submit a batch script with its arguments, and return the job's number."""
        path = self.write("job.sbatch", script)
        where = ("--chdir", self.here, "--output", self.here / "job-%j.out", "--open-mode=append")
        said = self.run(["sbatch", "--parsable", *where, *options, path, *arguments], env)
        return int(said.strip().partition(";")[0])

    def job(self, number: int) -> dict[str, str]:
        """Return what Slurm knows of a job, by name: JobState, Restarts, ExitCode, ..."""
        said = self.run(["scontrol", "--oneliner", "show", "job", number])
        pairs = (pair.partition("=") for pair in said.split())
        return {name: value for name, _, value in pairs}

    def wait_for_job(self, number: int, states: Sequence[str], limit_s: float = 60) -> str:
        """Wait until a job is in one of these states, and return which; what it printed explains a failure."""
        try:
            wait_until(lambda: self.job(number)["JobState"] in states, f"job {number} is {states}", limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.job(number)}; it printed:\n{self.printed(number)}") from None
        return self.job(number)["JobState"]

    def printed(self, number: int) -> str:
        """Return what a job has printed."""
        path = self.here / f"job-{number}.out"
        return path.read_text() if path.exists() else ""

    def cli(self, *arguments: object, node: int = 0) -> str:
        """Return what `disttrack ...` prints on a node."""
        return self.nodes[node].cli(*arguments, env=self._environment(None))

    def runs(self, node: int = 0) -> list[dict[str, Any]]:
        """Return what `disttrack show --json` tells on a node of each run that `ls` lists there."""
        listed: list[dict[str, Any]] = json.loads(self.cli("ls", "--json", node=node))
        return [json.loads(self.cli("show", run["id"], "--json", node=node)) for run in listed]

    def rows(self, run_id: str, key: str, *options: str) -> dict[tuple[int, int], list[tuple[int, float]]]:
        """Return steps and values of a key, as `disttrack export` prints them, by attempt and rank."""
        found: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for line in self.cli("export", run_id, "--format", "jsonl", "--keys", key, *options).splitlines():
            row = json.loads(line)
            found.setdefault((row["attempt"], row["rank"]), []).append((row["step"], row["value"]))
        return found

    @contextmanager
    def drained(self, node: str) -> Generator[None]:
        """Have a node get no new jobs meanwhile."""
        self.run(["scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test"])
        try:
            yield
        finally:
            self.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"])

    def clear(self) -> None:
        """End every job, wait until all nodes are free, and remove what was not brought home: between two tests."""
        self.run(["scancel", "--signal=KILL", "--full", "--user=root"])
        self.run(["scancel", "--user=root"])
        wait_until(lambda: not self.run(["squeue", "--noheader"]).strip(), "all jobs have gone", 60)
        wait_until(lambda: self._idle() == len(self.nodes), "all nodes are free", 60)
        for node in self.nodes:
            wait_until(partial(_ended, node), f"no process of disttrack is left on {node.name}")
            node.run(
                ["bash", "-c", "rm -rf /tmp/disttrack-* /var/tmp/disttrack-*"]
            )  # or a later test's doctor tells of it

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        slurm = {"SLURM_CONF": str(self._conf / "slurm.conf"), "DISTTRACK_DIR": str(self.here)}
        return {**slurm, "DISTTRACK_QUIET": "1", **(env or {})}

    def _idle(self) -> int:
        process = self.popen(["sinfo", "--noheader", "--partition=low", "--states=idle", "--format=%D"])
        output, _ = process.communicate(timeout=BOOT_S)
        return int(output) if process.returncode == 0 and output.strip().isdecimal() else 0

    def _configure(self) -> None:
        self._conf.mkdir()
        key = self._conf / "munge.key"
        key.write_bytes(secrets.token_bytes(64))
        key.chmod(0o600)
        text = SLURM_CONF.format(proctrack="cgroup" if self.kills_leftovers else "linuxproc", kill_wait=KILL_WAIT_S)
        text += "".join(
            f"NodeName={node.name} NodeAddr={node.address} CPUs=8 RealMemory=1000 State=UNKNOWN\n"
            for node in self.nodes
        )
        names = ",".join(node.name for node in self.nodes)
        text += f"PartitionName=low Nodes={names} Default=YES MaxTime=INFINITE PriorityTier=1 State=UP\n"
        text += f"PartitionName=high Nodes={names} MaxTime=INFINITE PriorityTier=2 PreemptMode=OFF State=UP\n"
        (self._conf / "slurm.conf").write_text(text)
        (self._conf / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n")

    def _start_munge(self, node: Node) -> None:
        node.run(["mkdir", "-p", "/var/tmp/slurm/state", "/var/tmp/slurm/spool"])
        options = [f"--key-file={self._conf / 'munge.key'}"]
        options += [f"--{name}-file=/var/tmp/slurm/munge.{name}" for name in ("log", "pid", "seed")]
        node.popen(["munged", "--foreground", "--force", "--socket=/tmp/munge.socket", *options])
        socket = node.directory / "tmp/munge.socket"
        wait_until(socket.exists, f"munged listens on {node.name}", BOOT_S)

    def _daemon(self, node: Node, command: str) -> None:
        node.popen(shlex.split(command), self._environment(None))

    def _make_freezers(self) -> bool:
        """Give each node a hierarchy of control groups of its own; say whether that can be had."""
        for node in self.nodes:
            own = FREEZER / f"{self._freezer}-{node.name}"
            try:
                own.mkdir()
            except OSError:  # a newer kernel's one hierarchy, or it is not ours to change
                return False
            node.run(["mount", "--bind", own, FREEZER])
        return True

    def _remove_freezers(self) -> None:
        for node in self.nodes:
            own = FREEZER / f"{self._freezer}-{node.name}"
            wait_until(partial(_removed, own), f"nothing of {node.name} is left in {own}")


def _ended(node: Node) -> bool:
    """Kill what disttrack runs on a node; say whether nothing of it is left."""
    left = disttrack_processes(node)
    for process in left:
        node.run(["bash", "-c", f"kill -9 {process.pid} || true"])  # it may be going by itself
    return not left


def _removed(group: Path) -> bool:
    """Remove a control group and those below it; say whether that could be done, as no process is left in them."""
    try:
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
    except OSError:
        return False
    return True
