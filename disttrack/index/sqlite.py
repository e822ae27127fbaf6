"""The index file: where it may lie, how it is opened, and who may write it at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from disttrack.environments.files import open_plain
from disttrack.environments.host import is_network_filesystem, own_name, private_directory
from disttrack.errors import UnsafeDirectory
from disttrack.index.checksums import IndexDamaged
from disttrack.index.schema import DDL, SCHEMA_VERSION

__all__ = ["CACHES", "MEMORY", "Busy", "index_paths", "is_damaged", "open_index", "reading", "remove", "writing"]

MEMORY = Path(":memory:")
"""Where an index lies that can lie nowhere: it lives as long as its reader."""

CACHES = ("DISTTRACK_CACHE_DIR", "XDG_CACHE_HOME", "HOME")
"""The variables that say where an index may lie beside its root, as _cache_directories reads them."""

READ_WAIT_S = 5.0  # readers wait for nobody in WAL mode, but for the making of the file and for a checkpoint at its end

_CANNOT_WRITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
}


# ERROR: a statement of ours that its tables do not know any more, since the text that made them is another one.
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}


class Busy(Exception):
    """The index cannot be written now: another process indexes, or the disk is full. What is there can be read."""


def open_index(root: Path | None, environ: Mapping[str, str]) -> tuple[Path, sqlite3.Connection]:
    """Open the index of a root in the first of its places that takes one; return where that is. None: of no root."""
    for path in index_paths(root, environ) if root is not None else ():
        try:
            _make_file(path)
            return path, _opened_or_replaced(path)
        except (OSError, sqlite3.OperationalError):
            continue  # its disk is full, or it cannot be written after all
    return MEMORY, _opened(MEMORY)


def _make_file(path: Path) -> None:
    """Make an index's file, with the permissions of its directory; raise OSError where a link to another stands."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        os.close(open_plain(path, os.O_RDWR | os.O_CREAT))
    else:
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ELOOP, "not a plain file", str(path))


def index_paths(root: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield where the index of a root may lie, best first: in the root, or in a local directory of this user's.

    SQLite's WAL needs memory shared by all its users: one host, no network file system (facts/storage.md).
    """
    name = f"index-v{SCHEMA_VERSION}-{_root_id(root)}.sqlite"
    if os.access(root, os.W_OK) and not is_network_filesystem(root):
        yield root / name
    for place in _cache_directories(environ):
        if is_network_filesystem(place):
            continue
        try:
            directory = private_directory(private_directory(place / own_name()) / "index")
        except (OSError, UnsafeDirectory):
            continue  # not writable, or another's: the next one
        if os.access(directory, os.W_OK):
            yield directory / name


def _root_id(root: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:12]


def _cache_directories(environ: Mapping[str, str]) -> Iterator[Path]:
    home = environ.get("HOME")
    chosen = [environ.get("DISTTRACK_CACHE_DIR"), environ.get("XDG_CACHE_HOME"), home and f"{home}/.cache"]
    yield from (Path(place) for place in [*chosen, "/var/tmp", "/tmp"] if place)


def _opened_or_replaced(path: Path) -> sqlite3.Connection:
    """Open an index, made if need be; a file that is none is removed: an index can be built again."""
    try:
        return _opened(path)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if not is_damaged(error):
            raise
        remove(path)
        return _opened(path)


def is_damaged(error: Exception) -> bool:
    """Say whether an error means that the index is none any more."""
    if isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorcode"):
        return error.sqlite_errorcode & 0xFF in _DAMAGED
    # An operation that fails without a code: it met text that is no UTF-8.
    return isinstance(error, IndexDamaged | UnicodeDecodeError | sqlite3.OperationalError)


def remove(path: Path) -> None:
    """Remove an index: whoever has it open goes on with what it had, and opens the next one then."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _opened(path: Path) -> sqlite3.Connection:
    # One connection may be used by several threads: the indexer has a lock of its own around it.
    connection = sqlite3.connect(path, timeout=READ_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA page_size = 32768")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA wal_autocheckpoint = 1000")
        if not _has_tables(connection):
            connection.execute("BEGIN IMMEDIATE")
            if not _has_tables(connection):  # another process may have made them meanwhile
                for statement in DDL.split(";"):
                    connection.execute(statement)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chunk'").fetchone())


@contextmanager
def reading(connection: sqlite3.Connection) -> Generator[None]:
    """Let all that is read in here be of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


@contextmanager
def writing(connection: sqlite3.Connection, wait_s: float) -> Generator[None]:
    """Be the one who writes, or raise Busy after wait_s; what is written in here is kept as a whole or not at all."""
    try:
        connection.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise _told(error) from error
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(READ_WAIT_S * 1000)}")
    try:
        yield
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        _undo(connection)
        raise _told(error) from error
    except BaseException:
        _undo(connection)
        raise


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # a full disk may have undone it already
        connection.execute("ROLLBACK")


def _told(error: sqlite3.OperationalError) -> Exception:
    return Busy(str(error)) if error.sqlite_errorcode & 0xFF in _CANNOT_WRITE else error
