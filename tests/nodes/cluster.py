"""Several nodes on one Linux machine: what two computers do not share, two nodes do not share either.

A node is a set of namespaces: its own network, host name, process ids, and /tmp, /var/tmp, /dev/shm and hosts file.
What they share is a directory (`Cluster.shared`, the shared file system), this repository and the Python that runs it,
all at the same paths as outside; and the kernel, so boot_id() is equal everywhere. Needs root and /dev/net/tun.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.conftest import PATIENCE
from tests.nodes.switch import network_of
from tests.nodes.wire import Wire
from tests.road.site import wait_until

__all__ = ["PROGRAMS", "Cluster", "Listener", "Node", "NodeProcess", "Process", "why_not"]

REPOSITORY = Path(__file__).parents[2]

#: What makes a node; scripts/test installs what has no place in every system.
PROGRAMS = ("bash", "ip", "nsenter", "unshare")

#: Directories of a node's own. /dev/shm is too, in memory.
PRIVATE = (Path("/tmp"), Path("/var/tmp"))

#: Variables that would carry something of the test's own machine into a node.
FOREIGN = ("DISTTRACK_", "XDG_", "TMPDIR", "PYTEST_", "COV_")

#: Seconds a node may take to start, and to go.
BOOT_S = 100.0

LISTENERS = """
import json, psutil
found = [c for c in psutil.net_connections("inet") if c.status == "LISTEN" or (c.type == 2 and not c.raddr)]
print(json.dumps([(c.laddr.ip, c.laddr.port, c.pid or 0, "udp" if c.type == 2 else "tcp") for c in found]))
"""


# --kill-child: the first process of a node, and by that all of them, dies with unshare.
UNSHARE = ("unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def why_not() -> str | None:
    """Return why this user cannot have nodes here, or None if it can. The programs are taken for granted."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "nodes need /dev/net/tun, which this user may not open or this machine does not have"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"nodes need namespaces: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True)
class Process:
    """A process, as its own node numbers it."""

    pid: int
    command: tuple[str, ...]


@dataclass(frozen=True)
class Listener:
    """A socket to which others may connect or send: a listening TCP socket, or a UDP socket without a peer."""

    address: str
    port: int
    process: Process
    protocol: str = "tcp"


class NodeProcess(subprocess.Popen[str]):
    """A process on a node. Its pid is that of nsenter outside, but signals reach the process itself."""

    def send_signal(self, sig: int) -> None:
        # nsenter has one child. It hands no signal on, but stops itself when its child stops, and then stays so.
        if self.poll() is not None:
            return
        nsenter = psutil.Process(self.pid)
        children = nsenter.children()
        if not children:  # not started yet
            super().send_signal(sig)
        for inside in children:
            try:
                inside.send_signal(sig)
            except psutil.NoSuchProcess:
                continue  # nsenter has reaped it this moment, and ends itself
            if sig == signal.SIGSTOP:
                wait_until(lambda: nsenter.status() == psutil.STATUS_STOPPED, "nsenter stops", BOOT_S)
            else:
                super().send_signal(signal.SIGCONT)


