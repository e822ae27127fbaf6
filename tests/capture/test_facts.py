"""What a process finds out about itself and its host."""

from __future__ import annotations

import os
import types
from pathlib import Path

from disttrack.capture.devices import devices
from disttrack.capture.host import host
from disttrack.capture.packages import packages
from disttrack.capture.program import ENVIRONMENT, program, script_of


def test_the_program_is_told_without_its_secrets() -> None:
    environ = {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "DISTTRACK_JOB_KEY": "CANARY-1-0123456789",
        "HOME": "/root",
        "MY_PASSWORD": "CANARY-2",
        "SLURM_JOB_ID": "7",
    }
    argv = ["train.py", "--lr", "0.1", "--password", "CANARY-3", "--url=https://u:CANARY-4@host/"]
    found = program(argv, environ, {}, "/work", redact=True)
    assert found["argv"] == ["train.py", "--lr", "0.1", "--password", "[redacted]", "--url=https://host/"]
    assert found["environment"] == {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "DISTTRACK_JOB_KEY": "[redacted]",
        "SLURM_JOB_ID": "7",
    }
    assert (found["program"], found["cwd"]) == ("train.py", "/work")
    assert program(argv, environ, {}, "/work", redact=False)["argv"] == argv
    assert "CANARY" not in str(program(argv, environ, {}, "/work", redact=False)["environment"])


def test_the_main_program_is_a_script_or_a_module() -> None:
    main = types.ModuleType("__main__")
    main.__file__ = "/work/train.py"
    assert script_of({"__main__": main}, ["train.py"]) == "/work/train.py"
    main.__spec__ = types.SimpleNamespace(name="package.train.__main__")  # type: ignore[assignment]
    assert script_of({"__main__": main}, ["x"]) == "-m package.train"
    assert script_of({}, []) == "<python>"
    assert script_of({}, ["-c"]) == "-c"


def test_whole_families_of_variables_end_with_a_star() -> None:
    assert [name for name in ENVIRONMENT if not name.rstrip("*").replace("_", "").isalnum()] == []


def test_packages_are_named_as_they_are_installed(tmp_path: Path) -> None:
    for name in (
        "Foo_Bar-1.2.3.dist-info",
        "old.style-2.0-py3.11.egg-info",
        "no_version",
        "ruff-0.1.dev0+g1.dist-info",
    ):
        (tmp_path / name).mkdir()
    found = packages([str(tmp_path), str(tmp_path / "gone")])
    assert {name: version for name, version in found.items() if name != "disttrack"} == {
        "foo-bar": "1.2.3",
        "old-style": "2.0",
        "ruff": "0.1.dev0+g1",
    }
    assert {"numpy", "pytest"} <= packages().keys()


def test_the_host_says_what_may_be_used() -> None:
    found = host()
    assert found["cpus"] == os.cpu_count()
    assert 0 < int(str(found["memory_bytes"])) <= int(str(found["host_memory_bytes"]))
    assert 0 < int(str(found["cpus_allowed"])) <= (os.cpu_count() or 1)


def test_devices_are_listed_or_there_are_none() -> None:
    found = devices()
    assert not found or {"driver", "cuda", "gpus"} == found.keys()
