"""P15: a flipped bit in a journal that is not stored yet costs the record it is in, and the loss is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from disttrack.journal.heads import read_head
from disttrack.journal.stored import StoredOutbox
from disttrack.records.codec import HEADER, records
from disttrack.records.payloads import RecordKind
from tests.road.site import Site, wait_until

SCRIPT = """
import disttrack
run = disttrack.init(project="p", settings={"finish_timeout_s": 0.5})
for step in range(20):
    run.log({"text": f"row {step}"}, step=step)
run.finish()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


def journal_after(site: Site) -> Path:
    """Returns the journal of a rank that met nobody to store what it logged."""
    site.root.write_text("a file where the directory should be")
    site.python(site.script(SCRIPT))
    site.root.unlink()
    [journal] = (site.directory / "journals").rglob("*.dtj")
    return journal


@pytest.mark.parametrize("within_record", [0, 4, 8, 20], ids=["length", "checksum", "kind", "body"])
def test_a_flipped_bit_in_a_pending_journal_costs_one_record_and_is_named(site: Site, within_record: int) -> None:
    journal = journal_after(site)
    data = StoredOutbox(journal.parent).read(0, 1 << 20)
    rows = [record for record in records(data) if record.kind == RecordKind.MSGPACK_ROW]
    start = rows[7].start - HEADER.size
    _, head_bytes = read_head(journal)
    content = bytearray(journal.read_bytes())
    content[head_bytes + start + within_record] ^= 1
    journal.write_bytes(content)
    run = site.only_run()
    assert run["state"] == "finished"
    assert run["receipt"] == {"logged": 20, "stored": 19, "pending": 0, "dropped": 1, "unreachable": 0}
    assert [(drop["reason"], drop["count"]) for drop in run["drops"]] == [("damaged", 1)]
    assert [(place["start"], place["end"]) for place in run["damaged"]] == [(start, rows[7].end)]
    assert site.steps(run["id"], "text") == {0: [step for step in range(20) if step != 7]}
    wait_until(lambda: bool(site.ls()) and not journal.parent.exists(), "its journal is removed")


def test_a_damaged_end_says_nothing_wrong(site: Site) -> None:
    journal = journal_after(site)
    content = bytearray(journal.read_bytes())
    content[-30] ^= 1
    journal.write_bytes(content)
    run = site.only_run()
    assert run["state"] == "crashed"
    assert run["receipt"]["stored"] == 20
    assert len(run["damaged"]) == 1
