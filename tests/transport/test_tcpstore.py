"""The TCPStore client against torch's own servers and client, and against things that are no TCPStore."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  # torch.distributed has no __all__

from disttrack.errors import StoreUnavailable
from disttrack.transport import tcpstore
from disttrack.transport.tcpstore import TCPStoreClient

REPOSITORY = Path(tcpstore.__file__).parents[2]
BOTH_SERVERS = pytest.mark.parametrize("use_libuv", [True, False], ids=["libuv", "older"])
# torch's server looks each new peer up in DNS before it answers anyone; a resolver that does not answer takes 5 s.
PATIENT_S = 100.0


def number(value: int) -> bytes:
    return struct.pack("=Q", value)


def set_by_torch(store: TCPStore, key: str, value: str) -> None:
    """Set a key and wait until the server has it: torch's own set is not answered, so another client may be faster."""
    store.set(key, value)
    store.get(key)


@pytest.fixture(scope="module", params=[True, False], ids=["libuv", "older"])
def store(request: pytest.FixtureRequest) -> TCPStore:
    """A torch server on this host and torch's own client of it; tests share it, each with keys of its own."""
    return TCPStore(
        "127.0.0.1",
        0,
        is_master=True,
        wait_for_workers=False,
        use_libuv=bool(request.param),
        timeout=timedelta(seconds=15),
    )


@pytest.fixture
def client(store: TCPStore) -> Generator[TCPStoreClient]:
    with TCPStoreClient("127.0.0.1", store.port, timeout_s=PATIENT_S) as client:
        yield client


@pytest.fixture
def key() -> str:
    return f"disttrack/{uuid.uuid4()}"


@contextmanager
def stranger(talk: Callable[[socket.socket], None]) -> Generator[int]:
    """A server that is not torch's: accepts one connection, hands it to ``talk``, closes it; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(ConnectionError):  # a client that gives up in mid-answer resets the connection
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Return a talk that gives one answer to each request, then waits for the client to leave."""

    def talk(connection: socket.socket) -> None:
        for answer in (*answers, b""):
            connection.recv(4096)
            connection.sendall(answer)

    return talk


