"""logged = stored + pending + dropped, whatever is in the log and in the journals of this host."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.index.cover import Cover
from disttrack.index.facts import SourceFacts
from disttrack.journal.directories import remove
from disttrack.journal.outbox import Outbox
from disttrack.query.members import Observer
from disttrack.query.receipts import RunReceipt, receipt_of
from disttrack.records.payloads import End
from tests.index.logs import Process, RunLog, join_of, process_of
from tests.query.observers import NOW_S, observer
from tests.query.test_states import detail

HERE = observer(boot_id="boot0")
REBOOTED = observer(hostname="node0")
FRESH = observer(touched_s=NOW_S)


def process_with_journal(directory: Path, rows: int) -> Process:
    """Returns a process whose journal holds a config record and rows."""
    process = process_of(journal=str(directory))
    process.config(lr=1)
    for step in range(rows):
        process.row({"loss": float(step)}, step)
    outbox = Outbox(directory, process.join)
    outbox.append(process.journal, rows + 1)
    outbox.close()
    return process


def test_what_was_said_and_is_stored(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of()
    process.row({"loss": 1.0}, 0)
    process.row({"loss": "text"}, 1)
    process.config(lr=1)
    process.summary({"best": 1})
    process.end()
    log.commit_all(process)
    log.commit_all(process)  # again
    log.close()
    assert detail(tmp_path).receipt == RunReceipt(4, 4, 0, 0, 0)


def test_what_no_journal_took_is_dropped_and_what_is_on_its_way_pending(tmp_path: Path) -> None:
    log, process = RunLog(tmp_path), process_of()
    for step in range(5):
        process.row({"loss": 1.0}, step)
    process.end(dropped=3)
    log.commit((process, 0, 2), (process, 5, 6))
    log.close()
    assert detail(tmp_path, FRESH).receipt == RunReceipt(8, 2, 3, 3, 0)
    assert detail(tmp_path, observer()).receipt == RunReceipt(8, 2, 3, 3, 3)
    assert detail(tmp_path, REBOOTED).receipt == RunReceipt(8, 2, 0, 6, 0)  # there is no journal on this node


def test_what_lay_in_a_damaged_frame_is_lost_once_no_journal_has_it(tmp_path: Path) -> None:
    process = process_with_journal(tmp_path / "journal", 9)
    process.end()
    log = RunLog(tmp_path / "root")
    log.commit((process, 0, 3), (process, 5, None))
    log.end()
    log.close()
    elsewhere = observer()
    assert detail(log.root, HERE).receipt == RunReceipt(10, 8, 2, 0, 0)
    assert detail(log.root, elsewhere).receipt == RunReceipt(10, 8, 0, 2, 0)  # over: journals are gone
    remove(tmp_path / "journal")
    run = detail(log.root, HERE)
    assert run.receipt == RunReceipt(10, 8, 0, 2, 0)
    assert [(drop.reason, drop.count) for drop in run.drops] == [("damaged", 2)]
    assert run.missing_bytes == process.bounds[5] - process.bounds[3]
    log.commit((process, 3, 5))
    log.end()
    log.close()
    assert detail(log.root, HERE).receipt == RunReceipt(10, 10, 0, 0, 0)


@pytest.mark.parametrize(("looking", "pending"), [(HERE, 7), (REBOOTED, 7), (observer(), 0)])
def test_a_journal_on_this_host_says_what_has_not_come_home_yet(
    looking: Observer, pending: int, tmp_path: Path
) -> None:
    process = process_with_journal(tmp_path / "journal", 9)
    log = RunLog(tmp_path / "root")
    log.commit((process, 0, 3))
    log.close()
    assert detail(log.root, looking).receipt == RunReceipt(3 + pending, 3, pending, 0, 0)


def test_gaps_below_the_end_are_pending_too(tmp_path: Path) -> None:
    process = process_with_journal(tmp_path / "journal", 9)
    log = RunLog(tmp_path / "root")
    log.commit((process, 1, 3))
    log.commit((process, 5, 9))
    log.close()
    assert detail(log.root, HERE).receipt == RunReceipt(10, 6, 4, 0, 0)


def test_another_processs_journal_in_the_same_place_does_not_count(tmp_path: Path) -> None:
    process_with_journal(tmp_path / "journal", 9)
    log = RunLog(tmp_path / "root")
    log.commit_all(process_of(journal=str(tmp_path / "journal")))
    log.close()
    assert detail(log.root, HERE).receipt == RunReceipt(0, 0, 0, 0, 0)


@pytest.mark.parametrize("content", [b"", b"no journal", None])
def test_a_journal_that_cannot_be_read_counts_as_gone(content: bytes | None, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    if content is not None:
        (tmp_path / "journal" / "000000.dtj").write_bytes(content)
    log = RunLog(tmp_path / "root")
    log.commit_all(process_of(journal=str(tmp_path / "journal")))
    log.close()
    assert detail(log.root, HERE).receipt == RunReceipt(0, 0, 0, 0, 0)


ENDS = st.builds(End, exit_code=st.just(0), logged=st.integers(0, 9), dropped=st.integers(0, 9), time_us=st.just(0))


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | ENDS), max_size=4), st.booleans(), st.booleans())
def test_a_receipt_always_adds_up(story: list[tuple[int, End | None]], answers: bool, over: bool) -> None:
    sources = [
        SourceFacts(incarnation=join.incarnation, join=join, stored=stored, ended=end, cover=Cover())
        for (stored, end), join in zip(story, [join_of(rank) for rank in range(4)], strict=False)
    ]
    receipt = receipt_of(sources, observer(), lambda: answers, over=over)
    assert receipt.logged == receipt.stored + receipt.pending + receipt.dropped
    assert 0 <= receipt.unreachable <= receipt.pending
    assert min(receipt.stored, receipt.dropped) >= 0
