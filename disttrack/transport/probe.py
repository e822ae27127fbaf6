"""Whether anybody listens at an endpoint: its host says at once where nobody does any more, its process being killed.

In: endpoints as writers publish them (tcp://host:port). Out: a refusal, or none. Nothing is sent, and nothing waits.
"""

from __future__ import annotations

import errno
import select
import socket

__all__ = ["Probe"]


class Probe:
    """Asks one endpoint as often as look() is called."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        self._socket: socket.socket | None = None
        self._refused = False

    def look(self) -> bool:
        """Take the answer to the last question, and ask again; say whether the last answer was that nobody listens."""
        if self._socket is None:
            self._ask()
        elif select.select([], [self._socket], [], 0)[1]:
            self._take(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return self._refused

    def close(self) -> None:
        """Ask no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self) -> None:
        try:
            self._socket = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            code = self._socket.connect_ex(self._address)
        except OSError:  # no descriptor free, no such family
            self._refused = False
            self.close()
            return
        if code != errno.EINPROGRESS:
            self._take(code)

    def _take(self, code: int) -> None:
        self._refused = code == errno.ECONNREFUSED
        self.close()