@contextmanager
def server_process(use_libuv: bool) -> Generator[tuple[subprocess.Popen[str], int]]:
    """A torch server in a process of its own that lives until its stdin is closed; yields it and its port."""
    program = (
        "import sys; from torch.distributed import TCPStore\n"
        f"store = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False, use_libuv={use_libuv})\n"
        "print(store.port, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_value_set_here_is_read_by_torch(store: TCPStore, client: TCPStoreClient, key: str) -> None:
    client.set(key, b"tcp://10.0.0.1:4711 \x00\xff")
    assert store.get(key) == b"tcp://10.0.0.1:4711 \x00\xff"


def test_value_set_by_torch_is_read_here(store: TCPStore, client: TCPStoreClient, key: str) -> None:
    set_by_torch(store, key, "tcp://10.0.0.1:4711")
    assert client.get(key) == b"tcp://10.0.0.1:4711"


def test_later_value_replaces_the_earlier(store: TCPStore, client: TCPStoreClient, key: str) -> None:
    client.set(key, b"first")
    client.set(key, b"second")
    assert client.get(key) == store.get(key) == b"second"


def test_value_is_in_the_store_when_set_returns(store: TCPStore, client: TCPStoreClient, key: str) -> None:
    for turn in range(200):
        client.set(f"{key}/{turn}", b"")
        assert store.check([f"{key}/{turn}"])


@pytest.mark.parametrize("value", [b"", b"\x00", bytes(range(256)) * 400, bytes(1 << 20)], ids=len)
def test_value_of_any_size_up_to_the_limit_survives_the_round_trip(
    store: TCPStore, client: TCPStoreClient, key: str, value: bytes
) -> None:
    client.set(key, value)
    assert client.get(key) == value
    assert store.get(key) == value
    assert client.compare_set(key, value, value) == value


@pytest.mark.parametrize("key", ["", "x", "a/b//c", "Zürich/日本/🚂", "with space\nand line", "k" * 8191], ids=ascii)
def test_any_key_means_the_same_to_torch(store: TCPStore, client: TCPStoreClient, key: str) -> None:
    client.set(key, b"ours")
    assert store.get(key) == b"ours"
    set_by_torch(store, key, "theirs")
    assert client.get(key) == b"theirs"


def test_key_with_bytes_that_are_not_utf8_is_kept_apart(client: TCPStoreClient, key: str) -> None:
    client.set(key + os.fsdecode(b"\xff"), b"1")
    assert client.get(key + os.fsdecode(b"\xff")) == b"1"
    assert client.get(key + os.fsdecode(b"\xfe")) is None


def test_absent_key_is_none_at_once_and_the_client_goes_on(store: TCPStore, client: TCPStoreClient, key: str) -> None:
    assert (
        client.get(key) is None
    )  # and no error: torch's own get waits for the key, this one not to the end of its time
    client.set(key, b"now")
    assert client.get(key) == b"now"
    store.delete_key(key)
    assert client.get(key) is None


@pytest.mark.parametrize(
    ("held", "expected", "answer", "held_after"),
    [
        (None, "", "mine", "mine"),
        (None, "other", "other", None),  # torch answers with what was expected although there is nothing
        ("held", "held", "mine", "mine"),
        ("held", "other", "held", "held"),
        ("held", "", "held", "held"),
        ("", "", "mine", "mine"),
    ],
)
def test_compare_set_agrees_with_torch(
    store: TCPStore,
    client: TCPStoreClient,
    key: str,
    held: str | None,
    expected: str,
    answer: str,
    held_after: str | None,
) -> None:
    ours, theirs = f"{key}/ours", f"{key}/theirs"
    if held is not None:
        set_by_torch(store, ours, held)
        store.set(theirs, held)
    assert client.compare_set(ours, expected.encode(), b"mine") == answer.encode()
    assert store.compare_set(theirs, expected, "mine") == answer.encode()
    after = None if held_after is None else held_after.encode()
    assert (client.get(ours), client.get(theirs)) == (after, after)


def test_of_many_claimers_exactly_one_wins(store: TCPStore, key: str) -> None:
    answers: dict[bytes, bytes] = {}

    def claim(name: bytes) -> None:
        with TCPStoreClient("127.0.0.1", store.port, timeout_s=PATIENT_S) as client:
            answers[name] = client.compare_set(key, b"", name)

    claimers = [threading.Thread(target=claim, args=(b"rank %d" % rank,)) for rank in range(8)]
    for claimer in claimers:
        claimer.start()
    for claimer in claimers:
        claimer.join()
    assert len(answers) == 8
    assert set(answers.values()) == {store.get(key)}


def test_host_name_is_resolved(store: TCPStore, key: str) -> None:
    with TCPStoreClient("localhost", store.port, timeout_s=PATIENT_S) as client:
        client.set(key, b"1")
    assert store.get(key) == b"1"


@BOTH_SERVERS
def test_idle_left_and_closed_clients_leave_no_word_in_the_servers_output(use_libuv: bool) -> None:
    with server_process(use_libuv) as (process, port):
        with TCPStoreClient("127.0.0.1", port, timeout_s=PATIENT_S) as client:
            client.set("x", b"1")
        TCPStoreClient("127.0.0.1", port, timeout_s=PATIENT_S).close()
        with TCPStoreClient("127.0.0.1", port, timeout_s=PATIENT_S) as idle:
            assert idle.get("x") == b"1"
            output, errors = process.communicate(timeout=300)  # closes its stdin: the server goes, `idle` stays
            # Where DNS is down the server says so once, for any client; that line is no word about us.
            complaints = [line for line in errors.splitlines() if "hostname of the client socket" not in line]
            assert (process.returncode, output, complaints) == (0, "", [])


def set_a_key(client: TCPStoreClient) -> None:
    client.set("x", b"2")


def get_a_key(client: TCPStoreClient) -> None:
    client.get("x")


def compare_set_a_key(client: TCPStoreClient) -> None:
    client.compare_set("x", b"1", b"2")


@BOTH_SERVERS
def test_server_killed_in_mid_conversation_is_reported_by_every_call(use_libuv: bool) -> None:
    calls = [set_a_key, get_a_key, compare_set_a_key]
    with server_process(use_libuv) as (process, port):
        clients = [TCPStoreClient("127.0.0.1", port, timeout_s=PATIENT_S) for _ in calls]
        clients[0].set("x", b"1")
        process.kill()
        process.wait()
        for client, call in zip(clients, calls, strict=True):
            with pytest.raises(StoreUnavailable, match=str(port)):
                call(client)
        with pytest.raises(StoreUnavailable, match="refused"):
            TCPStoreClient("127.0.0.1", port)


def test_socket_that_never_answers_is_given_up_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s"):
            TCPStoreClient("127.0.0.1", silent.getsockname()[1], timeout_s=0.3)
        assert 0.25 < time.monotonic() - start < 60


def test_server_that_trickles_its_answer_is_given_up_within_the_timeout() -> None:
    client_left = threading.Event()

    def trickle(connection: socket.socket) -> None:
        while not client_left.wait(timeout=1.0):  # eight bytes would take 8 s, each well within 2 s
            connection.send(b"\x00")

    with stranger(trickle) as port:
        with pytest.raises(StoreUnavailable, match=r"no answer within 2 s"):  # nor another word, of what the eight say
            TCPStoreClient("127.0.0.1", port, timeout_s=2)
        client_left.set()


@pytest.mark.parametrize(
    "greeting",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\xff" * 64],
    ids=["http", "ssh", "ones"],
)
def test_another_service_is_not_taken_for_a_store(greeting: bytes) -> None:
    with stranger(answering(greeting)) as port, pytest.raises(StoreUnavailable, match="not a TCPStore"):
        TCPStoreClient("127.0.0.1", port, timeout_s=PATIENT_S)


def test_echo_service_is_not_taken_for_a_store() -> None:
    def echo(connection: socket.socket) -> None:
        while words := connection.recv(4096):
            connection.sendall(words)

    with stranger(echo) as port, pytest.raises(StoreUnavailable):
        TCPStoreClient("127.0.0.1", port, timeout_s=0.3)


def test_server_that_hangs_up_without_a_word_is_not_a_store() -> None:
    with stranger(answering()) as port, pytest.raises(StoreUnavailable, match="closed the connection"):
        TCPStoreClient("127.0.0.1", port, timeout_s=PATIENT_S)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([b"\x02"], "to the question whether a key is there"),
        ([b"\x00", number(1 << 40)], "above the limit"),
        ([b"\x00", number(1 << 63) + b"x" * 100], "above the limit"),
        ([b"\x00", number(10) + b"half"], "no answer within|closed the connection"),
    ],
    ids=["no such check", "terabyte", "sign bit", "torn value"],
)
def test_garbage_after_a_good_start_is_refused(answers: list[bytes], why: str) -> None:
    with stranger(answering(number(0), *answers)) as port, TCPStoreClient("127.0.0.1", port, timeout_s=3) as client:
        with pytest.raises(StoreUnavailable, match=why):
            client.get("x")
        with pytest.raises(StoreUnavailable, match="closed"):  # a late answer must not be taken for the next one's
            client.get("x")