class Node:
    """One computer of a cluster."""

    def __init__(self, cluster: Cluster, index: int) -> None:
        self.index = index
        self.name = f"node{index}"
        self.address = f"10.77.0.{index + 1}"
        #: Where this node's private directories lie, seen from outside: `directory / "tmp"` is its /tmp.
        self.directory = cluster.directory / self.name
        self._cluster = cluster
        self._hardware_address = f"02:00:0a:4d:00:{index + 1:02x}"
        self._init: subprocess.Popen[str] | None = None
        #: The pid of this node's first process as the test sees it; 0 while the node is down.
        self.init_pid = 0
        self._started: list[NodeProcess] = []

    def boot(self) -> None:
        """Start this node, with what its disks held when it went (/dev/shm is empty)."""
        self.start()
        self.join()

    def start(self) -> None:
        """Begin to start this node, as boot() does; join() ends that, so that nodes can start side by side."""
        assert not self.alive, f"{self.name} is running"
        self._init = subprocess.Popen(
            [*UNSHARE, "bash", "-c", self._boot_script()],
            env=self._cluster.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def join(self) -> None:
        """Wait until the node is up, and wire it to the others."""
        assert self._init is not None
        assert self._init.stdout is not None
        up = self._init.stdout.readline()  # ends at the latest when a failed script does
        assert up, f"{self.name} did not start: {self._init.communicate(timeout=BOOT_S)[1]}"
        (init,) = psutil.Process(self._init.pid).children()
        self.init_pid = init.pid
        self._cluster.wire.attach(self.name, self.init_pid)
        device = f"""
            set -e
            ip link set lo up
            ip link set eth0 address {self._hardware_address}
            ip address add {self.address}/24 dev eth0
            ip link set eth0 up
        """
        self.run(["bash", "-c", device])

    def kill(self) -> None:
        """Let this node go as if its power failed: no process ends in order, and nobody on the wire is told."""
        self._cluster.wire.cut(self.name)
        os.kill(self.init_pid, signal.SIGKILL)  # the kernel kills all others with it
        self._end()
        self._cluster.wire.detach(self.name)

    @property
    def alive(self) -> bool:
        return self._init is not None

    def popen(
        self, command: Sequence[object], env: Mapping[str, str] | None = None, stderr: int = subprocess.STDOUT
    ) -> NodeProcess:
        """Start a command on this node, in the shared directory; stdout and stderr come together by default."""
        assert self.alive, f"{self.name} has been killed"
        namespaces = ("--net", "--uts", "--ipc", "--mount", "--pid")
        process = NodeProcess(
            ["nsenter", "--target", str(self.init_pid), *namespaces, "env", "--chdir", str(self._cluster.shared)]
            + [str(part) for part in command],
            env={**self._cluster.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self._started.append(process)
        return process

    def run(
        self, command: Sequence[object], env: Mapping[str, str] | None = None, code: int = 0, timeout_s: float = 60
    ) -> str:
        """Run a command to its end and return what it printed; any other exit code than the one expected fails."""
        process = self.popen(command, env)
        try:
            output, _ = process.communicate(timeout=PATIENCE * timeout_s)
        finally:
            process.kill()
        assert process.returncode == code, f"{command} on {self.name} ended with {process.returncode}:\n{output}"
        return output

    def cli(self, *arguments: object, env: Mapping[str, str] | None = None, code: int = 0) -> str:
        """Return what `disttrack ...` prints on stdout on this node."""
        process = self.popen([sys.executable, "-m", "disttrack", *arguments], env, stderr=subprocess.PIPE)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == code, (
            f"disttrack {arguments} on {self.name} ended with {process.returncode}:\n{output}{errors}"
        )
        return output

    @contextmanager
    def network(self) -> Generator[None]:
        """Be on this node's network: sockets that the test itself makes meanwhile are this node's."""
        with network_of(self.init_pid):
            yield

    def send_signal(self, pid: int, sig: signal.Signals) -> None:
        """Send a signal to a process by its number on this node; stop what popen() started by its own method."""
        self.run(["bash", "-c", f"kill -{sig.value} {pid}"])

    def memory(self, process: Process) -> int:
        """Return the resident memory of a process of this node, in bytes."""
        status = Path(f"/proc/{self.init_pid}/root/proc/{process.pid}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    def kill_process(self, process: Process) -> None:
        """Send SIGKILL to a process of this node, and wait until it has gone."""
        self.send_signal(process.pid, signal.SIGKILL)
        wait_until(lambda: process not in self.processes(), f"{process.command} has gone", BOOT_S)

    def processes(self) -> list[Process]:
        """Return the processes that run on this node, but for the first, which holds it up."""
        found: list[Process] = []
        for entry in Path(f"/proc/{self.init_pid}/root/proc").iterdir():  # as the node itself sees it
            if entry.name.isdigit() and entry.name != "1":
                try:
                    command = (entry / "cmdline").read_text().split("\0")[:-1]
                except (FileNotFoundError, ProcessLookupError):
                    continue  # ended meanwhile
                if command:  # none: it has ended and waits to be reaped
                    found.append(Process(int(entry.name), tuple(command)))
        return found

    def listening(self) -> list[Listener]:
        """Return what others could reach on this node over TCP or UDP."""
        listeners: list[tuple[str, int, int, str]] = json.loads(self.run([sys.executable, "-c", LISTENERS]))
        commands = {process.pid: process for process in self.processes()}
        return [
            Listener(address, port, commands.get(pid, Process(pid, ())), protocol)
            for address, port, pid, protocol in listeners
        ]

    def _boot_script(self) -> str:
        """Return what the node's first process does: make the node, then wait for the end of the test (of stdin)."""
        lines = ["set -e", f"echo {self.name} >/proc/sys/kernel/hostname"]
        lines.append("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")  # eth0 has no neighbours to ask for
        lines.append("mount -t tmpfs -o mode=1777 tmpfs /dev/shm")
        lines.append(shlex.join(["mount", "--bind", str(self._cluster.hosts), "/etc/hosts"]))
        # The one below which all of this lies comes last: it hides the others' sources.
        for private in sorted(PRIVATE, key=self.directory.is_relative_to):
            own = self.directory / private.relative_to("/")
            if self._cluster.tmp_in_memory:
                lines.append(shlex.join(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(own)]))
            for path in self._cluster.common:
                if path.is_relative_to(private):
                    point = str(own / path.relative_to(private))
                    lines.append(shlex.join(["mkdir", "-p", point]))
                    lines.append(shlex.join(["mount", "--rbind", str(path), point]))
            lines.append(shlex.join(["mount", "--rbind", str(own), str(private)]))
        lines.append("mkdir -p /tmp/home")
        # bash reaps the processes whose parents have died while it waits
        lines += ["echo up", "exec >/dev/null 2>&1", "while read -r; do :; done"]
        return "\n".join(lines)

    def close(self) -> None:
        """End this node with everything on it, if it runs."""
        if self._init is not None:
            if self.init_pid:
                os.kill(self.init_pid, signal.SIGKILL)
            self._end()

    def _end(self) -> None:
        assert self._init is not None
        for process in self._started:
            process.send_signal(signal.SIGCONT)  # where nsenter has stopped with its child, it has to reap it now
        self._init.communicate(timeout=BOOT_S)  # closes its stdin too; returns when every process has gone
        for process in self._started:
            process.communicate(timeout=BOOT_S)
        self._init, self.init_pid = None, 0
        self._started.clear()


class Cluster:
    """Nodes node0, node1, ... on one wire, from `with` until its end."""

    def __init__(
        self, directory: Path, count: int = 2, *, shared_root: bool = True, tmp_in_memory: bool = False
    ) -> None:
        """Plan the nodes.

        shared_root: runs go to the shared directory; if not, to a directory of each node's own.
        tmp_in_memory: /tmp and /var/tmp are file systems of their own, as in containers: inode numbers repeat.
        """
        self.directory = directory / "cluster"
        self.shared = directory / "shared"
        self.hosts = self.directory / "hosts"
        self.tmp_in_memory = tmp_in_memory
        self.common = outermost([REPOSITORY, self.shared, Path(sys.prefix), Path(sys.base_prefix), *python_path()])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.environment = {
            **kept,
            "HOME": "/tmp/home",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "DISTTRACK_DIR": str(self.shared) if shared_root else "/var/tmp",
            "DISTTRACK_QUIET": "1",
        }
        self.nodes = [Node(self, index) for index in range(count)]

    def __enter__(self) -> Self:
        self.shared.mkdir()
        for node in self.nodes:
            for private in PRIVATE:
                own = node.directory / private.relative_to("/")
                own.mkdir(parents=True)
                own.chmod(0o1777)
        names = "".join(f"{node.address} {node.name}\n" for node in self.nodes)
        self.hosts.write_text(f"127.0.0.1 localhost\n::1 localhost\n{names}")
        self.wire = Wire()
        try:
            for node in self.nodes:
                node.start()  # side by side
            for node in self.nodes:
                node.join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def close(self) -> None:
        """End every node and the wire; what the nodes' disks held stays in `directory`."""
        with ExitStack() as steps:  # all of them, also when one fails
            steps.callback(self.wire.close)
            for node in self.nodes:
                steps.callback(node.close)


def python_path() -> list[Path]:
    return [path for entry in sys.path if entry and (path := Path(entry).absolute()).is_dir()]


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that do not lie in another of them, each once; but none that would show a private directory."""
    found = {Path(os.path.abspath(path)) for path in paths}
    found -= {path for path in found if any(private.is_relative_to(path) for private in PRIVATE)}
    return sorted(path for path in found if not any(other in found for other in path.parents))
