"""A real `disttrack ui` in a process of its own, and what asks it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

_TYPES = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "u1": "u1"}


@dataclass
class Ui:
    """A server that runs."""

    directory: Path
    url: str  # as it was printed
    base: str
    token: str
    client: httpx.Client  # has the token
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        return self.base.removeprefix("http://")

    def json(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_constant=_no_constant)

    def frame(self, path: str, **params: Any) -> Frame:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/vnd.disttrack.frame"
        return Frame.of(answer.content)

    def error(self, path: str, status: int, **params: Any) -> dict[str, Any]:
        answer = self.client.get(path, params=params)
        assert answer.status_code == status, answer.text
        error: dict[str, Any] = answer.json()["error"]
        return error


def _no_constant(name: str) -> object:
    raise AssertionError(f"{name} is no JSON")


@dataclass
class Frame:
    """A binary answer, read as docs/api.md tells."""

    header: dict[str, Any]
    data: bytes
    size: int

    @classmethod
    def of(cls, body: bytes) -> Frame:
        assert body[:4] == b"DTF1"
        length = int.from_bytes(body[4:8], "little")
        assert (8 + length) % 8 == 0
        return cls(json.loads(body[8 : 8 + length], parse_constant=_no_constant), body[8 + length :], len(body))

    def array(self, reference: Mapping[str, Any]) -> NDArray[np.float64]:
        assert reference["at"] % 8 == 0
        values = np.frombuffer(self.data, _TYPES[reference["type"]], reference["n"], reference["at"])
        return values.astype(np.float64) + float(reference["base"])


@contextmanager
def serving(directory: Path, *arguments: object, before: Sequence[str] = ()) -> Generator[Ui]:
    """Serves the runs below a directory as long as it is entered; before: a command that starts it."""
    command = [*before, sys.executable, "-m", "disttrack", "ui", "--no-open", "--dir", str(directory)]
    process = subprocess.Popen(
        [*command, *map(str, arguments or ("--port", "0"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            process.wait(300)
            raise AssertionError(f"it did not start: {process.stderr.read()}")
        base, _, token = url.partition("/?token=")
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=base, headers=headers, timeout=300, trust_env=False) as client:
            yield Ui(directory, url, base, token, client, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=300)
        finally:
            process.kill()
