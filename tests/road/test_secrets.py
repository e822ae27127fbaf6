"""Secrets in a config are nowhere in the store: not in journals, logs or the index, zipped or not."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest

from disttrack.index.checksums import verified
from disttrack.index.facts import RunFacts
from disttrack.journal.segment import Frame, read_frames
from disttrack.records.codec import decode
from tests.road.site import Site

SCRIPT = """
import os, disttrack
settings = {"redact_secrets": %s}
run = disttrack.init(project="p", settings=settings, config={"api_key": "CANARY-1", "lr": 0.1, "eos_token": "</s>"})
run.config.update({"hub": [{"token": "CANARY-2"}], "db": "postgresql://u:CANARY-3@host/db", "max_tokens": 5})
run.config["args"] = ["--password", "CANARY-4"]
assert run.config["api_key"] == "CANARY-1" and run.config.hub == [{"token": "CANARY-2"}]
try:
    run.config["api_key"] = "CANARY-5"
except disttrack.errors.ConfigError as error:
    print(error)
run.log({"loss": 1.0})
raise RuntimeError("cannot reach https://u:CANARY-6@host/ with --token CANARY-7")
"""


def stored_bytes(directory: Path) -> dict[str, bytes]:
    """Returns what every file below a directory holds, and what of it is unzipped when it is read."""
    found = {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    for path in directory.rglob("*.dtl"):
        found[f"{path}, unzipped"] = b"".join(frame.payload for frame in read_frames(path) if isinstance(frame, Frame))
    for path in directory.rglob("index-*.sqlite"):
        connection = sqlite3.connect(path)
        facts = [decode(verified(blob), RunFacts) for (blob,) in connection.execute("SELECT facts FROM run")]
        connection.close()
        found[f"{path}, unpacked"] = repr(facts).encode()
    return found


@pytest.mark.real(timeout_s=60)
def test_secrets_in_a_config_are_nowhere_in_the_store(site: Site, tmp_path: Path) -> None:
    script = site.script(SCRIPT % "True")
    output = site.python(script, code=1)
    run = site.only_run()
    assert run["config"] == {
        "api_key": "[redacted]",
        "args": ["--password", "[redacted]"],
        "db": "postgresql://host/db",
        "eos_token": "</s>",
        "hub": [{"token": "[redacted]"}],
        "lr": 0.1,
        "max_tokens": 5,
    }
    script.unlink()
    assert [name for name, content in stored_bytes(tmp_path).items() if b"CANARY" in content] == []
    said = [line for line in output.splitlines() if "look like secrets" in line]
    assert len(said) == 3, output
    assert "api_key" in said[0]
    assert not [
        line for line in output.splitlines() if "CANARY" in line and "raise" not in line and "Runtime" not in line
    ]


@pytest.mark.real(timeout_s=60)
def test_who_wants_them_stored_says_so(site: Site) -> None:
    site.python(site.script(SCRIPT % "False"), code=1)
    assert site.only_run()["config"]["api_key"] == "CANARY-1"


@pytest.mark.real(timeout_s=60)
def test_of_many_ranks_with_one_config_the_first_says_what_was_redacted(site: Site) -> None:
    script = site.script(
        """
        import sys, disttrack
        settings = {"rank": int(sys.argv[1]), "world_size": 3}
        with disttrack.init(project="p", config={"api_key": "CANARY-1"}, settings=settings) as run: run.log({"a": 1})
        """
    )
    ranks = [site.start(sys.executable, script, rank) for rank in range(3)]
    outputs = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0, 0], outputs
    assert [output.count("look like secrets") for output in outputs] == [1, 0, 0], outputs
    assert site.only_run()["config"] == {"api_key": "[redacted]"}
