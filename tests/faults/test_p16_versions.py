"""P16: logs and journals of earlier versions are read; a newer one is refused with a clear error, and not touched.

fixtures/ was made by the code that wrote format version 1 first; it is never made anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from disttrack.journal.segment import FORMAT_VERSION
from tests.faults.logs import answer, cli, listing
from tests.index.logs import newer_log

FIXTURES = Path(__file__).parent / "fixtures"


def test_a_log_and_a_journal_of_version_1_are_read_right(tmp_path: Path) -> None:
    log = tmp_path / "disttrack-runs" / "demo" / "run1" / "log"
    log.mkdir(parents=True)
    shutil.copy(FIXTURES / "log-v1.dtl", log / "000001.dtl")
    assert cli("export", "run1") == (FIXTURES / "log-v1.jsonl").read_text()
    assert answer("fsck")["ok"]
    journal = tmp_path / "copied" / "1"
    journal.mkdir(parents=True)
    shutil.copy(FIXTURES / "journal-v1.dtj", journal / "000000.dtj")
    assert answer("recover", journal, "--dir", tmp_path)["ok"]
    assert cli("export", "run2") == (FIXTURES / "journal-v1.jsonl").read_text()


def test_a_newer_log_or_journal_is_refused_and_not_touched(tmp_path: Path) -> None:
    log = newer_log(tmp_path / "disttrack-runs", "run1")
    journal = tmp_path / "copied" / "1"
    journal.mkdir(parents=True)
    data = bytearray((FIXTURES / "journal-v1.dtj").read_bytes())
    data[4] += 1
    (journal / "000000.dtj").write_bytes(data)
    before = [*listing(log), *listing(journal)]
    refused = f"format version {FORMAT_VERSION + 1}"
    [run] = answer("fsck", code=1)["runs"]
    assert any(refused in damage["why"] for damage in run["damage"])
    [found] = answer("recover", journal, "--dir", tmp_path, code=1)["journals"]
    assert refused in found["why"]
    done = subprocess.run([sys.executable, "-m", "disttrack", "show", "run1"], capture_output=True, timeout=300)
    assert refused in done.stderr.decode() + done.stdout.decode()
    assert [*listing(log), *listing(journal)] == before
