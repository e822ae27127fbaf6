"""P9: a full journal never blocks and is never silent: what was dropped is stored itself, shown, and adds up."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.road.site import Site, wait_until

#: Rows of 1 KB into a quota of 64 KiB, with nobody to store them until there is a file named `go`.
SCRIPT = """
import json, os, pathlib, sys, time
import disttrack

run = disttrack.init(project="p", settings={"finish_timeout_s": float(sys.argv[1])})
for step in range(200):
    run.log({"text": "x" * 1_000}, step=step)
pathlib.Path("filled").touch()
if len(sys.argv) > 2:
    while not os.path.exists("go"):
        time.sleep(0.01)
    step, kept = 1_000, False
    while step < 1_200 or not kept:  # as training would: some of them are dropped, the last one is not
        dropped = run.status().dropped
        run.log({"loss": 1.0}, step=step)
        step, kept = step + 1, run.status().dropped == dropped
        time.sleep(0.01)
    pathlib.Path("last_step").write_text(str(step - 1))
receipt = run.finish()
print(json.dumps([receipt.logged, receipt.stored, receipt.pending, receipt.dropped]))
"""
ENVIRONMENT = {"DISTTRACK_JOURNAL_QUOTA_BYTES": "65536"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.root.write_text("a file where the directory should be")
    yield site
    site.end()


def receipt_in(output: str) -> list[int]:
    receipt: list[int] = json.loads(output.splitlines()[-1])
    return receipt


def drops_of_rows(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [drop for drop in run["drops"] if drop["record_class"] == "metrics"]


def test_rows_are_kept_again_once_somebody_stores_them(site: Site) -> None:
    process = site.start(sys.executable, site.script(SCRIPT), 300, "wait", env=ENVIRONMENT)
    wait_until(lambda: (site.directory / "filled").exists() or process.poll() is not None, "the journal is full")
    site.root.unlink()
    site.root.mkdir()
    (site.directory / "go").touch()
    output, _ = process.communicate(timeout=300)
    logged, stored, pending, dropped = receipt_in(output)
    assert pending == 0
    assert logged == stored + dropped
    run = site.only_run()
    assert run["receipt"]["stored"] == stored
    assert sum(drop["count"] for drop in drops_of_rows(run)) == run["receipt"]["dropped"] == dropped
    assert run["ranks"][0]["last_step"] == int((site.directory / "last_step").read_text())


def test_where_no_file_may_grow_large_more_files_take_it_all(site: Site) -> None:
    site.root.unlink()
    script = site.script(
        """
        import random, resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        import disttrack
        run = disttrack.init(project="p")
        for step in range(2_000):
            run.log({f"k{number}": random.random() for number in range(10)}, step=step)
        receipt = run.finish()
        assert (receipt.logged, receipt.stored) == (2_000, 2_000), receipt
        """
    )
    site.python(script)
    assert len(list(site.root.glob("p/*/log/*.dtl"))) > 1
    assert site.only_run()["receipt"]["stored"] == 2_000
    assert site.only_run()["state"] == "finished"


@pytest.mark.real(timeout_s=60)
def test_what_had_made_room_before_the_runs_log_was_lost_is_named_and_the_rest_comes_again(site: Site) -> None:
    site.root.unlink()
    script = site.script(
        """
        import json, os, pathlib, time
        import disttrack

        run = disttrack.init(project="p", id="a", settings={"journal_quota_bytes": 1 << 20})
        def log(text, step):  # no faster than it is stored: the quota has room for all
            run.log({"text": text}, step=step)
            while run.status().pending > 200:
                time.sleep(0.001)
        for step in range(1_500):
            log("x" * 1_000, step)
        def first_byte():
            return min((int(path.stem) for path in pathlib.Path("journals").rglob("[1-9]*.dtj")), default=0)
        while first_byte() < 900_000:
            log("x" * 1_000, 1_500)
        os.rename("disttrack-runs/p/a", "removed")  # at once: its writer may be writing there
        while not run.status().dropped:  # until the writer has seen it, and asked for what is not there any more
            run.log({"text": "again"}, step=2_000)
            time.sleep(0.01)
        run.log({"text": "again"}, step=2_000)
        receipt = run.finish()
        print(json.dumps([receipt.logged, receipt.stored, receipt.pending, receipt.dropped]))
        """
    )
    output = site.python(script)
    assert "the oldest part of this rank's journal had made room" in output
    logged, stored, pending, dropped = receipt_in(output)
    assert (logged, pending) == (stored + dropped, 0)
    assert dropped > 800
    run = site.only_run()
    assert run["receipt"] == {
        "logged": logged,
        "stored": stored,
        "pending": 0,
        "dropped": dropped,
        "unreachable": 0,
    }
    assert [(drop["reason"], drop["count"]) for drop in drops_of_rows(run)] == [("removed", dropped)]
    assert [place["start"] for place in run["damaged"]] == [0]
    assert run["damaged"][0]["why"].startswith("no record is left here")
    assert run["ranks"][0]["last_step"] == 2_000


def test_what_is_printed_gives_way_to_what_is_logged_and_is_counted_apart(site: Site) -> None:
    """P9 and P11: console text is refused from 70 % of the quota on; the script's own records are not touched by it."""
    script = site.script(
        """
        import json, sys, time
        import disttrack

        run = disttrack.init(project="p", settings={"finish_timeout_s": 0.5})
        for number in range(60):
            print("x" * 1_000 + f" {number}", flush=True)
            if number % 10 == 9:
                time.sleep(0.5)  # what is printed is written down a moment later
        for step in range(100):
            run.log({"loss": 1.0}, step=step)
        receipt = run.finish()
        assert [drop.record_class for drop in receipt.captured_drops] == ["console"], receipt
        print(json.dumps([receipt.logged, receipt.stored, receipt.pending, receipt.dropped]))
        """
    )
    output = site.python(script, env=ENVIRONMENT)
    assert receipt_in(output) == [100, 0, 100, 0]
    assert "; not stored of what was captured: " in output
    site.root.unlink()
    run = site.only_run()
    assert (run["receipt"]["logged"], run["receipt"]["stored"], run["receipt"]["dropped"]) == (100, 100, 0)
    captured = run["captured"]
    assert captured["logged"] == captured["stored"] + captured["pending"] + captured["dropped"]
    assert captured["pending"] == 0
    [drop] = run["drops"]
    assert (drop["record_class"], drop["reason"], drop["count"]) == ("console", "quota", captured["dropped"])
    kept = [line["text"].split()[1] for line in json.loads(site.cli("logs", run["id"], "--stream", "stdout", "--json"))]
    assert kept == [str(number) for number in range(len(kept))]
    assert 0 < len(kept) < 60