@pytest.mark.parametrize(
    ("name", "expected", "desired"),
    [("k" * 8192, b"", b""), ("x", bytes((1 << 20) + 1), b""), ("x", b"", bytes((1 << 20) + 1))],
    ids=["key", "expected", "desired"],
)
def test_what_the_store_would_choke_on_is_never_sent(
    store: TCPStore, client: TCPStoreClient, name: str, expected: bytes, desired: bytes
) -> None:
    keys_before = store.num_keys()
    with pytest.raises(StoreUnavailable, match="above"):
        client.compare_set(name, expected, desired)
    assert store.num_keys() == keys_before


def test_value_above_the_limit_is_not_set(store: TCPStore, client: TCPStoreClient, key: str) -> None:
    with pytest.raises(StoreUnavailable, match="above the limit"):
        client.set(key, bytes((1 << 20) + 1))
    assert not store.check([key])


def test_value_above_the_limit_that_somebody_else_set_is_not_read(
    store: TCPStore, client: TCPStoreClient, key: str
) -> None:
    set_by_torch(store, key, "x" * ((1 << 20) + 1))
    with pytest.raises(StoreUnavailable, match="above the limit"):
        client.get(key)
    assert store.check([key])  # the server goes on without us


@pytest.mark.parametrize("host", ["a" * 300, "no..host"])
def test_host_that_cannot_be_one_is_refused(host: str) -> None:
    with pytest.raises(StoreUnavailable, match="encoding"):
        TCPStoreClient(host, 80)


