"""Launches on a cluster that has a head: the writer's seat is there, and the cluster itself tells all nodes where.

On the head, a Host keeps the place where the nodes meet and has the writer started and replaced; the file
`claims/<hash>.seat` in the runtime directory tells the process that holds the launch's claim that it is the writer.
The writer removes it when nobody needs it any more, and the Host goes with it. A rank anywhere asks for its Host
through the cluster (transport.seeking): what it learns is where to meet, and the key by which its node may connect.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from pathlib import Path

import msgspec

from disttrack.environments.files import open_plain, read_plain
from disttrack.environments.host import private_directory
from disttrack.records.structs import prepare
from disttrack.transport.meeting import PREFIX, SEAT
from disttrack.transport.rendezvous import launch_hash, read_record, start_writer
from disttrack.transport.store_server import StoreServer

__all__ = ["Host", "Seat", "leave_seat", "read_seat"]

LOOK_S = 0.25  # of a Host, whether its writer lives
START_AGAIN_S = 2.0
NEWS_S = 5.0  # after somebody asked, a writer that leaves is started again
MAX_SEAT_BYTES = 4096


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """Where the nodes of a launch meet, and the key of which they derive theirs. For the nodes of one cluster only."""

    meeting: str
    job_key: str


def _path(runtime: Path, launch_key: str) -> Path:
    return runtime / "claims" / f"{launch_hash(launch_key)}.seat"


def read_seat(runtime: Path, launch_key: str) -> Seat | None:
    """Return the seat that this node has for the writer of a launch; None on every other node."""
    try:
        return msgspec.json.decode(read_plain(_path(runtime, launch_key), MAX_SEAT_BYTES), type=Seat)
    except (OSError, ValueError, RecursionError):
        return None


def leave_seat(runtime: Path, launch_key: str) -> None:
    """Say that nobody needs the writer of a launch any more."""
    _path(runtime, launch_key).unlink(missing_ok=True)


def _write(path: Path, seat: Seat) -> None:
    private_directory(path.parent)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    fd = open_plain(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(seat))
    os.replace(temporary, path)


class Host:
    """Keeps the place where a launch's nodes meet, and its writer running, on the head of a cluster.

    All of it can die at any time: the next Host takes the port and the secrets from the seat that it left.
    """

    def __init__(self, runtime: Path, launch_key: str, address: str) -> None:
        """address: of this node, as the others reach it. Raises OSError where nothing can be listened at."""
        self._runtime, self._key = runtime, launch_key
        self._path = _path(runtime, launch_key)
        self._lock = threading.Lock()
        self._asked = time.monotonic()
        left = read_seat(runtime, launch_key)
        name = secrets.token_hex(16) if left is None else left.meeting.rpartition("/")[2]
        self._store = _store(0 if left is None else int(left.meeting.rpartition("/")[0].rpartition(":")[2]), name)
        self._seat = Seat(
            meeting=f"{SEAT}{address}:{self._store.port}/{name}",
            job_key=secrets.token_hex(32) if left is None else left.job_key,
        )
        _write(self._path, self._seat)

    def meet(self) -> Seat:
        """Return the seat, for a rank that comes; its writer runs, or will in a moment."""
        with self._lock:
            self._asked = time.monotonic()
            if not self._path.exists():
                _write(self._path, self._seat)
        return self._seat

    def keep(self) -> None:
        """Start and replace the writer until it has left in order; raise OSError where none can be started."""
        started = 0.0
        while True:
            with self._lock:
                if not self._path.exists():
                    if time.monotonic() - self._asked > NEWS_S:
                        break
                    _write(self._path, self._seat)
            if read_record(self._runtime, self._key) is None and time.monotonic() - started > START_AGAIN_S:
                started = time.monotonic()
                start_writer(self._runtime, self._key, self._seat.job_key)
            time.sleep(LOOK_S)
        self.close()

    def close(self) -> None:
        """Keep the place no longer; the seat stays."""
        self._store.close()


def _store(port: int, name: str) -> StoreServer:
    try:
        return StoreServer(port, PREFIX + name)
    except OSError:  # somebody took it meanwhile: ranks that lose sight of us ask where we are
        return StoreServer(0, PREFIX + name)


prepare(globals())
