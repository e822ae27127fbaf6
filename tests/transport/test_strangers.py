"""Who may speak to a writer over the network: nobody but the nodes of its launch, and strangers disturb nobody."""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from disttrack.records.types import Incarnation
from disttrack.transport.curve import ClientKey, Credentials, client_key, new_credentials
from disttrack.transport.meeting import Address
from disttrack.transport.protocol import Ack, Message, NodeHello, Ping, pack
from disttrack.transport.receiver import Receiver
from disttrack.transport.uplink import Uplink
from tests.road.site import wait_until

HELLO = NodeHello(version=2, nonce="n", node="node1", host="node1")


class Writer:
    """A receiver that listens on loopback, as a writer's node would on its network."""

    def __init__(self, directory: Path, nonce: str = "n") -> None:
        self.receiver = Receiver(directory / f"socket-{nonce}")
        secret, client, self.credentials = new_credentials(nonce)
        (self.endpoint,) = self.receiver.listen(["127.0.0.1"], secret, client)
        self.nonce = nonce
        self.heard: list[Message] = []

    def address(self, credentials: Credentials | None = None, nonce: str | None = None) -> Address:
        return Address(
            endpoints=(self.endpoint,),
            credentials=credentials or self.credentials,
            nonce=nonce or self.nonce,
            node="node0",
            host="node0",
            pid=1,
        )

    def listen(self, timeout_s: float = 0.2) -> list[Message]:
        """Answer what arrives within a moment, and return it."""
        self.receiver.wait(timeout_s)
        arrived = list(self.receiver.messages())
        for peer, message in arrived:
            self.receiver.send(peer, Ack(Incarnation(1), 0))
            self.heard.append(message)
        return [message for _, message in arrived]


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DISTTRACK_JOB_KEY", raising=False)
    made = Writer(tmp_path)
    yield made
    made.receiver.close()


@pytest.fixture
def node(writer: Writer) -> Iterator[Uplink]:
    """A node of the launch, connected."""
    uplink = Uplink(writer.address(), writer.endpoint)
    assert is_heard(writer, uplink)
    yield uplink
    uplink.close()


def is_heard(writer: Writer, uplink: Uplink, message: Message = HELLO, looks: int = 250) -> bool:
    """Say whether what a node says arrives (it says it until it does), and its answer comes back."""
    for _ in range(looks):
        uplink.send(message)
        writer.listen()
        if any(isinstance(answer, Ack) for answer in uplink.messages()):
            return True
    return False


def stranger(writer: Writer, key: ClientKey | None, server_key: str | None) -> zmq.Socket[bytes]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    if key is not None and server_key is not None:
        dealer.curve_publickey, dealer.curve_secretkey = key
        dealer.curve_serverkey = server_key.encode()
    dealer.connect(writer.endpoint)
    return dealer


def says_in_vain(writer: Writer, dealer: zmq.Socket[bytes], refused: int = 0) -> bool:
    """Say something, and return whether it is not heard. refused: how many connections are refused until then."""
    before = len(writer.heard)
    dealer.send_multipart(pack(Ping(Incarnation(66))))
    for _ in range(5):
        writer.listen()
    wait_until(lambda: not writer.listen() and writer.receiver.refused >= refused, "it is refused")
    dealer.close()
    dealer.context.term()  # pyright: ignore[reportUnknownMemberType] - its sockets are not known
    return len(writer.heard) == before


def test_a_node_of_the_launch_is_heard_and_answered(node: Uplink, writer: Writer) -> None:
    assert writer.heard[0] == HELLO


def test_a_stranger_without_a_key_is_not_heard(node: Uplink, writer: Writer) -> None:
    assert says_in_vain(writer, stranger(writer, None, None))
    assert is_heard(writer, node)


def test_the_servers_key_alone_opens_nothing(node: Uplink, writer: Writer) -> None:
    own = ClientKey(*zmq.curve_keypair())
    assert says_in_vain(writer, stranger(writer, own, writer.credentials.server_key), refused=1)
    assert is_heard(writer, node)


