"""How ranks and their writer find each other on one host.

Per launch, in the runtime directory's `claims/`:  <hash>.lock, held (flock) by the writer for life;
<hash>.json, the writer's Record, replaced by atomic rename; <hash>.runs, the run ids it gave, which
outlive it; <hash>.wanted, a reader's wish to have the claim. Nodes find each other by transport.meeting.
"""

from __future__ import annotations

import hashlib
import os
import site
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from disttrack.environments.files import open_plain, read_plain
from disttrack.environments.host import boot_id, is_alive, private_directory, try_lock
from disttrack.environments.launch import owner_is_gone
from disttrack.environments.processes import JOB_KEY, PARENT
from disttrack.records.structs import prepare

__all__ = [
    "Claim",
    "Claimed",
    "Record",
    "claimed",
    "launch_hash",
    "read_record",
    "remove_empty_log",
    "remove_sockets",
    "said",
    "socket_path",
    "start_writer",
]

STALE_CLAIM_S = 7 * 24 * 3600.0
LOG_TAIL_BYTES = 2048
MAX_FILE_BYTES = 16 << 20  # of the runs of a launch, of which there may be many


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Where a writer listens, and which process it is."""

    address: str
    nonce: str
    pid: int
    start_time: int
    boot_id: str

    def may_answer(self) -> bool:
        """Say whether that writer still runs on this host (a stopped process counts: it is waited for)."""
        return self.boot_id == boot_id() and is_alive(self.pid, self.start_time)


def launch_hash(launch_key: str) -> str:
    """Return what names a launch in file names and store keys."""
    return hashlib.sha256(launch_key.encode()).hexdigest()[:16]


def _claims(runtime: Path) -> Path:
    return private_directory(runtime / "claims")


def socket_path(runtime: Path, launch_key: str, nonce: str) -> Path:
    """Return where the writer of a launch listens."""
    return private_directory(runtime / "sockets") / f"{launch_hash(launch_key)[:8]}-{nonce[:8]}"


def remove_sockets(runtime: Path, launch_key: str) -> None:
    """Remove what killed writers of a launch left; for its one living writer, before it listens itself."""
    for path in (runtime / "sockets").glob(f"{launch_hash(launch_key)[:8]}-*"):
        path.unlink(missing_ok=True)


def _log_path(runtime: Path, launch_key: str) -> Path:
    return private_directory(runtime / "logs") / f"{launch_hash(launch_key)}.log"


def remove_empty_log(runtime: Path, launch_key: str) -> None:
    """Remove the log of a writer that had nothing to complain about."""
    path = _log_path(runtime, launch_key)
    try:
        if path.stat().st_size == 0:
            path.unlink()
    except OSError:
        pass  # the next writer of this launch may be removing it, too


def read_record(runtime: Path, launch_key: str) -> Record | None:
    """Return the record of the launch's writer if one runs on this host."""
    record = _record(runtime / "claims" / f"{launch_hash(launch_key)}.json")
    return record if record is not None and record.may_answer() else None


def _record(path: Path) -> Record | None:
    try:
        return msgspec.json.decode(read_plain(path, MAX_FILE_BYTES), type=Record)
    except (OSError, ValueError, RecursionError):
        return None


class Claimed(NamedTuple):
    """A launch that this node has, or had, a process for; its record may be that of a dead one.

    said: the end of what the launch's processes complained of in their log.
    """

    launch_key: str
    record: Record | None
    log: Path
    said: str


def claimed(runtime: Path) -> Iterator[Claimed]:
    """Yield the launches of a runtime directory, without taking a claim or making anything."""
    for path in sorted((runtime / "claims").glob("*.lock")):
        try:
            key = path.read_text()
        except (OSError, ValueError):
            continue  # removed this moment
        if key:  # else it is being taken
            log = runtime / "logs" / f"{path.stem}.log"
            yield Claimed(key, _record(path.with_suffix(".json")), log, _tail(log))


