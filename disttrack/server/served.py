"""What one server serves: a root of runs, read through one reader, and what it is told apart from others by."""

from __future__ import annotations

import errno
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request

from disttrack.query.columns import Cells
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.subjects import Subject
from disttrack.server.answers import Refused

__all__ = ["Served", "served"]


@dataclass
class Served:
    """The runs below a root, for as long as the server runs."""

    root: Path
    reader: Reader
    cells: Cells
    instance: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def of(cls, root: Path) -> Served:
        """Return what serves a root, which need not exist yet."""
        reader = Reader(root)
        return cls(root, reader, Cells(reader))

    def observer(self) -> Observer:
        """Return who looks at runs: this process, now."""
        return Observer.here(self.root)

    def now_s(self) -> float:
        """Return the time that answers carry, in unix seconds."""
        return time.time()

    def subject(self, wanted: str) -> Subject:
        """Return the run that answers to an id; raise RunNotFound, UnsupportedFormat."""
        return Subject(self.reader.find(wanted), self.observer())

    def why_not_editable(self) -> str | None:
        """Return why nothing can be changed here; None where it can."""
        if not self.root.is_dir():
            return f"{self.root} is not there"
        try:
            if os.access(self.root, os.W_OK | os.X_OK):
                return None
        except OSError as error:
            return os.strerror(error.errno or errno.EIO)
        read_only = bool(os.statvfs(self.root).f_flag & os.ST_RDONLY)
        why = "its file system is mounted read-only" if read_only else "you may not write there"
        return f"{self.root} cannot be changed: {why}"


def served(request: Request) -> Served:
    """Return what the server of a request serves."""
    found = request.app.state.served
    if not isinstance(found, Served):
        raise Refused(500, "This server serves nothing.")
    return found
