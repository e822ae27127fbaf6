"""Mounts of the stand-in for a network file system (tests/faults/networkfs.py), and what may be asked of one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Client", "network_clients"]

REPOSITORY = Path(__file__).parents[2]


class Client:
    """One node's mount of the shared directory, and the process that serves it."""

    def __init__(self, server: Path, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.server = server
        self._complaints = path.with_suffix(".stderr")
        with open(self._complaints, "w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.networkfs", str(server), str(path)],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        try:
            self._answered("mounted")
        except BaseException:
            self.end()
            if "mount failed" in self._complaints.read_text():
                pytest.skip(f"no FUSE for this user: {self._complaints.read_text().splitlines()[0]}")
            raise

    def _answered(self, expected: str) -> None:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer == f"{expected}\n", self._complaints.read_text()

    def _say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        self._answered(command.split()[0])

    def hang(self) -> None:
        """Let every call wait from now on."""
        self._say("hang")

    def fail(self, name: str) -> None:
        """Let every call fail from now on, as errno names it."""
        self._say(f"fail {name}")

    def make_stale(self) -> None:
        """Let what is open now fail with ESTALE for good."""
        self._say("stale")

    def heal(self) -> None:
        """Let calls wait and fail no more."""
        self._say("heal")

    def end(self) -> None:
        """Unmount it, whatever became of its process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(300)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            if os.path.ismount(self.path):
                subprocess.run(["fusermount3", "-u", "-z", str(self.path)], check=True)


@contextmanager
def network_clients(directory: Path, require_program: Callable[[str], str]) -> Generator[tuple[Client, Client]]:
    """Mount one directory twice, as two nodes would; skipped where there is no FUSE."""
    require_program("fusermount3")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
    server = directory / "server"
    server.mkdir()
    clients: list[Client] = []
    try:
        clients.extend(Client(server, directory / name) for name in ("here", "there"))
        yield clients[0], clients[1]
    finally:
        for client in clients:
            client.end()
