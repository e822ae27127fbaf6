"""What the doctor finds without any job: who this process is, directories, keys, settings; and checks that fail."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from disttrack.doctor.examination import Report, examine, run_checks
from disttrack.doctor.findings import GROUPS, Check, Finding, Surroundings, good
from disttrack.environments.host import boot_id, runtime_directory
from disttrack.environments.launch import Identity, own_key
from disttrack.journal.directories import note_place, outbox_directory
from disttrack.journal.outbox import Outbox
from disttrack.records.types import Rank, RunId
from disttrack.settings import Settings
from disttrack.transport.rendezvous import Claim, Record
from tests.journal.joins import make_join

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "job",
    "RANK": "2",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
}
SLURM = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}


def examined(directory: Path | None = None, /, **environ: str) -> Report:
    report = examine({**os.environ, **environ}, {}, None if directory is None else str(directory))
    for finding in report.findings:
        assert finding.group in GROUPS
        assert finding.level != "failed" or finding.fix, finding
    return report


def found(report: Report, check: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == check]


def the(report: Report, check: str) -> Finding:
    (finding,) = found(report, check)
    return finding


def wrong(report: Report) -> list[str]:
    return [finding.check for finding in report.findings if finding.level == "failed"]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user of this host can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


def test_a_plain_shell_is_well_and_every_group_has_something_to_say() -> None:
    report = examined()
    assert wrong(report) == []
    assert report.ok
    groups = [finding.group for finding in report.findings]
    assert set(groups) == set(GROUPS) - {"runs"}  # there is no root yet
    assert groups == sorted(groups, key=list(GROUPS).index)
    assert the(report, "rank.detected").facts["source"] == "single process"


def test_it_makes_nothing_but_the_runtime_directory(tmp_path: Path) -> None:
    def files() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "home")}

    before = files()
    examined()
    assert files() == before
    assert list((tmp_path / "home").rglob("*")) == []


def test_a_rank_of_torchrun_is_told_with_its_source_and_the_launcher_around_it() -> None:
    report = examined(**TORCHRUN, **SLURM)
    assert the(report, "rank.detected").text == "rank 2 of 4, local rank 0, on 2 nodes: from torchrun"
    assert the(report, "rank.around").text == "Slurm step says rank 1 of 2: the launcher of the nodes, around torchrun"
    assert found(report, "rank.contradiction") == []
    assert the(report, "rank.job_type").facts["job_type"] == "rank-2"
    assert report.rank == 2


def test_only_local_rank_0_examines_the_node() -> None:
    report = examined(**TORCHRUN | {"RANK": "3", "LOCAL_RANK": "1"})
    assert report.partial
    assert {finding.group for finding in report.findings} == {"rank", "settings"}


def test_a_launcher_whose_variables_make_no_sense_is_named_with_what_to_set() -> None:
    report = examined(**SLURM | {"SLURM_PROCID": "4"})
    assert the(report, "rank.detected").facts["source"] == "single process"
    finding = the(report, "rank.contradiction")
    assert finding.text == "Slurm step is not heeded: SLURM_PROCID=4 is not below SLURM_STEP_NUM_TASKS=2"
    assert finding.fix == "set SLURM_PROCID and SLURM_STEP_NUM_TASKS both, or unset both"


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "8"}, "Open MPI says rank 1 of 8; torchrun has"),
        ({"PMI_RANK": "1"}, "PMI is not heeded: PMI_SIZE is not set"),
        ({"PMI_RANK": "x", "PMI_SIZE": "2"}, "PMI is not heeded: PMI_RANK='x' is no number"),
        ({"PMI_RANK": "2", "PMI_SIZE": "2"}, "PMI is not heeded: PMI_RANK=2 is not below PMI_SIZE=2"),
    ],
)
def test_a_contradiction_is_shown(environ: Mapping[str, str], text: str) -> None:
    finding = the(examined(**TORCHRUN, **environ), "rank.contradiction")
    assert (finding.level, finding.text[: len(text)]) == ("warning", text)


def test_ranks_set_by_hand_over_a_launchers_are_shown_with_what_to_unset() -> None:
    report = examined(**TORCHRUN, DISTTRACK_RANK="0", DISTTRACK_WORLD_SIZE="2")
    assert the(report, "rank.contradiction").fix is not None
    assert "unset DISTTRACK_RANK and DISTTRACK_WORLD_SIZE" in str(the(report, "rank.contradiction").fix)


def test_settings_are_told_with_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "home" / ".config" / "disttrack" / "settings.toml"
    file.parent.mkdir(parents=True)
    file.write_text('project = "of-file"\ngroup = "of-file"\n')
    report = examined(DISTTRACK_PROJECT="of-variable", DISTTRACK_GROPU="typo")
    given = {finding.facts["setting"]: finding.facts["source"] for finding in found(report, "settings.given")}
    assert (given["project"], given["group"]) == ("DISTTRACK_PROJECT", str(file))
    unknown = the(report, "settings.unknown")
    assert (unknown.level, unknown.fix) == ("warning", "did you mean DISTTRACK_GROUP?")
    assert report.ok


def test_a_setting_that_cannot_be_used_is_wrong_and_the_rest_is_examined_all_the_same() -> None:
    report = examined(DISTTRACK_FINISH_TIMEOUT_S="soon")
    assert wrong(report) == ["settings.given"]
    assert found(report, "disks.root")
    assert wrong(examined(DISTTRACK_RANK="1")) == ["rank.detected"]  # without a world size


def test_a_root_that_cannot_be_written_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "disttrack-runs").write_text("a file where the directory should be")
    report = examined()
    assert wrong(report) == ["disks.root"]
    assert "DISTTRACK_DIR" in str(the(report, "disks.root").fix)


def test_a_root_that_everybody_can_read_is_told_and_one_that_everybody_can_change_is_wrong(
    open_directory: Path,
) -> None:
    root = open_directory / "disttrack-runs"
    root.mkdir()
    for mode, level, readable_by in (
        (0o700, "ok", "owner"),
        (0o750, "ok", "group"),
        (0o755, "warning", "everybody"),
        (0o777, "failed", "everybody"),
    ):
        root.chmod(mode)
        finding = the(examined(open_directory), "access.root")
        assert (finding.level, finding.facts["readable_by"]) == (level, readable_by)
        assert finding.facts["mode"] == f"{mode:04o}"
    open_directory.chmod(0o700)
    assert the(examined(open_directory), "access.root").facts["readable_by"] == "owner"


def test_a_run_that_nobody_marks_any_more_is_told(tmp_path: Path) -> None:
    markers = tmp_path / "disttrack-runs" / "my%20project" / ".live"
    markers.mkdir(parents=True)
    (markers / "fresh123").touch()
    (markers / "stale123").touch()
    os.utime(markers / "stale123", (time.time() - 600, time.time() - 600))
    report = examined()
    assert the(report, "runs.live").facts["runs"] == ["my project/fresh123"]
    assert the(report, "runs.stale").facts["run"] == "my project/stale123"
    assert report.ok


def test_keys_between_nodes_that_others_can_read_are_wrong(open_directory: Path) -> None:
    notice = open_directory / "disttrack-runs" / ".launches" / "0123456789abcdef.json"
    notice.parent.mkdir(mode=0o700, parents=True)
    notice.touch(0o600)
    assert found(examined(open_directory), "access.meeting_files") == []
    notice.chmod(0o644)
    assert the(examined(open_directory), "access.meeting_files").fix is not None


def test_a_job_key_that_is_not_used_is_wrong_and_none_is_ever_shown(tmp_path: Path) -> None:
    assert the(examined(), "access.job_key").level == "ok"
    path = tmp_path / "home" / ".config" / "disttrack" / "job.key"
    path.parent.mkdir(parents=True)
    secret = "correct horse battery staple"
    path.write_text(secret)
    path.chmod(0o644)
    assert the(examined(), "access.job_key").fix == f"chmod 600 {path}"
    path.chmod(0o600)
    report = examined()
    assert the(report, "access.job_key").level == "ok"
    assert "horse" not in repr(report)


def test_a_short_job_key_of_the_environment_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTTRACK_JOB_KEY", "short")
    report = examined()
    assert the(report, "access.job_key").level == "failed"
    assert "short" not in the(report, "access.job_key").text
    monkeypatch.setenv("DISTTRACK_JOB_KEY", "correct horse battery staple")
    report = examined()
    assert the(report, "access.job_key").level == "ok"
    assert "horse" not in repr(report)


def test_a_runtime_directory_too_long_for_sockets_is_wrong(tmp_path: Path) -> None:
    report = examined(DISTTRACK_RUNTIME_DIR=str(tmp_path / ("x" * 80)))
    assert "disks.runtime" in wrong(report)


def test_a_place_to_meet_that_does_not_answer_is_wrong_for_the_launch_that_needs_it() -> None:
    store = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    report = examined(**TORCHRUN, **store)
    (refused, file) = found(report, "meeting.answers")
    assert (refused.level, refused.facts["place"]) == ("failed", "tcp://127.0.0.1:1")
    assert "MASTER_ADDR" in str(refused.fix)
    assert (file.level, "no writer was announced there yet" in file.text) == ("ok", True)


def test_the_record_of_a_writer_that_died_is_no_writer_and_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    runtime = runtime_directory(os.environ["DISTTRACK_RUNTIME_DIR"])
    claim = Claim(runtime, "process:of-another-boot:1:1")
    assert claim.take()
    claim.publish(Record(address="ipc://gone", nonce="n", pid=2**22 + 1, start_time=1, boot_id=boot_id()))
    claim.release()
    report = examined()
    assert report.ok
    assert the(report, "processes.none").facts["left"] == 1


def journal_of_the_dead(tmp_path: Path, **changes: Any) -> Path:
    """Leaves a journal whose process is gone, as SIGKILL does."""
    runtime = runtime_directory(os.environ["DISTTRACK_RUNTIME_DIR"])
    place = tmp_path / "journals" / "disttrack-0" / "journals"
    join = make_join(**{"pid": 2**22 + 1, "root": str(tmp_path / "disttrack-runs"), **changes})
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    note_place(runtime, place)
    directory = outbox_directory(place, join)
    Outbox(directory, join).close()
    return directory


def test_what_a_dead_rank_left_is_wrong_until_it_is_home(tmp_path: Path) -> None:
    directory = journal_of_the_dead(tmp_path, rank=Rank(rank=3, world_size=4, source="test"))
    report = examined()
    finding = the(report, "journals.waiting")
    assert wrong(report) == ["journals.waiting"]
    assert finding.facts["ranks"] == [3]
    assert finding.facts["journals"] == [str(directory)]
    assert f"disttrack ls --dir {tmp_path}" in str(finding.fix)
    (directory / "home").touch()
    assert examined().ok


def test_what_belongs_to_a_deleted_run_says_how_to_restore_it(tmp_path: Path) -> None:
    journal_of_the_dead(tmp_path, run_id=RunId("gone1234"))
    tombstone = tmp_path / "disttrack-runs" / "demo" / ".deleted" / "gone1234"
    tombstone.parent.mkdir(parents=True)
    tombstone.touch()
    finding = the(examined(), "journals.waiting")
    assert (finding.level, "disttrack restore demo/gone1234 --dir" in str(finding.fix)) == ("warning", True)


def test_what_cannot_be_brought_home_from_here_says_where_it_belongs(tmp_path: Path) -> None:
    journal_of_the_dead(tmp_path, root="/no/such/place/disttrack-runs")
    fix = the(examined(), "journals.waiting").fix
    assert fix == "disttrack ls --dir /no/such/place, once /no/such/place can be reached from this node"


def test_a_check_that_fails_or_hangs_is_a_finding_and_holds_up_no_other() -> None:
    release = threading.Event()

    def raises(_: Surroundings) -> Iterator[Finding]:
        yield good("disks.root", "seen before it failed")
        raise OSError(5, "Input/output error")

    def hangs(_: Surroundings) -> Iterator[Finding]:
        yield good("disks.index", "seen before it hung")
        release.wait()

    def works(_: Surroundings) -> Iterator[Finding]:
        yield good("clocks.steady", "fine")

    identity = Identity(Rank(rank=0, world_size=1, source="test"), own_key())
    around = Surroundings({}, {}, Settings(), identity, Path("/nowhere"), None)
    checks = [Check("one", "disks", raises), Check("two", "disks", hangs), Check("three", "clocks", works)]
    found = run_checks(checks, around, limit_s=3)
    release.set()  # not before: it was not waited for
    assert [finding.check for finding in found] == [
        "disks.root",
        "disks.unchecked",
        "disks.index",
        "disks.unchecked",
        "clocks.steady",
    ]
    assert "Input/output error" in found[1].text
    assert "did not end within 3 s" in found[3].text
    assert all(finding.fix for finding in found if finding.level == "failed")