def test_port_that_cannot_be_one_is_refused_even_where_its_remainder_leads_to_a_store(store: TCPStore) -> None:
    for port in (0, -1, store.port + 65536, store.port - 65536):
        with pytest.raises(StoreUnavailable, match=f"{port} is not a port"):
            TCPStoreClient("127.0.0.1", port, timeout_s=PATIENT_S)


def test_closed_client_says_so_and_may_be_closed_again(client: TCPStoreClient, key: str) -> None:
    client.close()
    client.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        client.get(key)


def run_program(program: str, *arguments: str) -> None:
    """Run a Python program without torch, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", program, *arguments], env=environment, check=True)


def test_child_of_a_fork_that_closes_its_copy_leaves_the_parents_connection_alone(store: TCPStore, key: str) -> None:
    run_program(
        """if True:
        import os, sys
        from disttrack.transport.tcpstore import TCPStoreClient
        client = TCPStoreClient("127.0.0.1", int(sys.argv[1]), timeout_s=15)
        if (child := os.fork()) == 0:
            client.close()
            os._exit(0)
        os.waitpid(child, 0)
        client.set(sys.argv[2], b"parent")
        """,
        str(store.port),
        key,
    )
    assert store.get(key) == b"parent"


def test_import_does_not_bring_torch_along() -> None:
    run_program("import sys; import disttrack.transport.tcpstore; sys.exit('torch' in sys.modules)")


TRAINING = """
import json, os, pathlib, sys
from disttrack.transport.tcpstore import TCPStoreClient

rank = int(os.environ["RANK"])
host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
client = TCPStoreClient(host, port, timeout_s=30)
client.set(f"disttrack/rank/{rank}", b"%d" % rank)
claim = client.compare_set("disttrack/claim", b"", b"rank %d" % rank)
torch_was_loaded = "torch" in sys.modules

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.tensor([rank + 1.0])
dist.all_reduce(total)
other = client.get(f"disttrack/rank/{1 - rank}")  # idle through all of the above
theirs = dist.TCPStore(host, port, is_master=False, wait_for_workers=False)
seen = {
    "torch was loaded": torch_was_loaded,
    "agent store": os.environ["TORCHELASTIC_USE_AGENT_STORE"],
    "claim": claim.decode(),
    "claim read by torch": theirs.get("disttrack/claim").decode(),
    "claim under torch's PrefixStore": dist.PrefixStore("disttrack", theirs).get("claim").decode(),
    "other rank": other.decode(),
    "total": total.item(),
}
pathlib.Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(seen))
dist.destroy_process_group()
if rank == 0:
    client.close()  # rank 1 leaves its connection to the end of the process
"""


@pytest.mark.real(timeout_s=120)
def test_ranks_under_torchrun_meet_in_the_agents_store_and_training_is_undisturbed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAINING)
    launch = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, tmp_path],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert launch.returncode == 0, launch.stderr
    assert "TCPStore" not in launch.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["claim"] in ("rank 0", "rank 1")
    for seen, other_rank in ((first, "1"), (second, "0")):
        assert seen == {
            "torch was loaded": False,
            "agent store": "True",
            "claim": first["claim"],
            "claim read by torch": first["claim"],
            "claim under torch's PrefixStore": first["claim"],
            "other rank": other_rank,
            "total": 3.0,
        }
