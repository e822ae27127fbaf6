"""Keys between the nodes of one launch: who may connect to its writer, and how a node proves that it may.

CURVE encrypts and proves the server; that a client may come is the ZAP allow-list's word, since CURVE alone admits
whoever knows the server's key. Each writer life has a key pair of its own, and one client key, which is derived from
the user's job key where there is one, so that no store carries it; else the meeting carries it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

import msgspec
import zmq
from zmq.utils import z85

from disttrack.environments.host import is_network_filesystem
from disttrack.environments.processes import JOB_KEY
from disttrack.records.structs import prepare

__all__ = [
    "JOB_KEY",
    "ClientKey",
    "Credentials",
    "JobKey",
    "client_key",
    "job_key_trouble",
    "load_job_key",
    "new_credentials",
]

KEY_BYTES = 32
MIN_JOB_KEY_CHARACTERS = 16


class JobKey(NamedTuple):
    """A secret of the user that all nodes of a job can read; id tells others which one it is, not what."""

    secret: bytes
    id: str


class ClientKey(NamedTuple):
    """A key pair of CURVE, in Z85."""

    public: bytes
    secret: bytes


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a node needs to connect to a writer: part of what the writer publishes.

    client_secret is None where it is derived from the job key named by job_key_id.
    """

    server_key: str
    client_secret: str | None
    job_key_id: str | None


def load_job_key() -> JobKey | None:
    """Return the user's job key: DISTTRACK_JOB_KEY, else ~/.config/disttrack/job.key; None where there is none.

    Where the home directory is shared with other hosts, the key is made when it is first wanted.
    """
    given = os.environ.get(JOB_KEY, "").strip()
    if len(given) >= MIN_JOB_KEY_CHARACTERS:
        return _job_key(given.encode())
    path = _job_key_path()
    try:
        found = _read_private(path)
        if found is None and is_network_filesystem(path.parent):
            _create(path)
            found = _read_private(path)
    except OSError:
        return None
    return _job_key(found) if found else None


def job_key_trouble() -> tuple[str | None, str | None, str]:
    """Look for the user's job key without making one; return where it is, what is wrong with one, and how to mend that.

    None, None where there is none. One that is wrong is not used.
    """
    too_short = f"it has fewer than {MIN_JOB_KEY_CHARACTERS} characters"
    given = os.environ.get(JOB_KEY, "").strip()
    if given and len(given) < MIN_JOB_KEY_CHARACTERS:
        return JOB_KEY, too_short, f"export {JOB_KEY}=$(openssl rand -hex 32), the same on every node"
    if given:
        return JOB_KEY, None, ""
    path = _job_key_path()
    try:
        found = os.lstat(path)
        if _read_private(path) is not None:
            return str(path), None, ""
    except FileNotFoundError:
        return None, None, ""
    except OSError as error:
        return str(path), f"it cannot be read ({error.strerror})", f"chmod 600 {path}"
    if not stat.S_ISREG(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        return str(path), "it is not a file of this user", f"rm {path}"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return str(path), f"others may read it (mode {stat.S_IMODE(found.st_mode):04o})", f"chmod 600 {path}"
    return str(path), too_short, f"openssl rand -hex 32 > {path}"


def _job_key_path() -> Path:
    return Path(os.path.expanduser("~")) / ".config" / "disttrack" / "job.key"


def _job_key(secret: bytes) -> JobKey:
    return JobKey(secret, hashlib.sha256(b"disttrack job key id\0" + secret).hexdigest()[:16])


def _read_private(path: Path) -> bytes | None:
    """Return a secret file's content; None where there is none that only its owner, this user, can read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if stat.S_IMODE(found.st_mode) & 0o077 or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
            return None
        content = file.read(4096).strip()
    return content if len(content) >= MIN_JOB_KEY_CHARACTERS else None


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_hex(KEY_BYTES))
    try:
        os.link(temporary, path)  # the first of several nodes wins
    except FileExistsError:
        pass  # and its key is everybody's
    finally:
        temporary.unlink()


def new_credentials(nonce: str) -> tuple[bytes, ClientKey, Credentials]:
    """Return a new server secret, the client key that may connect to it, and what to publish. nonce: the writer's."""
    server_public, server_secret = zmq.curve_keypair()
    job_key = load_job_key()
    if job_key is None:
        public, secret = zmq.curve_keypair()
        client, published = ClientKey(public, secret), secret.decode()
    else:
        client, published = _derived(job_key, nonce, server_public), None
    credentials = Credentials(
        server_key=server_public.decode(),
        client_secret=published,
        job_key_id=None if job_key is None else job_key.id,
    )
    return server_secret, client, credentials


def client_key(credentials: Credentials, nonce: str) -> ClientKey:
    """Return the key to connect with; raise PermissionError, saying why, where this node has no right to it."""
    if credentials.client_secret is not None:
        secret = credentials.client_secret.encode()
        return ClientKey(zmq.curve_public(secret), secret)
    job_key = load_job_key()
    if job_key is None or job_key.id != credentials.job_key_id:
        has = "has none" if job_key is None else "has another"
        raise PermissionError(
            f"the writer's node has a job key and this node {has}: give both the same {JOB_KEY}, "
            "or the same ~/.config/disttrack/job.key with mode 0600"
        )
    return _derived(job_key, nonce, credentials.server_key.encode())


def _derived(job_key: JobKey, nonce: str, server_public: bytes) -> ClientKey:
    message = b"disttrack client key\0" + nonce.encode() + b"\0" + server_public
    secret = z85.encode(hmac.digest(job_key.secret, message, "sha256"))
    return ClientKey(zmq.curve_public(secret), secret)


prepare(globals())
