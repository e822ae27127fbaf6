"""The nodes of the tests are computers of their own, and their wire fails as it is told to."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import PATIENCE
from tests.nodes.cluster import REPOSITORY, Cluster, Node, Process
from tests.nodes.torchrun import Rendezvous, ended, torchrun
from tests.road.site import wait_until

#: Seconds after which something that a cut wire keeps back counts as not coming.
SILENT_S = 0.3

ALL_REDUCE = """
import os, sys
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
ranks = torch.tensor([1.0 + dist.get_rank()])
dist.all_reduce(ranks)
print(f"{ranks.item()} on {os.uname().nodename}", flush=True)
dist.destroy_process_group()
"""


@contextmanager
def connection(server: Node, client: Node) -> Generator[tuple[socket.socket, socket.socket]]:
    """Yields both ends of a TCP connection, the server's first."""
    with server.network():
        listener = socket.create_server((server.address, 0))
    with listener:
        with client.network():
            near = socket.create_connection(listener.getsockname(), timeout=100)
        with near:
            far, _ = listener.accept()
            with far:
                yield far, near


def hears(receiver: socket.socket, message: bytes, within_s: float) -> bool:
    """Says whether exactly this message comes over a connection in time; a lesser part of it does not come alone."""
    receiver.settimeout(within_s if within_s == SILENT_S else PATIENCE * within_s)
    try:
        return receiver.recv(len(message)) == message
    except TimeoutError:
        return False


