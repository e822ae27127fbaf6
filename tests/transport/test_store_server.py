"""The store of a seat: what our own client asks of torch's store, it asks of this one; strangers get nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from disttrack.errors import StoreUnavailable
from disttrack.transport.store_server import StoreServer
from disttrack.transport.tcpstore import MAGIC, TCPStoreClient

SECRET = "disttrack/secret"


@pytest.fixture
def server() -> Iterator[StoreServer]:
    server = StoreServer(0, SECRET)
    yield server
    server.close()


def test_what_one_client_sets_another_gets_and_compare_set_gives_way_to_the_first(server: StoreServer) -> None:
    with (
        TCPStoreClient("127.0.0.1", server.port, timeout_s=100) as one,
        TCPStoreClient("127.0.0.1", server.port, timeout_s=100) as other,
    ):
        assert one.get(SECRET) is None
        one.set(SECRET, b"first")
        assert other.get(SECRET) == b"first"
        assert other.compare_set(SECRET, b"", b"second") == b"first"
        assert other.compare_set(SECRET, b"first", b"second") == b"second"
        assert one.get(SECRET) == b"second"
        assert one.get(f"{SECRET}/knock") is None


def test_who_does_not_know_the_secret_reads_and_sets_nothing(server: StoreServer) -> None:
    with TCPStoreClient("127.0.0.1", server.port, timeout_s=100) as ours:
        ours.set(SECRET, b"value")
    with TCPStoreClient("127.0.0.1", server.port, timeout_s=100) as stranger, pytest.raises(StoreUnavailable):
        stranger.get("disttrack/other")
    with TCPStoreClient("127.0.0.1", server.port, timeout_s=100) as stranger, pytest.raises(StoreUnavailable):
        stranger.set("disttrack/other", b"")
    assert list(server.values) == [f"/{SECRET}".encode()]


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" + MAGIC + b"\xff",
        b"\x00" + MAGIC + b"\x01" + b"\xff" * 8,
        b"\x00" + MAGIC + b"\x05" + (2).to_bytes(8, "little"),
    ],
    ids=["another protocol", "an unknown request", "a huge key", "two keys at once"],
)
def test_what_makes_no_sense_is_left_and_others_are_still_served(server: StoreServer, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=100) as connection:
        connection.sendall(said)
        assert connection.recv(1) == b""
    with TCPStoreClient("127.0.0.1", server.port, timeout_s=100) as ours:
        assert ours.get(SECRET) is None


def test_one_client_cannot_fill_the_memory_with_keys(server: StoreServer) -> None:
    with TCPStoreClient("127.0.0.1", server.port, timeout_s=100) as ours, suppress(StoreUnavailable):
        for number in range(100):
            ours.set(f"{SECRET}/{number}", b"x")
    assert 0 < len(server.values) < 100
