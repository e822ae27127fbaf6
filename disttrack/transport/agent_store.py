"""The writer's record in torchrun's own store, for ranks that share no runtime directory with their writer."""

from __future__ import annotations

import time

import msgspec

from disttrack.errors import StoreUnavailable
from disttrack.transport.rendezvous import Record, launch_hash
from disttrack.transport.tcpstore import TCPStoreClient

__all__ = ["AgentStore"]

PREFIX = "disttrack/"
TIMEOUT_S = 10.0  # each new connection makes torch's server look up a name, which can stall it for 5 s
RETRY_S = 10.0


class AgentStore:
    """One connection, kept: the server's only thread pays for each new one."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._client: TCPStoreClient | None = None
        self._not_before = 0.0

    def read(self, launch_key: str) -> Record | None:
        """Return the record of a launch's writer if it may answer (the store outlives writers and restarts)."""
        return _living(self._get(launch_key))

    def publish(self, launch_key: str, record: Record) -> None:
        """Put a record there, in place of a dead writer's only. A store that does not answer is no loss."""
        mine = msgspec.json.encode(record)
        found = self._get(launch_key)
        if self._client is not None and found != mine and _living(found) is None:
            try:
                self._client.compare_set(PREFIX + launch_hash(launch_key), found, mine)
            except StoreUnavailable:
                self._give_up()

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _get(self, launch_key: str) -> bytes:
        try:
            if self._client is None:
                if time.monotonic() < self._not_before:
                    return b""
                self._client = TCPStoreClient(*self._address, timeout_s=TIMEOUT_S)
            return self._client.get(PREFIX + launch_hash(launch_key)) or b""
        except StoreUnavailable:
            self._give_up()
            return b""

    def _give_up(self) -> None:
        self.close()
        self._not_before = time.monotonic() + RETRY_S


def _living(found: bytes) -> Record | None:
    try:
        record = msgspec.json.decode(found, type=Record) if found else None
    except msgspec.DecodeError:
        return None
    return record if record is not None and record.may_answer() else None
