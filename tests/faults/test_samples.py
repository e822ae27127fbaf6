"""P1, P9 and P11 for what disttrack writes down by itself: the samples of a node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrack import Api
from disttrack.journal.stored import StoredOutbox, stored_outboxes
from disttrack.records.codec import records
from disttrack.records.payloads import RecordKind
from tests.faults.jobs import Job, kill_everything, no_writer, the_writer, tmpfs
from tests.faults.test_p10_full_disks import fill
from tests.road.site import wait_until

ROWS = (RecordKind.ROW, RecordKind.MSGPACK_ROW)


def journal() -> StoredOutbox | None:
    """Return the journal of this test's node."""
    found = [
        stored for stored in stored_outboxes(Path(os.environ["DISTTRACK_RUNTIME_DIR"])) if stored.join.role == "node"
    ]
    return found[0] if found else None


def kinds() -> list[int]:
    """Return the kinds of the records that the node's journal holds."""
    stored = journal()
    offset, found = 0, list[int]()
    while stored is not None and (data := stored.read(offset, 1 << 20)):
        found += [record.kind for record in records(data)]
        offset += len(data)
    return found


def samples(directory: Path) -> np.ndarray[Any, np.dtype[Any]]:
    with Api(directory) as api:
        return api.runs("p")[0].system()["time"]


@pytest.mark.real(timeout_s=90)
def test_p01_what_was_sampled_before_everybody_was_killed_comes_home(job: Job) -> None:
    rank = job.start(rate_hz=100, settings={"system_interval_s": 0.05})
    wait_until(lambda: sum(kind in ROWS for kind in kinds()) >= 10, "ten samples")
    writer = the_writer()
    assert writer is not None
    kill_everything([rank.process.pid, writer.pid])
    rank.kill()
    wait_until(no_writer, "the writer is dead")
    sampled = sum(kind in ROWS for kind in kinds())
    assert job.site.only_run()["state"] == "crashed"
    assert len(samples(job.site.directory)) == sampled
    assert journal() is None  # home, and so removed


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", "size=20m") as disk:
        yield disk


@pytest.mark.real(timeout_s=120)
def test_p09_and_p11_samples_give_way_first_and_what_was_dropped_is_said(job: Job, disk: Path) -> None:
    settings = {"system_interval_s": 0.01, "journal_quota_bytes": 1 << 17}
    rank = job.start(rate_hz=10, settings=settings, env={"DISTTRACK_DIR": str(disk)})
    wait_until(lambda: journal() is not None, "the node is sampled")
    ballast = fill(disk)

    def is_full() -> bool:
        before, returned = len(kinds()), rank.returned
        wait_until(lambda: rank.returned > returned + 5, "half a second of training")
        return len(kinds()) == before

    wait_until(is_full, "the journal takes no more samples", 90)
    ballast.unlink()
    wait_until(lambda: RecordKind.DROP in kinds(), "it is said what was dropped")
    job.stop()
    rank.end()
    assert rank.receipt["dropped"] == rank.receipt["pending"] == 0  # rows go on longer than samples
    wait_until(no_writer, "the writer has gone")
    with Api(disk) as api:
        view = api.runs("p")[0]
        told = view.captured
        assert told.dropped > 0
        assert told.logged == told.stored + told.dropped
        assert told.stored > len(view.system()["time"]) > 0
        assert {(drop.rank, drop.record_class, drop.reason) for drop in view.drops} == {(None, "system", "quota")}
        assert sum(drop.count for drop in view.drops) == told.dropped
