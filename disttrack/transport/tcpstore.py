"""A client of torch's TCPStore that imports no torch, so that a rank can meet the others before torch is loaded.

It speaks to the store in torchrun's agent and to any other bare TCPStore, whichever of torch's two servers runs it
(libuv, the default, or the older one, ``use_libuv=False``).

Run against torch 2.13.0, both servers. Read: TCPStoreBackend.hpp and TCPStore.hpp as installed with 2.13.0, and both
servers' sources from the repository at several ages up to 2025. The six requests used here have the same numbers in
all that know VALIDATE (pytorch pull request 107607, 2023); PING is younger (129985, July 2024), so it is not used.

A request is one byte of QueryType, then its fields; a key or a value is its length (8 bytes) and its bytes, in the
sender's own byte order:
    VALIDATE    magic, 4 bytes         no answer
    SET         key, value             no answer
    COMPARE_SET key, expected, desired value
    GET         key                    value; of an absent key: an empty value (libuv) or a closed connection (older)
    CHECK       count of keys, keys    1 byte: 0 all there, 1 not
    GETNUMKEYS                         8 bytes
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from disttrack.errors import StoreUnavailable

__all__ = ["KEY_LIMIT_BYTES", "MAGIC", "VALUE_LIMIT_BYTES", "Query", "TCPStoreClient"]


# QueryType and validationMagicNumber: TCPStoreBackend.hpp. keyPrefix_: TCPStore.hpp.
class Query:
    """The requests of the protocol that are used here."""

    VALIDATE, SET, COMPARE_SET, GET, CHECK, GETNUMKEYS = b"\x00", b"\x01", b"\x02", b"\x03", b"\x05", b"\x07"


MAGIC = struct.pack("=I", 0x3C85F7CE)
_KEY_PREFIX = b"/"
_NUMBER = struct.Struct("=Q")
_ONE_KEY = _NUMBER.pack(1)

# MAX_STRING_LEN of TCPStoreLibUvBackend.cpp, prefix included. Past it the server prints a stack trace into the job's
# output and drops us, so such a key is never sent.
KEY_LIMIT_BYTES = 8192
# Our own: records are some hundred bytes, and the older server stands still for every rank while it moves one value.
VALUE_LIMIT_BYTES = 1 << 20
# Only tells a store from another service: no job has this many keys, while four bytes of text read as a larger number.
_KEY_COUNT_LIMIT = 1 << 32


class TCPStoreClient:
    """A connection to a TCPStore; each call ends within ``timeout_s``, with its result or with StoreUnavailable.

    Keys are those of torch's own client of a bare TCPStore: what one sets, the other gets.
    After a failure the client is closed, as a late answer would be taken for the next one's; make a new one, but keep
    a working one: for each new connection the server's only thread looks its peer's name up in DNS (formatSockAddr in
    torch's socket.cpp), and where DNS is slow every rank of the job waits for that.
    It belongs to one thread of one process. The look-up of ``host`` has the system resolver's own time limit.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float = 3.0) -> None:
        self._address, self._timeout_s = f"{host}:{port}", timeout_s
        self._deadline = 0.0  # of the exchange under way, on the monotonic clock
        self._socket: socket.socket | None = None
        with self._exchange():
            self._socket = self._connect(host, port)
            # VALIDATE has no answer, and libuv drops a client whose VALIDATE comes in two pieces: one write, with a
            # harmless question behind it that shows who answers.
            self._send(Query.VALIDATE + MAGIC + Query.GETNUMKEYS)
            if self._receive_number() >= _KEY_COUNT_LIMIT:
                raise ConnectionError("what answers there is not a TCPStore")

    def set(self, key: str, value: bytes) -> None:
        """Set ``key``; when this returns, the store has it."""
        with self._exchange():
            wire_key = _wire_key(key)
            # SET alone would also "succeed" into a dead connection; CHECK behind it makes the server answer.
            self._send(Query.SET + wire_key + _wire_value(value) + Query.CHECK + _ONE_KEY + wire_key)
            self._receive_check()

    def get(self, key: str) -> bytes | None:
        """Return the value of ``key``, or None where it is not there yet; never wait for it."""
        with self._exchange():
            wire_key = _wire_key(key)
            self._send(Query.CHECK + _ONE_KEY + wire_key)
            if not self._receive_check():
                return None
            self._send(Query.GET + wire_key)
            return self._receive_value()

    def compare_set(self, key: str, expected: bytes, desired: bytes) -> bytes:
        """Set ``key`` to ``desired`` if it holds ``expected`` (empty: if it is absent or empty); return what it holds.

        As in torch, an absent key with an ``expected`` that is not empty stays absent, yet ``expected`` is returned.
        """
        with self._exchange():
            self._send(Query.COMPARE_SET + _wire_key(key) + _wire_value(expected) + _wire_value(desired))
            return self._receive_value()

    def close(self) -> None:
        """Close the connection; the store and its other clients do not notice."""
        # No shutdown(): a forked child that closes its copy would end its parent's conversation.
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _exchange(self) -> Generator[None]:
        """Bound what is inside by one deadline; close the connection and translate the error if it fails."""
        self._deadline = time.monotonic() + self._timeout_s
        try:
            yield
        except BaseException as error:
            # At once, and for any error: half a request holds up every client of the older server until we are gone.
            self.close()
            # UnicodeError: a host name that cannot be one, from a garbled environment.
            if isinstance(error, (OSError, UnicodeError)):
                raise StoreUnavailable(self._address, _reason(error, self._timeout_s)) from error
            raise

    def _connect(self, host: str, port: int) -> socket.socket:
        if not 0 < port < 1 << 16:  # the resolver would take it modulo 65,536 and lead us to a stranger
            raise OSError(f"{port} is not a port")
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        refusal = OSError("its name has no address")
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            try:
                with ExitStack() as undo:  # socket() is inside: it fails where the kernel has IPv6 switched off
                    connection = undo.enter_context(socket.socket(family, kind, protocol))
                    # An equal share each: an address that swallows packets must not use up the next one's time.
                    connection.settimeout(self._left_s() / (len(addresses) - tried))
                    connection.connect(address)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    undo.pop_all()
                    return connection
            except OSError as error:
                refusal = error
        raise refusal

    def _left_s(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def _live_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("this connection to it is closed")
        self._socket.settimeout(self._left_s())
        return self._socket

    def _send(self, request: bytes) -> None:
        self._live_socket().sendall(request)

    def _receive(self, size_bytes: int) -> bytes:
        answer = bytearray()
        while len(answer) < size_bytes:
            piece = self._live_socket().recv(size_bytes - len(answer))
            if not piece:
                raise ConnectionError("it closed the connection")
            answer += piece
        return bytes(answer)

    def _receive_number(self) -> int:
        (number,) = _NUMBER.unpack(self._receive(_NUMBER.size))
        return int(number)

    def _receive_check(self) -> bool:
        answer = self._receive(1)
        if answer not in (b"\x00", b"\x01"):
            raise ConnectionError(f"it answered {answer!r} to the question whether a key is there")
        return answer == b"\x00"

    def _receive_value(self) -> bytes:
        size_bytes = self._receive_number()
        if size_bytes > VALUE_LIMIT_BYTES:
            raise ConnectionError(f"it announced a value of {size_bytes} bytes, above the limit of {VALUE_LIMIT_BYTES}")
        return self._receive(size_bytes)


def _wire_key(key: str) -> bytes:
    # surrogateescape: a key may hold a piece of the environment, whose bytes need not be UTF-8.
    name = _KEY_PREFIX + key.encode("utf-8", "surrogateescape")
    if len(name) > KEY_LIMIT_BYTES:
        raise OSError(f"a key of {len(name)} bytes is above its limit of {KEY_LIMIT_BYTES}")
    return _NUMBER.pack(len(name)) + name


def _wire_value(value: bytes) -> bytes:
    if len(value) > VALUE_LIMIT_BYTES:
        raise OSError(f"a value of {len(value)} bytes is above the limit of {VALUE_LIMIT_BYTES}")
    return _NUMBER.pack(len(value)) + value


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
