"""Where a process listens, as /proc tells it."""

import os
import socket
from contextlib import ExitStack

from disttrack.environments.sockets import listening


def test_the_ports_of_a_process_are_those_it_listens_on_and_no_others() -> None:
    assert listening(os.getpid()) == []
    with ExitStack() as stack:
        expected: list[str] = []
        for family, host, shown in ((socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")):
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            try:
                listener.bind((host, 0))
            except OSError:
                continue  # IPv6 is switched off here
            listener.listen()
            port = listener.getsockname()[1]
            expected.append(f"{shown}:{port}")
            stack.enter_context(socket.create_connection((host, port)))
        assert listening(os.getpid()) == sorted(expected)


def test_a_process_that_is_gone_listens_nowhere() -> None:
    assert listening(2**22 + 1) == []
