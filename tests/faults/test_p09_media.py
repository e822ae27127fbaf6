"""P9 and P11 for media: they are refused before metrics are, say so, and what waits is told as pending."""

from __future__ import annotations

import json
import sys
from typing import Any

import psutil
import pytest

from tests.faults.jobs import Job, no_writer, the_writer
from tests.faults.paintings import Painter, check_pictures, media
from tests.road.site import Site, wait_until

#: Images of 12 KB into a quota of 1 MiB, with nobody to store them.
FILL = """
import json
import numpy as np
import disttrack

run = disttrack.init(project="p", id="a", settings={"finish_timeout_s": 0.5, "journal_quota_bytes": 1 << 20})
for step in range(200):
    pixels = np.full((64, 64, 3), step, np.uint8)
    run.log({"loss": float(step), "picture": disttrack.Image(pixels)}, step=step)
receipt = run.finish()
told = [receipt.logged, receipt.stored, receipt.pending, receipt.dropped, receipt.pending_media]
print(json.dumps({"told": told, "drops": [[d.record_class, d.reason, d.count] for d in receipt.drops]}))
"""


def test_p9_media_give_way_to_metrics_at_80_percent_and_are_counted(job: Job) -> None:
    site = job.site
    site.root.write_text("a file where the directory should be")
    output = site.python(site.script(FILL))
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    logged, stored, pending, dropped, pending_media = told["told"]
    assert logged == stored + pending + dropped == 400  # P11: a row of scalars and one of media each
    assert told["drops"] == [["media", "quota", dropped]]
    assert 40 <= pending_media == 200 - dropped <= 68  # 80 % of 1 MiB, less what else is in the journal
    assert f"the bytes of {pending_media} media and files pending" in output
    assert "new media records are dropped" in output
    site.root.unlink()
    run = site.only_run()
    assert (run["receipt"]["stored"], run["receipt"]["dropped"]) == (pending, dropped)
    [drop] = [drop for drop in run["drops"] if drop["record_class"] == "media"]
    assert (drop["reason"], drop["count"]) == ("quota", dropped)
    assert len(site.export("a", "--keys", "loss")) == 200
    rows = media(site)
    assert [(row.step, row.state) for row in rows] == [(step, "stored") for step in range(pending_media)]


@pytest.mark.real(timeout_s=120)
def test_p11_what_waits_behind_a_stopped_writer_is_pending_and_comes_home(job: Job) -> None:
    painter = Painter(job.site, settings={"finish_timeout_s": 1.0}, pause_s=0.01)
    wait_until(lambda: the_writer() is not None and painter.returned > 5, "it is stored")
    writer = the_writer()
    assert writer is not None
    writer.suspend()
    before = painter.returned
    wait_until(lambda: painter.returned >= before + 10, "10 more images")
    (job.site.directory / "stop").touch()
    painter.end()
    receipt = painter.receipt
    assert receipt["pending_media"] >= 9
    assert receipt["dropped"] == 0
    writer.resume()
    wait_until(no_writer, "all of it is stored")
    assert check_pictures(job.site, [painter]) == painter.returned


@pytest.mark.real(timeout_s=120)
def test_media_wait_while_the_store_takes_none_and_are_stored_once_it_does(job: Job) -> None:
    painter = Painter(job.site, pause_s=0.02)
    wait_until(lambda: list(job.site.root.glob("p/*/media/*.png")) != [], "one is stored")
    [directory] = job.site.root.glob("p/*/media")
    writer = the_writer()
    assert writer is not None
    writer.suspend()  # or it makes another one between the two
    wait_until(lambda: writer.status() == psutil.STATUS_STOPPED, "the writer stands still")
    directory.rename(job.site.directory / "removed")  # at once, with what was stored
    directory.write_text("a file where the directory should be")
    writer.resume()
    lost = painter.returned + 1
    wait_until(lambda: painter.returned >= lost + 20, "20 more images")
    directory.unlink()
    (job.site.directory / "stop").touch()
    painter.end()
    assert painter.receipt["pending_media"] == 0
    wait_until(no_writer, "the writer has gone")
    there = [row for row in media(job.site) if row.step >= lost]
    assert len(there) >= 19
    assert all(row.file is not None and row.file.exists() for row in there)


@pytest.mark.real(timeout_s=120)
def test_a_removed_run_is_refilled_with_the_media_that_its_ranks_still_have(job: Job) -> None:
    painter = Painter(job.site, pause_s=0.02)
    first = "*/*/*/blobs/0.note"  # in the spool, until it is stored
    journals = job.site.directory / "journals"
    wait_until(lambda: painter.returned > 10 and not list(journals.glob(first)), "one is stored")
    [directory] = [path for path in (job.site.root / "p").iterdir() if not path.name.startswith(".")]
    directory.rename(job.site.directory / "removed")  # at once
    wait_until(lambda: any(directory.glob("log/*.dtl")), "it is made again")
    made = painter.returned
    wait_until(lambda: painter.returned >= made + 50, "50 more images")
    (job.site.directory / "stop").touch()
    painter.end()
    wait_until(no_writer, "the writer has gone")
    rows = media(job.site)
    assert len(rows) == painter.returned  # every row is there again
    states = [row.state for row in rows]
    assert set(states) == {"lost", "stored"}
    assert set(states[made + 1 :]) == {"stored"}  # one may have been on its way
    assert all(row.file.exists() for row in rows if row.file is not None)


@pytest.mark.real(timeout_s=60)
def test_bytes_that_make_no_image_are_lost_with_a_reason_and_hold_up_nothing(job: Job) -> None:
    site: Site = job.site
    script = site.script(
        """
        import os, pathlib, time
        import numpy as np
        import disttrack

        pathlib.Path("disttrack-runs").write_text("nobody stores now")
        run = disttrack.init(project="p", id="a", settings={"journal_dir": "elsewhere"})
        run.log({"picture": disttrack.Image(np.zeros((8, 8), np.uint8))})
        run.log({"picture": disttrack.Image(np.ones((8, 8), np.uint8))})
        [blob] = pathlib.Path("elsewhere").rglob("blobs/0")
        os.truncate(blob, 10)  # as a power cut may leave it
        os.unlink("disttrack-runs")
        print(run.finish())
        """
    )
    output = site.run(sys.executable, script)
    assert "2 stored, 0 pending, 0 dropped" in output
    lost, stored = media(site)
    assert (lost.state, stored.state) == ("lost", "stored")
    assert lost.why is not None
    assert "10 of 64 bytes" in lost.why
