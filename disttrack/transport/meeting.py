"""Where the nodes of one launch meet: a TCPStore, or a file in the runs' root.

A place holds one Notice: which launch this is, its run ids, and where its writer listens. It outlives writers, and in
torchrun's store also restarts of all ranks. It is read and written by each node's one process, in a thread of its
own, since a store that does not answer may take seconds to say so.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from disttrack.environments.files import is_owned, make_root, open_plain, read_plain
from disttrack.environments.host import own_name, private_directory, try_lock
from disttrack.errors import StoreUnavailable, UnsafeDirectory
from disttrack.records.structs import prepare
from disttrack.transport.curve import Credentials
from disttrack.transport.tcpstore import TCPStoreClient

__all__ = ["PREFIX", "SEAT", "Address", "Meeting", "Notice", "Visit", "private_files", "visit"]

PREFIX = "disttrack/"
SEAT = "seat://"  # of a place that is on the writer's own node, and of nobody else (transport.seats)
LAUNCHES = ".launches"
MAX_NOTICE_BYTES = 1 << 20
STORE_TIMEOUT_S = 3.0
LOOK_S = 0.25
STALE_S = 7 * 24 * 3600.0
REST_S = 2.0  # between looks once all is settled


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a writer listens for other nodes, and how to prove that one may connect.

    endpoints is empty where it listens to its own host only, until somebody knocks.
    """

    endpoints: tuple[str, ...]
    credentials: Credentials
    nonce: str
    node: str
    host: str
    pid: int


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a launch at a place where its nodes meet.

    nonce, term: of the writer's life; each writer that follows another has one term more, and the highest is the
    writer. rounds: at how many places this launch has met: of two launches that find themselves to be one, the one
    that met at more goes on. writer is None once it has gone.
    """

    launch: str
    nonce: str
    term: int
    rounds: int = 1
    runs: dict[str, str] = {}
    writer: Address | None = None

    def may_replace(self, other: Notice) -> bool:
        """Say whether this goes where other stands."""
        if self.launch != other.launch:
            return self.rounds > other.rounds
        return self.nonce == other.nonce or self.term > other.term


class _Place(Protocol):
    @property
    def name(self) -> str: ...  # for people
    def read(self) -> bytes: ...  # b"" where nothing is; raises OSError
    def replace(self, old: bytes, new: bytes) -> bool: ...
    def knock(self) -> None: ...
    def knocked(self) -> bool: ...
    def close(self) -> None: ...


class _StorePlace:
    """In a TCPStore, over one kept connection: each new one costs torch's server a look-up of a name."""

    def __init__(self, host: str, port: int, name: str) -> None:
        self._host, self._port = host, port
        self._key = f"{PREFIX}{name}"
        self.name = f"tcp://{host}:{port}"
        self._client: TCPStoreClient | None = None

    def _connected(self) -> TCPStoreClient:
        if self._client is None:
            self._client = TCPStoreClient(self._host, self._port, timeout_s=STORE_TIMEOUT_S)
        return self._client

    def read(self) -> bytes:
        return self._connected().get(self._key) or b""

    def replace(self, old: bytes, new: bytes) -> bool:
        return self._connected().compare_set(self._key, old, new) == new

    def knock(self) -> None:
        self._connected().set(f"{self._key}/knock", b"1")

    def knocked(self) -> bool:
        return self._connected().get(f"{self._key}/knock") is not None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class _FilePlace:
    """A file below the runs' root, where that is shared: written whole, replaced by rename, readable by its owner."""

    def __init__(self, root: Path, name: str, *, shared: bool) -> None:
        self._root, self._shared = root, shared
        self._directory = root / LAUNCHES
        if self._directory.exists() and not is_owned(self._directory.lstat()):  # a shared root, and its first user's
            self._directory = root / f"{LAUNCHES}-{own_name()}"
        self._stem = hashlib.sha256(name.encode()).hexdigest()[:16]
        self._path = self._directory / f"{self._stem}.json"
        self.name = str(self._path)

    def read(self) -> bytes:
        try:
            return read_plain(self._path, MAX_NOTICE_BYTES)
        except FileNotFoundError:
            return b""

    def replace(self, old: bytes, new: bytes) -> bool:
        make_root(self._root, shared=self._shared)
        try:
            private_directory(self._directory)
        except UnsafeDirectory as error:
            raise OSError(str(error)) from error
        lock = open_plain(self._directory / f"{self._stem}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Where locks of a file system reach one host only, two may both win; readers of the log bear two writers.
            if not try_lock(lock) or self.read() != old:
                return False
            temporary = self._directory / f".{self._stem}-{secrets.token_hex(8)}"
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(new)
            os.replace(temporary, self._path)
            self._sweep()
            return True
        finally:
            os.close(lock)

    def _sweep(self) -> None:
        """Remove the files of launches that nobody touched for long."""
        for path in self._directory.iterdir():
            try:
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()
            except OSError:
                pass  # another node's process sweeps, too

    def knock(self) -> None:
        fd = open_plain(self._path.with_suffix(".knock"), os.O_WRONLY | os.O_CREAT, 0o600)
        os.close(fd)

    def knocked(self) -> bool:
        return self._path.with_suffix(".knock").exists()

    def close(self) -> None:
        """Nothing is held."""


def _places(meeting: str, root: Path, *, shared: bool) -> list[_Place]:
    """Return the places that a Join's meeting names, best first; [] where it names none."""
    if not meeting:
        return []
    scheme, _, rest = meeting.partition("://")
    places: list[_Place] = [] if scheme == "seat" else [_FilePlace(root, meeting, shared=shared)]
    if scheme in ("tcp", "seat"):
        address, _, name = rest.partition("/")
        host, _, port = address.rpartition(":")
        places.insert(0, _StorePlace(host, int(port), name))
    return places


class Visit(NamedTuple):
    """What somebody found who only looked at a place. trouble: why it cannot be read."""

    place: str
    took_s: float
    notice: Notice | None
    trouble: str | None


def visit(meeting: str, root: Path) -> Iterator[Visit]:
    """Look at the places that a Join's meeting names, best first, and change nothing; each takes STORE_TIMEOUT_S."""
    for place in _places(meeting, root, shared=False):
        notice, trouble = None, None
        began = time.monotonic()
        try:
            data = place.read()
            notice = _decoded(data)
            if data and notice is None:
                trouble = "what stands there is no notice of this disttrack"
        except (StoreUnavailable, OSError) as error:
            trouble = error.why if isinstance(error, StoreUnavailable) else str(error)
        finally:
            place.close()
        yield Visit(place.name, time.monotonic() - began, notice, trouble)


def private_files(root: Path) -> list[Path]:
    """Return what of a root holds keys between nodes, and is for its owner alone: a directory, and its files."""
    directory = root / LAUNCHES
    return [directory, *sorted(directory.iterdir())] if directory.is_dir() else []


class Meeting:
    """What a node's process knows from the places where its launch meets, and what it says there."""

    def __init__(self, meeting: str, root: Path, *, shared: bool = False) -> None:
        """meeting, root, shared: of a Join."""
        self.name = meeting
        self.found: Notice | None = None  # what the best place that answered held last
        self.reached = False  # the best place has answered, at any time
        self.knocked = False  # another node waits for the writer to listen
        self.mine: Notice | None = None  # what shall stand there
        self._places = _places(meeting, root, shared=shared)
        self._silent = False  # the best place did not answer when it was asked last
        self._knock = False
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="disttrack-meeting", daemon=True)
        self._thread.start()

    @property
    def is_seat(self) -> bool:
        """Say whether the place is on the node that the writer is to run on."""
        return self.name.startswith(SEAT)

    @property
    def stands(self) -> bool:
        """Say whether our notice stands at the best place that answers."""
        return self.mine is not None and self.found == self.mine

    def say(self, notice: Notice) -> None:
        """Have a notice stand there, in place of every one that it may replace."""
        if self.mine != notice:
            self.mine = notice
            self._wake.set()

    def hush(self) -> None:
        """Say nothing more; what stands there stays."""
        self.mine = None

    def knock(self) -> None:
        """Ask the writer to listen for other nodes."""
        if not self._knock:
            self._knock = True
            self._wake.set()

    def close(self, timeout_s: float = 0.0) -> None:
        """Stop; what shall stand there is tried once more, for timeout_s at most."""
        self._stop = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            stopping = self._stop
            self._look()
            if stopping:
                break
            settled = self.stands or (self.mine is None and self.found is not None)
            settled = settled and not (self.is_seat and self._silent)  # it comes back where it was, with news
            self._wake.wait(REST_S if settled else LOOK_S)
            self._wake.clear()
        for place in self._places:
            place.close()

    def _look(self) -> None:
        """Visit the places: what the first that answers holds is what is found; what we say goes to all of them."""
        mine, answered, reached = self.mine, False, False
        for number, place in enumerate(self._places):
            try:
                found = self._visit(place, mine, surely=answered and mine is not None and self.found == mine)
            except (StoreUnavailable, OSError):
                place.close()
                continue
            if not answered:
                self.found, answered = found, True
            reached |= number == 0
        self._silent = not reached
        self.reached |= reached

    def _visit(self, place: _Place, mine: Notice | None, *, surely: bool) -> Notice | None:
        """Return what a place holds after our notice went there. surely: it is ours, as a better place has said."""
        if self._knock:
            place.knock()
        data = place.read()
        found = _decoded(data)
        if mine is not None and found != mine and (found is None or surely or mine.may_replace(found)):
            found = mine if place.replace(data, msgspec.json.encode(mine)) else _decoded(place.read())
        if mine is not None and mine.writer is not None and not mine.writer.endpoints:
            self.knocked = self.knocked or place.knocked()
        return found


def _decoded(data: bytes) -> Notice | None:
    try:
        return msgspec.json.decode(data, type=Notice) if data else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


prepare(globals())
