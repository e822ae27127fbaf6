"""Whether anybody listens: a host that refuses says no; who says nothing does not."""

from __future__ import annotations

import socket

import pytest

from disttrack.transport.probe import Probe
from tests.road.site import wait_until


def listener(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    found = socket.socket(family)
    found.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    found.listen()
    return found


def endpoint(of: socket.socket) -> str:
    host, port = of.getsockname()[:2]
    return f"tcp://[{host}]:{port}" if of.family == socket.AF_INET6 else f"tcp://{host}:{port}"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_that_nobody_listens_at_any_more_is_refused(family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with listener(family) as server:
        probe = Probe(endpoint(server))
        server.settimeout(100)
        probe.look()
        server.accept()[0].close()
        assert not any(probe.look() for _ in range(3))
    wait_until(probe.look, "the host says so", 10)
    probe.close()


def test_who_listens_again_is_not_refused() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can take it
        probe = Probe(endpoint(server))
        wait_until(probe.look, "the host refuses", 10)
        server.listen()
        wait_until(lambda: not probe.look(), "somebody listens", 10)
    probe.close()


def test_a_host_that_does_not_answer_refuses_nothing() -> None:
    probe = Probe("tcp://192.0.2.1:9")  # documentation's own network (RFC 5737)
    assert not any(probe.look() for _ in range(10))
    probe.close()
