"""Which servers of this user run on this host: a file of each, 0600, and how one proves that it is the file's."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from disttrack.environments import host
from disttrack.environments.files import open_plain, read_plain
from disttrack.server.about import proof_of

__all__ = ["Instance", "forget", "new_instance", "note", "running"]

MAX_FILE_BYTES = 65_536
ANSWER_S = 2.0


@dataclass(frozen=True)
class Instance:
    """A server: where it listens, what it serves, and the secrets that only this user can read."""

    root: str
    host: str
    port: int
    pid: int
    start_time: int
    token: str
    challenge_key: str  # hex

    def url(self, path: str = "/") -> str:
        """Return the address that lets in whoever opens it."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}{path}?token={self.token}"


def new_instance(root: Path, address: str, port: int) -> Instance:
    """Return this process as a server, with new secrets."""
    pid = os.getpid()
    return Instance(
        root=str(root),
        host=address,
        port=port,
        pid=pid,
        start_time=host.process_start_time(pid),
        token=secrets.token_urlsafe(24),
        challenge_key=secrets.token_hex(32),
    )


def _file(root: Path, chosen: str | None) -> Path:
    directory = host.private_directory(host.runtime_directory(chosen) / "servers")
    return directory / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def note(instance: Instance, chosen: str | None) -> None:
    """Write a server down, so that the next `disttrack ui` finds it; chosen: the runtime directory, if set."""
    path = _file(Path(instance.root), chosen)
    new = path.with_suffix(f".{os.getpid()}")
    fd = open_plain(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(asdict(instance), file)
    os.replace(new, path)


def forget(instance: Instance, chosen: str | None) -> None:
    """Remove what note wrote, unless another server has written there since."""
    path = _file(Path(instance.root), chosen)
    if _read(path) == instance:
        path.unlink(missing_ok=True)


def running(root: Path, chosen: str | None) -> Instance | None:
    """Return the server of a root that runs on this host; None where there is none.

    Neither the file nor the port is believed alone: the process must live, and who listens there must know the key.
    """
    instance = _read(_file(root, chosen))
    if instance is None or instance.root != str(root) or not host.is_alive(instance.pid, instance.start_time):
        return None
    challenge = secrets.token_hex(32)
    name = f"[{instance.host}]" if ":" in instance.host else instance.host
    url = f"http://{name}:{instance.port}/api/hello?challenge={challenge}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by way of somebody else's proxy
    try:
        with opener.open(url, timeout=ANSWER_S) as answer:
            said: Any = json.loads(answer.read(MAX_FILE_BYTES))
    except (OSError, ValueError):
        return None
    proof = proof_of(bytes.fromhex(instance.challenge_key), challenge)
    given: object = cast("dict[str, object]", said).get("proof") if isinstance(said, dict) else None
    return instance if isinstance(given, str) and secrets.compare_digest(given, proof) else None


def _read(path: Path) -> Instance | None:
    try:
        fields: Any = json.loads(read_plain(path, MAX_FILE_BYTES))
        return Instance(**fields)
    except (OSError, ValueError, TypeError):
        return None  # none, or of another version
