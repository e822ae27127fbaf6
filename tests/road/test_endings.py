"""How each rank ended, as `show` tells it: exit code or signal, and which rank failed first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.road.site import Site, wait_until

HEAD = """
    import ctypes, os, signal, sys
    import disttrack
    run = disttrack.init(project="p")
    run.log({"a": 1})
    run._recorder.sender.welcomed.wait()
"""

WAYS: list[tuple[str, tuple[str, int | None, str | None], str]] = [
    ("run.finish()", ("finished", 0, None), "finished"),
    ("pass", ("finished", 0, None), "finished"),
    ("sys.exit(2)", ("failed", 2, None), "failed (exit 2)"),
    ("raise ValueError('as planned')", ("failed", 1, None), "failed (exit 1)"),
    ("os._exit(3)", ("crashed", 3, None), "crashed (exit 3)"),
    ("os.kill(os.getpid(), signal.SIGKILL)", ("crashed", None, "SIGKILL"), "crashed (SIGKILL)"),
    ("os.kill(os.getpid(), signal.SIGTERM)", ("crashed", None, "SIGTERM"), "crashed (SIGTERM)"),
    ("ctypes.string_at(0)", ("crashed", None, "SIGSEGV"), "crashed (SIGSEGV)"),
    ("run.finish(); ctypes.string_at(0)", ("finished", 0, "SIGSEGV"), "finished, then SIGSEGV"),
    ("run.end(); os.kill(os.getpid(), signal.SIGKILL)", ("finished", 0, "SIGKILL"), "finished, then SIGKILL"),
    ("run.finish(); os._exit(3)", ("finished", 3, None), "finished, then exit 3"),
]


def ended(run: dict[str, Any]) -> bool:
    return run["ended_at"] is not None


def way(rank: dict[str, Any]) -> tuple[str, int | None, str | None]:
    return rank["state"], rank["exit_code"], rank["signal"]


@pytest.mark.real(timeout_s=120)
def test_show_tells_how_a_process_ended(site: Site) -> None:
    processes: list[subprocess.Popen[str]] = []
    for number, (code, _, _) in enumerate(WAYS):
        script = site.script(HEAD + f"    run.config['way'] = {number}\n    {code}\n", f"way{number}.py")
        processes.append(site.start(sys.executable, script))
    wait_until(lambda: len(site.ls()) == len(WAYS) and all(map(ended, site.ls())), "all have ended")
    for process in processes:  # they were not reaped up to now
        process.communicate()
    for row in site.ls():
        run = site.show(row["id"])
        code, expected, text = WAYS[int(run["config"]["way"])]
        assert way(run["ranks"][0]) == expected, code
        assert text in site.cli("show", run["id"])
        failure = run["first_failure"]
        assert (failure is None) == (expected[0] == "finished"), code
        if failure is not None:
            assert (failure["rank"], failure["others"]) == (0, 0)
            assert way(failure) == expected
            assert failure["exception"] == ("ValueError: as planned" if "ValueError" in code else None)


@pytest.mark.real(timeout_s=60)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_process_that_is_reaped_at_once_is_told_of_as_well(site: Site, wrapped: bool) -> None:
    script = site.script(HEAD + "    print(os.getpid(), flush=True)\n    sys.stdin.read()\n")
    wrapper = site.script(f"#!/bin/sh\n{sys.executable} {script}\nexit $?\n", "wrap.sh")
    wrapper.chmod(0o755)
    command = [str(wrapper)] if wrapped else [sys.executable, str(script)]
    with subprocess.Popen(command, cwd=site.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        os.kill(pid, signal.SIGKILL)
        process.communicate()
    wait_until(lambda: ended(site.ls()[0]), "it has ended")
    assert way(site.only_run()["ranks"][0]) == ("crashed", None, "SIGKILL")


@pytest.mark.real(timeout_s=120)
def test_of_ranks_that_torchrun_takes_down_the_one_that_died_by_itself_is_named(site: Site) -> None:
    script = site.script(
        """
        import os, signal, time
        import disttrack
        run = disttrack.init(project="p")
        run.log({"a": 1})
        run._recorder.sender.welcomed.wait()
        open(f"joined{run.rank}", "w").close()
        while not all(os.path.exists(f"joined{rank}") for rank in range(3)):
            time.sleep(0.02)
        if run.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(0.1)  # until torchrun ends this rank
        """
    )
    site.torchrun(3, script, code=1)
    run = site.only_run()
    assert [way(rank) for rank in run["ranks"]] == [
        ("terminated", None, "SIGTERM"),
        ("crashed", None, "SIGKILL"),
        ("terminated", None, "SIGTERM"),
    ]
    failure = run["first_failure"]
    assert (failure["rank"], failure["signal"], failure["others"], failure["terminated"]) == (1, "SIGKILL", 0, 2)
    assert run["attempts"][0]["first_failure"] == failure
    assert "crashed (SIGKILL); 2 ranks ended by the launcher" in site.cli("show", run["id"])