@contextmanager
def datagrams(server: Node, client: Node) -> Generator[tuple[socket.socket, socket.socket]]:
    """Yields two UDP sockets, the second connected to the first."""
    with server.network():
        receiver = socket.socket(type=socket.SOCK_DGRAM)
        receiver.bind((server.address, 0))
    with client.network():
        sender = socket.socket(type=socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sender.connect(receiver.getsockname())
        yield receiver, sender


def burst(sender: socket.socket, receiver: socket.socket, count: int, size: int) -> list[int]:
    """Sends datagrams all at once, and returns the numbers of those that came, in the order in which they did."""
    for number in range(count):
        sender.send(number.to_bytes(size, "big"))
    receiver.settimeout(3)
    numbers: list[int] = []
    try:
        while len(numbers) < count:
            numbers.append(int.from_bytes(receiver.recv(size), "big"))
    except TimeoutError:
        pass  # the others are lost
    return numbers


@pytest.mark.real(timeout_s=30)
def test_nodes_have_names_pids_and_temporary_directories_of_their_own(cluster: Cluster) -> None:
    for number, node in enumerate(cluster.nodes):
        assert node.run(["hostname"]) == f"node{number}\n"
        assert node.run(["getent", "hosts", "node0", "node1"]).split() == ["10.77.0.1", "node0", "10.77.0.2", "node1"]
        for directory in ("/tmp", "/var/tmp", "/dev/shm", str(cluster.shared)):
            node.run(["bash", "-c", f"echo {number} >>{directory}/whose"])
    for number, node in enumerate(cluster.nodes):
        for directory in ("/tmp", "/var/tmp", "/dev/shm"):
            assert node.run(["cat", f"{directory}/whose"]) == f"{number}\n"
        assert (node.directory / "tmp/whose").read_text() == f"{number}\n"
    assert (cluster.shared / "whose").read_text() == "0\n1\n"

    one, other = cluster.nodes
    boot_id = "/proc/sys/kernel/random/boot_id"
    assert one.run(["cat", boot_id]) == other.run(["cat", boot_id]) == Path(boot_id).read_text()
    sleeping = one.popen(["sleep", "60"])
    wait_until(lambda: [process.command for process in one.processes()] == [("sleep", "60")], "sleep runs")
    assert other.processes() == []
    one.send_signal(one.processes()[0].pid, signal.SIGKILL)
    assert sleeping.wait(300) == -signal.SIGKILL


@pytest.mark.real(timeout_s=30)
def test_inode_numbers_repeat_where_tmp_is_in_memory(tmp_path: Path, require_nodes: None) -> None:
    with Cluster(tmp_path, tmp_in_memory=True) as cluster:
        inodes = {node.run(["bash", "-c", "echo >/tmp/claim; stat --format %i /tmp/claim"]) for node in cluster.nodes}
    assert len(inodes) == 1


@pytest.mark.real(timeout_s=30)
def test_what_listens_is_told_with_the_process_that_does(cluster: Cluster) -> None:
    server = (
        "import socket, time; s = socket.create_server(('node0', 5000)); u = socket.socket(type=2); "
        "u.bind(('', 5001)); time.sleep(60)"
    )
    cluster[0].popen([sys.executable, "-c", server])
    wait_until(lambda: len(cluster[0].listening()) == 2, "the server listens")
    (process,) = cluster[0].processes()
    assert process == Process(process.pid, (sys.executable, "-c", server))
    found = {(one.protocol, one.address, one.port, one.process) for one in cluster[0].listening()}
    assert found == {("tcp", "10.77.0.1", 5000, process), ("udp", "0.0.0.0", 5001, process)}
    assert cluster[1].listening() == []


@pytest.mark.real(timeout_s=30)
def test_signals_and_exit_codes_pass_between_a_node_and_the_test(cluster: Cluster) -> None:
    node = cluster[0]
    assert node.run(["bash", "-c", "echo $HOME; exit 3"], code=3) == "/tmp/home\n"
    trapping = node.popen(["bash", "-c", "trap 'echo ended; exit 5' TERM; echo ready; while :; do sleep 0.1; done"])
    assert trapping.stdout is not None
    assert trapping.stdout.readline() == "ready\n"
    trapping.send_signal(signal.SIGSTOP)
    trapping.send_signal(signal.SIGCONT)
    trapping.terminate()
    assert trapping.communicate(timeout=300)[0] == "ended\n"
    assert trapping.returncode == 5


@pytest.mark.real(timeout_s=30)
def test_a_cut_wire_carries_nothing_until_it_is_healed(cluster: Cluster) -> None:
    with connection(*cluster.nodes) as (far, near):
        near.sendall(b"before")
        assert hears(far, b"before", 5)
        cluster.wire.cut("node1")
        near.sendall(b"during")
        far.sendall(b"answer")
        assert not hears(far, b"during", SILENT_S)
        assert not hears(near, b"answer", SILENT_S)
        cluster.wire.heal("node1")
        assert hears(far, b"during", 10)  # neither end knew: TCP has gone on trying
        assert hears(near, b"answer", 10)


@pytest.mark.real(timeout_s=30)
def test_a_one_way_wire_carries_what_comes_from_the_node_or_what_goes_to_it(cluster: Cluster) -> None:
    with connection(*cluster.nodes) as (far, near):
        near.sendall(b"first")  # both know the other's hardware address
        assert hears(far, b"first", 5)
        cluster.wire.one_way("node1", passes="from")
        near.sendall(b"from")
        far.sendall(b"to")
        assert hears(far, b"from", 5)
        assert not hears(near, b"to", SILENT_S)
        cluster.wire.one_way("node1", passes="to")
        near.sendall(b"again")
        assert hears(near, b"to", 10)
        assert not hears(far, b"again", SILENT_S)
        cluster.wire.heal()
        assert hears(far, b"again", 10)


@pytest.mark.real(timeout_s=60)
def test_a_lossy_wire_loses_its_part_and_a_tcp_connection_bears_it(cluster: Cluster) -> None:
    with datagrams(*cluster.nodes) as (receiver, sender), connection(*cluster.nodes) as (far, near):
        cluster.wire.loss(0.3, seed=1)
        assert 600 <= len(burst(sender, receiver, count=1000, size=100)) <= 800
        sent = bytes(range(256)) * 200
        near.sendall(sent)
        near.shutdown(socket.SHUT_WR)
        far.settimeout(PATIENCE * 40)
        assert b"".join(iter(lambda: far.recv(65_536), b"")) == sent
        traffic = cluster.wire.traffic()
        assert 0.2 < traffic["node0"].lost_frames / traffic["node1"].sent_frames < 0.4


@pytest.mark.real(timeout_s=30)
def test_a_slow_wire_takes_its_time_and_keeps_the_order(cluster: Cluster) -> None:
    with connection(*cluster.nodes) as (far, near):
        cluster.wire.delay(0.2)
        started = time.monotonic()
        near.sendall(b"there")
        assert hears(far, b"there", 5)
        assert time.monotonic() - started >= 0.2
        far.sendall(b"and back")
        assert hears(near, b"and back", 5)
        assert time.monotonic() - started >= 0.4
    with datagrams(*cluster.nodes) as (receiver, sender):
        got = burst(sender, receiver, count=100, size=100)
        assert got == list(range(100))


@pytest.mark.real(timeout_s=30)
def test_a_narrow_wire_carries_no_more_than_its_rate_and_loses_what_overflows_its_queue(cluster: Cluster) -> None:
    with datagrams(*cluster.nodes) as (receiver, sender):
        burst(sender, receiver, count=1, size=1000)  # both know the other's hardware address
        cluster.wire.rate(160_000, queue_bytes=30_000)  # 20 kB a second
        started = time.monotonic()
        assert burst(sender, receiver, count=20, size=1000) == list(range(20))  # the queue holds them all
        assert time.monotonic() - started >= 0.2
        got = burst(sender, receiver, count=100, size=1000)
        assert 20 <= len(got) < 100
        assert got == sorted(got)
        assert cluster.wire.traffic()["node0"].lost_frames == 100 - len(got)


@pytest.mark.real(timeout_s=30)
def test_what_goes_over_the_wire_is_counted_and_can_be_kept(cluster: Cluster, tmp_path: Path) -> None:
    with connection(*cluster.nodes) as (far, near):
        near.sendall(b"not kept")
        assert hears(far, b"not kept", 5)
        cluster.wire.capture(tmp_path / "frames.pcap")
        before = cluster.wire.traffic()
        near.sendall(b"the plain text")
        assert hears(far, b"the plain text", 5)
        cluster.wire.capture(None)
        after = cluster.wire.traffic()
    frames = (tmp_path / "frames.pcap").read_bytes()
    assert b"the plain text" in frames
    assert b"not kept" not in frames
    assert after["node1"].sent_bytes - before["node1"].sent_bytes >= 14 + 20 + 20 + len("the plain text")
    assert after["node0"].received_frames > before["node0"].received_frames


@pytest.mark.real(timeout_s=30)
def test_a_killed_node_leaves_at_once_without_a_word_and_can_come_back(cluster: Cluster) -> None:
    survivor, victim = cluster.nodes
    with survivor.network():
        listener = socket.create_server((survivor.address, 5000))
    command = "import os, socket, time; os.fork(); s = socket.create_connection(('node0', 5000)); s.sendall(b'here')"
    with listener, ExitStack() as open_sockets:
        started = victim.popen([sys.executable, "-c", f"{command}; time.sleep(60)"])
        ends = [open_sockets.enter_context(listener.accept()[0]) for _ in range(2)]
        assert [hears(end, b"here", 5) for end in ends] == [True, True]
        victim.run(["bash", "-c", "echo kept >/var/tmp/journal"])
        inside = [psutil.Process(victim.init_pid), *psutil.Process(started.pid).children(recursive=True)]
        assert len(inside) == 3
        victim.kill()
        assert not any(process.is_running() for process in inside)
        for end in ends:
            end.settimeout(SILENT_S)
            with pytest.raises(TimeoutError):  # where somebody had been told, b"" or ConnectionResetError
                end.recv(1)
    assert not victim.alive
    victim.boot()
    assert victim.run(["cat", "/var/tmp/journal"]) == "kept\n"
    with connection(survivor, victim) as (far, near):
        near.sendall(b"again")
        assert hears(far, b"again", 5)


@pytest.mark.real(timeout_s=30)
def test_nothing_remains_of_a_cluster_whose_test_process_is_killed(tmp_path: Path, require_nodes: None) -> None:
    code = f"""
import sys
from pathlib import Path
import psutil
from tests.nodes.cluster import Cluster
with Cluster(Path({str(tmp_path)!r})) as cluster:
    for node in cluster.nodes:
        node.popen(["sleep", "1000"])
        while [process.command[0] for process in node.processes()] != ["sleep"]:
            pass
    print(*[process.pid for process in psutil.Process().children(recursive=True)], flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tester:
        assert tester.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in tester.stdout.readline().split()]
        names = sorted(process.name()[:6] for process in processes)
        assert names == ["bash", "bash", "nsente", "nsente", "python", "sleep", "sleep", "unshar", "unshar"]
        tester.kill()
    _, left = psutil.wait_procs(processes, timeout=100)
    assert left == []


@pytest.mark.real(timeout_s=90)
@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_torchrun_reduces_over_two_nodes(cluster: Cluster, rendezvous: Rendezvous) -> None:
    script = cluster.shared / "all_reduce.py"
    script.write_text(ALL_REDUCE)
    outputs = ended(torchrun(cluster, rendezvous, script))
    for number, output in enumerate(outputs):
        assert output.count(f"10.0 on node{number}") == 2, output  # two may print on one line
