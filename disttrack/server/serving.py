"""One server from its socket to its end: on loopback unless told otherwise, noted where only its user reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from disttrack.environments import host as this_host
from disttrack.errors import UsageError
from disttrack.server.access import Access
from disttrack.server.app import application
from disttrack.server.instances import Instance, forget, new_instance, note
from disttrack.server.served import Served
from disttrack.settings import load

__all__ = ["DEFAULT_PORT", "serve"]

DEFAULT_PORT = 6017
HEADERS_S = 20.0
TRIED_PORTS = 20  # from the default one on; what was asked for is not replaced


def serve(
    root: Path, address: str, port: int | None, hosts: Collection[str], ready: Callable[[Instance], None]
) -> None:
    """Serve the runs of a root until SIGINT or SIGTERM.

    port: None for the first free one from the default on; 0 for any. hosts: names that requests may call this server
    by. ready: called once it answers. Raises UsageError where nothing can listen there.
    """
    listener = _listener(address, port)
    bound = listener.getsockname()[1]
    instance = new_instance(root, address, bound)
    names = {address, *hosts}
    if address in ("0.0.0.0", "::", ""):
        names |= {this_host.hostname(), socket.getfqdn()}
    chosen = load().runtime_dir
    app = application(Served.of(root), Access(instance.token, names), bytes.fromhex(instance.challenge_key))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would write down the token
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,  # a stream of events never ends by itself
        ws="none",
        http=_Impatient,
    )
    server = _Server(config, lambda: _begin(instance, chosen, ready), lambda: forget(instance, chosen))
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


class _Impatient(H11Protocol):
    """HTTP to who sends the whole head of a request within HEADERS_S to twice that.

    Every user of the machine reaches the port: who opens connections and says nothing on them would otherwise keep
    them, until the server has no more.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEADERS_S, self._look, None)

    def _look(self, before: object) -> None:
        """Close the connection where it had no request under way a while ago, and has had none since."""
        if self.transport.is_closing():
            return
        now = self.cycle  # None until the first request, whatever its type says
        if now is before and bool(getattr(now, "response_complete", True)):
            self.transport.close()
        else:
            self.loop.call_later(HEADERS_S, self._look, now)


class _Server(uvicorn.Server):
    """A server that says when it has begun, and when it ends: after SIGTERM nobody comes back from run()."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None], ends: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun, self._ends = begun, ends

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ends()
        await super().shutdown(sockets)


def _begin(instance: Instance, chosen: str | None, ready: Callable[[Instance], None]) -> None:
    note(instance, chosen)
    ready(instance)


def _listener(address: str, port: int | None) -> socket.socket:
    """Return a socket that is bound; which ports are tried: as of serve."""
    ports = [port] if port is not None else [*range(DEFAULT_PORT, DEFAULT_PORT + TRIED_PORTS), 0]
    why = ""
    for number in ports:
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                address, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise _cannot_listen(address, number, str(error)) from None
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(128)  # two may bind one port, but only one may listen
        except OSError as error:
            listener.close()
            why = error.strerror or str(error)
            continue
        return listener
    raise _cannot_listen(address, ports[0], why)


def _cannot_listen(address: str, port: int, why: str) -> UsageError:
    what = f"No server can listen at {address} port {port}"
    return UsageError(what, why, "Choose another --host or --port, or leave --port out: the first free one is taken.")
