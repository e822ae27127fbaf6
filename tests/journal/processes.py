"""Runs code that appends in a process of its own, to take its disk away or to kill it."""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]  # the code imports from tests

#: What code under `killed_after` begins with: appended(n) notes, in memory that outlives it, that n appends returned.
COUNTER = """
import mmap, os, struct, sys
shared = mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 8)
def appended(number):
    struct.pack_into("<Q", shared, 0, number)
    if number == 1_000:
        print("enough", flush=True)
"""

#: What code under `run` may begin with: disk_takes(path, n) lets no file grow beyond n bytes more than path has now.
QUOTA = """
import json, os, resource, sys
def disk_takes(path, more_bytes):
    size = os.path.getsize(path) if os.path.exists(path) else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + more_bytes, resource.RLIM_INFINITY))
def tried(append):
    try:
        append()
    except OSError as error:
        return type(error).__name__, error.errno
"""


def run(code: str, directory: Path) -> Any:
    """Runs code with the directory as sys.argv[1] and returns the JSON it printed."""
    command = [sys.executable, "-c", textwrap.dedent(code), str(directory)]
    ended = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    return json.loads(ended.stdout)


def killed_after(code: str, directory: Path) -> int:
    """Runs code that appends for ever, kills it after a while, and returns how many appends had returned."""
    counter = directory / "counter"
    counter.write_bytes(bytes(8))
    command = [sys.executable, "-c", COUNTER + textwrap.dedent(code), str(directory), str(counter)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "enough\n"
        finally:
            process.send_signal(signal.SIGKILL)
    fd = os.open(counter, os.O_RDONLY)
    try:
        with mmap.mmap(fd, 8, prot=mmap.PROT_READ) as shared:
            [number] = struct.unpack("<Q", shared)
    finally:
        os.close(fd)
    return int(number)
