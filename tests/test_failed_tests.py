"""What a failed test leaves open is no other test's fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

TESTS = """
import gc

def test_that_fails():
    left = [open(__file__)]
    left.append(left)
    assert not left

def test_that_comes_next():
    gc.collect()

def test_that_leaves_something_open_and_passes():
    left = [open(__file__)]
    left.append(left)

def test_that_meets_it():
    gc.collect()
"""


def test_only_what_a_test_that_passes_leaves_open_fails_another(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(TESTS)
    options = ("-c", REPOSITORY / "pyproject.toml", "--rootdir", tmp_path, "-p", "tests.conftest", "-p", "no:xdist")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", *map(str, options), "-p", "no:cacheprovider", str(file)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    outcomes = [line.split()[1] for line in done.stdout.splitlines() if "::" in line and "%]" in line]
    assert outcomes == ["FAILED", "PASSED", "PASSED", "FAILED"], done.stdout