def test_another_launchs_key_opens_nothing(node: Uplink, writer: Writer) -> None:
    _, other, _ = new_credentials("another")
    assert says_in_vain(writer, stranger(writer, other, writer.credentials.server_key), refused=1)
    assert is_heard(writer, node)


def test_what_an_earlier_writer_published_opens_nothing(writer: Writer, tmp_path: Path) -> None:
    _, _, before = new_credentials(writer.nonce)  # of the same launch, and of another life
    old = Uplink(writer.address(before), writer.endpoint)
    assert not is_heard(writer, old, looks=5)
    assert writer.heard == []
    old.close()


def test_a_job_key_is_in_nothing_that_is_published_and_who_has_another_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DISTTRACK_JOB_KEY", "correct horse battery staple")
    writer = Writer(tmp_path)
    assert writer.credentials.client_secret is None
    assert "horse" not in repr(writer.credentials)
    friend = Uplink(writer.address(), writer.endpoint)
    assert is_heard(writer, friend)
    friend.close()
    monkeypatch.setenv("DISTTRACK_JOB_KEY", "incorrect horse battery staple")
    with pytest.raises(PermissionError, match="has another"):
        Uplink(writer.address(), writer.endpoint)
    monkeypatch.delenv("DISTTRACK_JOB_KEY")
    with pytest.raises(PermissionError, match="has none: give both the same DISTTRACK_JOB_KEY"):
        Uplink(writer.address(), writer.endpoint)
    writer.receiver.close()


def test_a_job_key_that_others_can_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".config" / "disttrack" / "job.key"
    path.parent.mkdir(parents=True)
    path.write_text("correct horse battery staple\n")
    path.chmod(0o644)
    assert new_credentials("n")[2].job_key_id is None
    path.chmod(0o600)
    _, client, published = new_credentials("n")
    assert published.job_key_id is not None
    assert client_key(published, "n") == client


def connected(writer: Writer) -> socket.socket:
    host, _, port = writer.endpoint.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=100)


def test_garbage_on_the_port_disturbs_nobody(node: Uplink, writer: Writer) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\xff\0\0\0\0\0\0\0\1\x7f", b"\0" * 64):
        with connected(writer) as raw:
            raw.sendall(garbage)
            assert is_heard(writer, node)


def test_a_frame_of_unlikely_size_is_not_waited_for(node: Uplink, writer: Writer) -> None:
    greeting = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32
    with connected(writer) as raw:
        raw.sendall(greeting)
        raw.sendall(b"\x02" + struct.pack(">Q", 1 << 62))  # a long frame, and its length
        assert is_heard(writer, node)


def test_a_member_that_claims_too_large_a_message_loses_its_connection_and_nobody_else_does(
    node: Uplink, writer: Writer
) -> None:
    loud = Uplink(writer.address(), writer.endpoint)
    assert is_heard(writer, loud)
    before = len(writer.heard)
    loud.socket.send(b"D" * (97 << 20))
    wait_until(lambda: is_heard(writer, node), "the other node is heard", 20)
    assert all(message == HELLO for message in writer.heard[before:])
    loud.close()


def test_messages_of_a_member_that_are_none_are_counted_and_dropped(node: Uplink, writer: Writer) -> None:
    before = writer.receiver.refused
    for nonsense in ([b""], [b"?"], [b"H" + b"\xc1"], [b"D"], [b"\0" * 100], [b"G\x80"], [b"N" + os.urandom(40)]):
        node.socket.send_multipart(nonsense)
    wait_until(lambda: not writer.listen() and writer.receiver.refused == before + 7, "all are counted", 10)
    assert is_heard(writer, node)


def test_without_an_answer_of_the_allow_list_nobody_gets_in(writer: Writer) -> None:
    assert writer.receiver._authenticator is not None  # pyright: ignore[reportPrivateUsage]
    writer.receiver._authenticator.stop()  # pyright: ignore[reportPrivateUsage] - as if its thread had died
    member = Uplink(writer.address(), writer.endpoint)
    assert not is_heard(writer, member, looks=5)
    member.close()


def test_only_the_address_asked_for_is_bound(writer: Writer) -> None:
    port = int(writer.endpoint.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    bound = [line.split()[1] for line in lines if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")]
    assert bound == [f"0100007F:{port:04X}"]
