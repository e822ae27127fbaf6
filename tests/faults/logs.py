"""Run logs to damage: what they hold is known, frame by frame."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disttrack.environments.host import private_directory
from disttrack.journal.directories import note_place, outbox_directory
from disttrack.journal.outbox import Outbox
from disttrack.journal.segment import Frame, FrameKind, read_frames
from tests.index.logs import Process, RunLog, process_of


def long_run(root: Path, frames: int = 40, rows: int = 120) -> tuple[RunLog, Process]:
    """Returns a finished run of one rank: rows a frame, with text that does not compress well."""
    log, process = RunLog(root), process_of(root=str(root))
    for frame in range(frames):
        process.encoder.announce_again()  # each frame can be read by itself
        first = len(process.bounds) - 1
        for row in range(rows):
            step = frame * rows + row
            process.row({"loss": step * 0.37, "text": os.urandom(48).hex()} if row else {"loss": 0.0}, step)
        log.commit((process, first, len(process.bounds) - 1))
    first = len(process.bounds) - 1
    process.end()
    log.commit((process, first, len(process.bounds) - 1))
    log.see(process, "ended", exit_code=0)
    log.end()
    log.close()
    return log, process


def data_frames(path: Path) -> list[Frame]:
    """Returns the whole DATA frames of a segment."""
    return [found for found in read_frames(path) if isinstance(found, Frame) and found.kind == FrameKind.DATA]


def journal_of(process: Process, runtime: Path, place: Path) -> Path:
    """Leaves the journal of a dead process on this host, and returns its directory."""
    directory = outbox_directory(private_directory(place), process.join)
    outbox = Outbox(directory, process.join)
    outbox.append(process.journal, process.logged)
    outbox.close()
    note_place(private_directory(runtime), place)
    return directory


def cli(*arguments: object, code: int = 0) -> str:
    """Returns what the command line prints, which must end with this code."""
    done = subprocess.run([sys.executable, "-m", "disttrack", *map(str, arguments)], capture_output=True, timeout=300)
    assert done.returncode == code, done.stderr.decode() + done.stdout.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


def answer(*arguments: object, code: int = 0) -> Any:
    """Returns the JSON that a verb prints."""
    return json.loads(cli(*arguments, "--json", code=code))


def listing(directory: Path) -> Iterator[tuple[str, bytes, int]]:
    """Yields the path, bytes and modification time of each file and directory below one."""
    for path in sorted(directory.rglob("*")):
        yield str(path), path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns
