"""The doctor beside real jobs of one node: who answers, who was stopped or killed, and what the dead left."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from disttrack.transport.questions import ask
from disttrack.transport.rendezvous import Claimed, claimed
from tests.conftest import writers
from tests.road.site import TORCHRUN, Site, wait_until

LOG_UNTIL_STOPPED = """
    import os, sys, time
    import disttrack
    run = disttrack.init(project="p", settings={"rank": int(sys.argv[1]), "world_size": int(sys.argv[2])})
    step = 0
    while not os.path.exists("stop"):
        run.log({"a": float(step)}, step=step)
        step += 1
        if step == 50:
            run._recorder.sender.welcomed.wait()
            open(f"started{sys.argv[1]}", "w").write(run.id)
        time.sleep(0.01)
    run.finish()
"""

Findings = dict[str, list[dict[str, Any]]]


def examined(site: Site, code: int | None = 0, *arguments: object) -> Findings:
    """Return the findings of `disttrack doctor --json` by their check; any code but None is to be its exit code."""
    report = json.loads(site.cli("doctor", "--json", *arguments, code=code), parse_constant=pytest.fail)
    assert set(report) == {"ok", "host", "time", "rank", "root", "partial", "findings"}
    assert code is None or report["ok"] == (code == 0)
    found: Findings = {}
    for finding in report["findings"]:
        assert set(finding) == {"check", "group", "level", "text", "fix", "facts"}
        assert finding["level"] in ("ok", "warning", "failed")
        assert finding["check"].startswith(finding["group"] + ".")
        assert finding["fix"] or finding["level"] != "failed"
        found.setdefault(finding["check"], []).append(finding)
    return found


def wrong(found: Findings) -> list[str]:
    return [check for check, findings in found.items() if any(one["level"] == "failed" for one in findings)]


def the_writer() -> psutil.Process:
    """Return the process that serves the ranks, which have met it; one that starts or goes can be there beside it."""
    record = the_claim().record
    assert record is not None
    return psutil.Process(record.pid)


def the_claim() -> Claimed:
    (claim,) = claimed(Path(os.environ["DISTTRACK_RUNTIME_DIR"]))
    return claim


def started(site: Site, ranks: int) -> list[subprocess.Popen[str]]:
    """Start ranks that log until the test says stop, and wait until all of them do."""
    script = site.script(LOG_UNTIL_STOPPED)
    processes = [site.start(sys.executable, script, rank, ranks) for rank in range(ranks)]
    wait_until(lambda: all((site.directory / f"started{rank}").exists() for rank in range(ranks)), "all ranks log")
    return processes


def stop(site: Site, ranks: list[subprocess.Popen[str]]) -> None:
    (site.directory / "stop").touch()
    for rank in ranks:
        output, _ = rank.communicate(timeout=300)
        assert (rank.returncode, output) == (0, "")


@pytest.mark.real(timeout_s=60)
def test_beside_a_job_its_writer_answers_for_its_ranks_and_asking_keeps_it_from_nothing(site: Site) -> None:
    ranks = started(site, 2)
    wait_until(lambda: "part" in examined(site, None)["processes.answers"][0]["facts"], "it answers within 2 s")
    (answers,) = examined(site)["processes.answers"]
    facts = answers["facts"]
    assert (facts["part"], facts["pid"]) == ("writer", the_writer().pid)
    assert facts["runs"] == [(site.directory / "started0").read_text()]
    assert sorted((rank["rank"], rank["pid"], rank["over"]) for rank in facts["ranks"]) == [
        (number, rank.pid, False) for number, rank in enumerate(ranks)
    ]
    assert all(rank["heard_s"] < 100 and rank["stored_bytes"] > 0 for rank in facts["ranks"])
    assert facts["refused"] == 0

    claim = the_claim()
    assert claim.record is not None
    address = claim.record.address
    text = site.cli("doctor")
    assert f"✓ the writer (pid {the_writer().pid}) of project p answers in" in text
    assert "Nothing is wrong." in text or "warning" in text
    stop(site, ranks)
    wait_until(lambda: ask(address, 0.2) is None, "the writer goes although it is asked all the time")
    wait_until(lambda: not list(writers(Path(os.environ["DISTTRACK_RUNTIME_DIR"]))), "it has gone")
    assert "processes.none" in examined(site)
    assert site.only_run()["state"] == "finished"


@pytest.mark.real(timeout_s=60)
def test_a_stopped_writer_is_named_with_what_lets_it_go_on(site: Site) -> None:
    ranks = started(site, 1)
    writer = the_writer()
    writer.suspend()
    found = examined(site, 1)
    assert wrong(found) == ["processes.answers"]
    (silent,) = found["processes.answers"]
    assert "it was stopped" in silent["text"]
    subprocess.run(shlex.split(silent["fix"].partition(";")[0]), check=True)
    wait_until(lambda: "part" in examined(site, None)["processes.answers"][0]["facts"], "it answers again")
    stop(site, ranks)


@pytest.mark.real(timeout_s=60)
def test_what_a_killed_job_left_is_told_with_the_command_that_brings_it_home(site: Site) -> None:
    (rank,) = started(site, 1)
    writer = the_writer()
    for process in (writer, psutil.Process(rank.pid)):
        process.suspend()
    for process in (writer, psutil.Process(rank.pid)):
        process.kill()
    rank.communicate(timeout=300)
    assert the_claim().record is not None  # that of the dead writer

    found = examined(site, 1)
    assert wrong(found) == ["journals.waiting"]
    (waiting,) = found["journals.waiting"]
    assert waiting["facts"]["ranks"] == [0]
    assert waiting["facts"]["records"] >= 50
    assert waiting["facts"]["runs"] == [(site.directory / "started0").read_text()]
    assert "processes.none" in found
    assert "journals.waiting" in examined(site, 1)  # it was only looked at
    verb, *options = shlex.split(waiting["fix"].partition(" on this node")[0])[1:]
    site.cli(verb, *options)
    assert "journals.waiting" not in examined(site)
    assert site.only_run()["receipt"]["stored"] >= waiting["facts"]["records"]


@pytest.mark.real(timeout_s=60)
def test_ranks_without_a_process_of_disttrack_are_named(site: Site) -> None:
    (rank,) = started(site, 1)
    psutil.Process(rank.pid).suspend()  # so that it does not start another one
    writer = the_writer()
    writer.kill()
    writer.wait(300)
    found = examined(site, 1)
    assert wrong(found) == ["processes.missing"]
    assert found["processes.missing"][0]["facts"]["ranks"] == [0]
    psutil.Process(rank.pid).resume()
    wait_until(lambda: not the_claims_writer_is_dead(), "the rank starts another writer")
    stop(site, [rank])


def the_claims_writer_is_dead() -> bool:
    record = the_claim().record
    return record is None or ask(record.address, 0.2) is None


@pytest.mark.real(timeout_s=60)
def test_a_writer_that_cannot_write_says_why(site: Site) -> None:
    site.root.write_text("a file where the directory should be")
    script = site.script(
        LOG_UNTIL_STOPPED.replace("run._recorder.sender.welcomed.wait()", "").replace("run.id", '"not known"')
    )
    rank = site.start(sys.executable, script, 0, 1)
    wait_until(lambda: (site.directory / "started0").exists(), "the rank logs")
    wait_until(lambda: "processes.complains" in examined(site, 1), "the writer has tried")
    wait_until(lambda: sorted(wrong(examined(site, 1))) == ["disks.root", "processes.complains"], "no more is wrong")
    site.root.unlink()
    (site.directory / "stop").touch()
    rank.communicate(timeout=300)
    assert rank.returncode == 0
    assert site.only_run()["state"] == "finished"


@pytest.mark.real(timeout_s=60)
def test_in_place_of_a_script_every_rank_says_who_it_is_and_one_examines_the_node(site: Site) -> None:
    output = site.run(*TORCHRUN, 2, "-m", "disttrack", "doctor")
    for rank in range(2):
        assert f"rank {rank} of 2, local rank {rank}, on 1 node: from torchrun" in output
    assert output.count("Who can read it") == 1
    assert output.count("The node is examined by its local rank 0.") == 1
    assert site.ls() == []
