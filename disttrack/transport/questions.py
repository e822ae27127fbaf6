"""Questions to node processes for whoever examines a job: each ends within its time limit, and changes nothing."""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

import zmq

from disttrack.transport.dealer import Dealer
from disttrack.transport.meeting import Address
from disttrack.transport.protocol import Ask, Message
from disttrack.transport.status import Status
from disttrack.transport.uplink import Uplink

__all__ = ["Answer", "ask", "ask_over", "connection_error", "library_versions"]

LOOK_S = 0.02


class Answer(NamedTuple):
    """What a node's process told of itself.

    took_s: there and back. ahead_s: how far its clock is ahead of ours, to within took_s.
    """

    status: Status
    took_s: float
    ahead_s: float


def ask(address: str, timeout_s: float) -> Answer | None:
    """Ask the process that listens at an address of this host; None where it does not answer in time."""
    dealer = Dealer(address)
    asked, began = time.time(), time.monotonic()
    try:
        return _answer(dealer.ask(Ask(), timeout_s), asked, began)
    except ValueError:
        return None  # another disttrack's
    finally:
        dealer.close()


def ask_over(address: Address, endpoint: str, timeout_s: float) -> Answer | None:
    """Ask a writer over the network, as an agent of its launch; None where it does not answer in time.

    Raises PermissionError where this node has no right to.
    """
    uplink = Uplink(address, endpoint)
    deadline = time.monotonic() + timeout_s
    try:
        asked, began, sent = time.time(), time.monotonic(), False
        while time.monotonic() < deadline:
            if not sent:  # not before there is a connection
                asked, began, sent = time.time(), time.monotonic(), uplink.send(Ask())
            uplink.socket.poll(int(1000 * LOOK_S))
            for message in uplink.messages():
                answer = _answer(message, asked, began)
                if answer is not None:
                    return answer
            if not sent:
                time.sleep(LOOK_S)
        return None
    finally:
        uplink.close()


def _answer(message: Message | None, asked: float, began: float) -> Answer | None:
    if not isinstance(message, Status):
        return None
    took_s = time.monotonic() - began
    return Answer(message, took_s, message.time_us / 1e6 - (asked + took_s / 2))


def connection_error(endpoint: str, timeout_s: float) -> str | None:
    """Return why no connection to tcp://host:port can be made from here; None where one can."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except TimeoutError:
        return f"nothing comes back within {timeout_s:g} s"
    except (OSError, UnicodeError, ValueError) as error:
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    return None


def library_versions() -> tuple[str, str, bool]:
    """Return the versions of pyzmq and libzmq, and whether the latter can encrypt."""
    return zmq.pyzmq_version(), zmq.zmq_version(), zmq.has("curve")