def _tail(log: Path) -> str:
    try:
        with open(log, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


class Claim:
    """The right to be a launch's writer, held for life."""

    def __init__(self, runtime: Path, launch_key: str) -> None:
        self._directory = _claims(runtime)
        self._key = launch_key
        self._stem = launch_hash(launch_key)
        self._fd = -1

    def take(self) -> bool:
        """Try to take the claim, without waiting; say whether it is ours now."""
        path = self._directory / f"{self._stem}.lock"
        while True:
            fd = open_plain(path, os.O_RDWR | os.O_CREAT, 0o600)
            if not try_lock(fd):
                os.close(fd)
                return False
            try:
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    (self._directory / f"{self._stem}.wanted").unlink(missing_ok=True)
                    os.truncate(fd, 0)
                    os.pwrite(fd, self._key.encode(), 0)  # for whoever sweeps; also makes it young again
                    self._fd = fd
                    return True
            except FileNotFoundError:
                pass  # swept away between open and flock: try again with a new file
            os.close(fd)

    def publish(self, record: Record) -> None:
        """Tell the ranks of this host where the writer listens."""
        self._replace(f"{self._stem}.json", msgspec.json.encode(record))

    def withdraw(self) -> None:
        """Stop telling; ranks that come from now on start another writer once the claim is free."""
        (self._directory / f"{self._stem}.json").unlink(missing_ok=True)

    def want(self) -> None:
        """Ask whoever holds the claim to give it back once its ranks are gone and it cannot store what they left."""
        (self._directory / f"{self._stem}.wanted").touch(mode=0o600)

    def is_wanted(self) -> bool:
        """Say whether somebody asks for the claim."""
        return (self._directory / f"{self._stem}.wanted").exists()

    def runs(self) -> dict[str, str]:
        """Return the run ids this launch was given, by run key; they outlive every writer."""
        try:
            data = read_plain(self._directory / f"{self._stem}.runs", MAX_FILE_BYTES)
            return msgspec.json.decode(data, type=dict[str, str])
        except (OSError, ValueError, RecursionError):
            return {}

    def remember_runs(self, runs: dict[str, str]) -> None:
        """Write down the run ids of this launch."""
        self._replace(f"{self._stem}.runs", msgspec.json.encode(runs))

    def release(self) -> None:
        """Give the claim back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget(self) -> None:
        """Remove everything about this launch (none of its processes will come again), then give the claim back."""
        for suffix in ("json", "runs", "wanted", "seat", "lock"):
            (self._directory / f"{self._stem}.{suffix}").unlink(missing_ok=True)
        self.release()

    def sweep(self) -> None:
        """Remove what launches left that nobody will come to again: their owner is gone, or they are old."""
        for path in self._directory.glob("*.lock"):
            try:
                key = path.read_text()
                left_alone = owner_is_gone(key) or time.time() - path.stat().st_mtime > STALE_CLAIM_S
            except (OSError, ValueError):
                continue  # being taken or removed this moment
            if left_alone and path.stem != self._stem:
                left = Claim(self._directory.parent, key)
                if left.take():
                    left.forget()

    def _replace(self, name: str, data: bytes) -> None:
        temporary = self._directory / f".{name}-{os.getpid()}"
        fd = open_plain(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(temporary, self._directory / name)


def start_writer(runtime: Path, launch_key: str, job_key: str | None = None) -> None:
    """Start a process that will try to take the launch's claim; raise OSError where none can be started.

    job_key: of the launch, in place of the user's. The process detaches itself at once, so that nothing of ours is left
    for the training script to reap.
    """
    fd = open_plain(_log_path(runtime, launch_key), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable or "python3", "-P", "-m", "disttrack.writer", str(runtime), launch_key],
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            cwd="/",
            env=_environment(dict(os.environ)) | ({JOB_KEY: job_key} if job_key is not None else {}),
            start_new_session=True,
        )
    finally:
        os.close(fd)
    code = process.wait(timeout=30.0)  # the parent half ends as soon as the writer has detached
    if code != 0:
        raise OSError(": ".join([f"{sys.executable} ended with exit code {code}", *said(runtime, launch_key)]))


def said(runtime: Path, launch_key: str) -> list[str]:
    """Return the last line of what the launch's processes complained of; nothing where they did not."""
    return _tail(_log_path(runtime, launch_key)).splitlines()[-1:]


def _environment(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment of the writer: this package importable, and no run of its own."""
    package_parent = str(Path(__file__).parents[2])
    if package_parent not in (*site.getsitepackages(), site.getusersitepackages()):
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, [package_parent, environ.get("PYTHONPATH")]))
    environ.pop(PARENT, None)
    return environ


prepare(globals())
