"""A small store that speaks torch's TCPStore protocol, for launches whose launcher has none: where their nodes meet.

It answers the six requests that transport.tcpstore sends, of clients that know the secret which all its keys begin
with. It keeps what it is told in memory: whoever said it says it again to a store that does not know it (meeting).
"""

from __future__ import annotations

import hmac
import socket
import socketserver
import struct
import threading

from disttrack.transport.tcpstore import KEY_LIMIT_BYTES, MAGIC, VALUE_LIMIT_BYTES, Query

__all__ = ["StoreServer"]

_NUMBER = struct.Struct("=Q")
_MAX_KEYS = 16  # a launch has two
_IDLE_S = 60.0  # a node's process looks every other second


class StoreServer(socketserver.ThreadingTCPServer):
    """Serves from its making on, on threads of its own, until close()."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, prefix: str) -> None:
        """port: 0 for any that is free; prefix: what every key begins with. Raises OSError."""
        self.prefix = f"/{prefix}".encode()
        self.values: dict[bytes, bytes] = {}
        self.lock = threading.Lock()
        super().__init__(("", port), _Conversation)
        threading.Thread(target=self.serve_forever, name="disttrack-store", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()


class _Conversation(socketserver.StreamRequestHandler):
    """One client's requests; it is left at the first that makes no sense."""

    def handle(self) -> None:
        assert isinstance(self.server, StoreServer)
        self._store = self.server
        self.request.settimeout(_IDLE_S)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._bytes(1) != Query.VALIDATE or self._bytes(len(MAGIC)) != MAGIC:
                return
            while query := self.rfile.read(1):
                self._answer(query)
        except (OSError, ValueError):
            return  # gone, idle, or no client of ours

    def _answer(self, query: bytes) -> None:
        values = self._store.values
        if query == Query.GETNUMKEYS:
            self._send(_NUMBER.pack(len(values)))
        elif query == Query.SET:
            key, value = self._key(), self._value()
            with self._store.lock:
                self._keep(key, value)
        elif query == Query.CHECK:
            if self._number() != 1:
                raise ValueError("one key at a time")
            self._send(b"\x00" if self._key() in values else b"\x01")
        elif query == Query.GET:
            self._send_value(values.get(self._key(), b""))
        elif query == Query.COMPARE_SET:
            key, expected, desired = self._key(), self._value(), self._value()
            with self._store.lock:
                if values.get(key, b"") == expected:
                    self._keep(key, desired)
                self._send_value(values.get(key, expected))
        else:
            raise ValueError("another request")

    def _keep(self, key: bytes, value: bytes) -> None:
        if key not in self._store.values and len(self._store.values) >= _MAX_KEYS:
            raise ValueError("too many keys")
        self._store.values[key] = value

    def _key(self) -> bytes:
        key = self._sized(KEY_LIMIT_BYTES)
        if not hmac.compare_digest(key[: len(self._store.prefix)], self._store.prefix):
            raise ValueError("a stranger")
        return key

    def _value(self) -> bytes:
        return self._sized(VALUE_LIMIT_BYTES)

    def _sized(self, limit: int) -> bytes:
        size = self._number()
        if size > limit:
            raise ValueError("too large")
        return self._bytes(size)

    def _number(self) -> int:
        (number,) = _NUMBER.unpack(self._bytes(_NUMBER.size))
        return int(number)

    def _bytes(self, size: int) -> bytes:
        found = self.rfile.read(size)
        if len(found) < size:
            raise ConnectionError("closed")
        return found

    def _send_value(self, value: bytes) -> None:
        self._send(_NUMBER.pack(len(value)) + value)

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
