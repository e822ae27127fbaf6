"""Row 35 of the fault matrix, and runs on a network file system: stale attributes, no locks, no shared memory, stalls.

The file system is a stand-in over FUSE (tests/faults/networkfs.py). `here` is where the job runs; `there` is the same
directory on another node, which sees what is written here once it is synced, and up to 3 s later.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import disttrack
from disttrack.environments.host import is_network_filesystem
from tests.conftest import writers
from tests.faults.jobs import Job, Trainer, no_writer, the_writer, wait_for_steps
from tests.faults.mounts import Client, network_clients
from tests.index.logs import RunLog, process_of
from tests.road.site import wait_until

#: What a root on a network file system holds: run logs, and marks that a run is live. No index, journal, socket, lock.
SHARED_FILE = re.compile(r"disttrack-runs/(p/[^/.]+/log/\d{6}\.dtl|p/\.(live|latest)/[^/]+|\.launches[^/]*/[^/]+)")


@pytest.fixture
def clients(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[tuple[Client, Client]]:
    with network_clients(tmp_path, require_program) as clients:
        yield clients


@pytest.fixture
def here(clients: tuple[Client, Client]) -> Client:
    return clients[0]


@pytest.fixture
def there(clients: tuple[Client, Client]) -> Client:
    return clients[1]


def on(client: Client) -> dict[str, str]:
    return {"DISTTRACK_DIR": str(client.path)}


def elsewhere(client: Client, *arguments: object) -> str:
    """Return what the command line prints on another node."""
    env = {**os.environ, **on(client), "DISTTRACK_RUNTIME_DIR": f"{os.environ['DISTTRACK_RUNTIME_DIR']}/other"}
    command = [sys.executable, "-m", "disttrack", *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def rows(client: Client) -> dict[int, list[int]]:
    """Return the steps of each rank of the one run there is, as another node's `ls`, `show` and `export` tell them."""
    found: dict[int, list[int]] = {}
    for run in json.loads(elsewhere(client, "ls", "--json")):
        shown = json.loads(elsewhere(client, "show", run["id"], "--json"))
        assert shown["id"] == run["id"]
        for line in elsewhere(client, "export", run["id"], "--format", "jsonl", "--keys", "loss").splitlines():
            row = json.loads(line)
            found.setdefault(row["rank"], []).append(row["step"])
    return found


def rows_read(api: disttrack.Api) -> set[tuple[int, int]]:
    """Return rank and step of all rows of the one run there is, if there is one; none is there twice."""
    columns = [run.history(keys=["loss"], ranks="all") for run in api.runs("p")]
    found = [row for column in columns for row in zip(column["rank"].tolist(), column["step"].tolist(), strict=True)]
    assert len(set(found)) == len(found)
    return set(found)


def start(job: Job, client: Client, ranks: int, env: Mapping[str, str] | None = None, **plan: Any) -> list[Trainer]:
    return [job.start(env={**on(client), **(env or {})}, rank=rank, ranks=ranks, **plan) for rank in range(ranks)]


def log_bytes(client: Client) -> int:
    """Return how much the server has of all logs."""
    return sum(path.stat().st_size for path in client.server.glob("disttrack-runs/p/*/log/*.dtl"))


def check_all_stored(job: Job, client: Client) -> None:
    """All ranks end, and the server has each row once; the receipts say so."""
    job.stop()
    for trainer in job.trainers:
        trainer.end()
        assert (trainer.receipt["pending"], trainer.receipt["dropped"]) == (0, 0), trainer.stderr
    wait_until(no_writer, "the writer has gone")
    stored = sum(trainer.receipt["stored"] for trainer in job.trainers)
    projects = {trainer.plan.project for trainer in job.trainers}
    assert sum(job.check_stored(project, client.server / "disttrack-runs") for project in projects) == stored


def check_all_read(job: Job, *clients: Client) -> None:
    """Readers on these nodes come to see each row once."""
    expected = {(trainer.plan.rank, step) for trainer in job.trainers for step in range(trainer.returned)}
    for client in clients:
        with disttrack.Api(client.path) as api:
            wait_until(lambda: rows_read(api) == expected, "all is read")


def check_nothing_else_there(client: Client, processes: list[psutil.Process]) -> None:
    """No journal, socket, lock or index lies there, and no process has one open or mapped there."""
    assert [path.name for path in client.server.iterdir()] == ["disttrack-runs"]
    for directory, directories, files in os.walk(client.server):
        for name in directories:
            assert not name.startswith("disttrack-") or directory == str(client.server), name
        for name in files:
            path = Path(directory, name)
            assert SHARED_FILE.fullmatch(str(path.relative_to(client.server))), path
            assert not stat.S_ISSOCK(path.stat().st_mode), path
    for process in processes:
        there = [name for name in open_files(process.pid) if name.startswith(str(client.path))]
        assert all(name.endswith(".dtl") for name in there), there
        assert str(client.path) not in Path(f"/proc/{process.pid}/maps").read_text()


def open_files(pid: int) -> list[str]:
    """Return what a process has open."""
    found: list[str] = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


@pytest.mark.real(timeout_s=120)
def test_a_job_is_read_on_another_node_while_it_runs_and_only_its_log_is_shared(
    job: Job, here: Client, there: Client
) -> None:
    assert is_network_filesystem(here.path)
    pointing_there = {name: str(here.path / "local") for name in ("DISTTRACK_JOURNAL_DIR", "TMPDIR", "SLURM_TMPDIR")}
    pointing_there |= {"DISTTRACK_CACHE_DIR": str(here.path / "cache")}
    ranks = start(job, here, 2, pointing_there, rate_hz=200)
    wait_for_steps(ranks, 200)
    returned, at = sum(rank.returned for rank in ranks), time.monotonic()
    with disttrack.Api(there.path) as api:
        wait_until(lambda: len(rows_read(api)) >= returned, "the rows are read on the other node")
        print(f"read on another node {time.monotonic() - at:.1f} s after log() returned")
        check_nothing_else_there(here, [*writers(Path(os.environ["DISTTRACK_RUNTIME_DIR"])), psutil.Process()])
    check_nothing_else_there(here, [psutil.Process(rank.process.pid) for rank in ranks])
    assert {rank: steps[:10] for rank, steps in rows(there).items()} == {rank: list(range(10)) for rank in (0, 1)}
    check_all_stored(job, here)
    check_nothing_else_there(here, [])
    for rank in ranks:
        assert rank.stderr.count("DISTTRACK_JOURNAL_DIR") == 1, rank.stderr
    check_all_read(job, here, there)


@pytest.mark.real(timeout_s=150)
@pytest.mark.parametrize("hanging_s", [5, pytest.param(60, marks=pytest.mark.long)])
def test_a_file_system_that_hangs_holds_up_neither_init_nor_log(job: Job, here: Client, hanging_s: int) -> None:
    [first] = start(job, here, 1, rate_hz=500)
    wait_until(lambda: log_bytes(here) > 2000, "rows are stored")
    here.hang()
    [second] = start(job, here, 1, rate_hz=500, project="q")
    for _ in range(hanging_s):
        wait_for_steps([first, second], 500)
    before = log_bytes(here)
    here.heal()
    wait_until(lambda: log_bytes(here) > before, "it is stored again")
    check_all_stored(job, here)


@pytest.mark.real(timeout_s=90)
@pytest.mark.parametrize(
    "error", ["EIO", *(pytest.param(name, marks=pytest.mark.long) for name in ("ESTALE", "EACCES"))]
)
def test_a_file_system_that_fails_for_a_while_holds_every_row_later(job: Job, here: Client, error: str) -> None:
    ranks = start(job, here, 2, rate_hz=500)
    wait_until(lambda: log_bytes(here) > 2000, "rows are stored")
    here.fail(error)
    wait_for_steps(ranks, 1000)
    before = log_bytes(here)
    here.heal()
    wait_until(lambda: log_bytes(here) > before, "it is stored again")
    check_all_stored(job, here)


@pytest.mark.real(timeout_s=90)
def test_a_log_whose_handle_is_stale_goes_on_in_another_segment(job: Job, here: Client, there: Client) -> None:
    start(job, here, 2, rate_hz=500)
    wait_until(lambda: log_bytes(here) > 2000, "rows are stored")
    here.make_stale()
    before = log_bytes(here)
    wait_until(lambda: log_bytes(here) > before, "it is stored again")
    check_all_stored(job, here)
    check_all_read(job, there)


@pytest.mark.long(timeout_s=180)
def test_a_root_that_is_removed_on_another_node_is_filled_again(job: Job, here: Client, there: Client) -> None:
    start(job, here, 2, rate_hz=500)
    wait_until(lambda: log_bytes(here) > 2000, "rows are stored")
    shutil.rmtree(there.path / "disttrack-runs", ignore_errors=True)  # the writer may write a marker this moment
    here.make_stale()  # as the server's answer to who has a removed file open
    wait_until(lambda: log_bytes(here) > 2000, "it is written again")
    check_all_stored(job, here)
    check_all_read(job, here, there)


@pytest.mark.real(timeout_s=120)
def test_readers_on_two_nodes_follow_writers_that_are_killed(job: Job, here: Client, there: Client) -> None:
    ranks = start(job, here, 2, rate_hz=500)
    wait_until(lambda: log_bytes(here) > 2000, "rows are stored")
    with disttrack.Api(here.path) as near, disttrack.Api(there.path) as far:
        read: dict[disttrack.Api, set[tuple[int, int]]] = {near: set(), far: set()}

        def has_read(api: disttrack.Api, count: int) -> bool:
            before, read[api] = read[api], rows_read(api)
            assert before <= read[api], "rows that were read before are gone"
            return len(read[api]) >= count

        def check_reads(count: int) -> None:
            for api in (near, far):
                wait_until(partial(has_read, api, count), "what was logged is read")

        for _ in range(2):
            check_reads(sum(rank.returned for rank in ranks))
            if (writer := the_writer()) is not None:
                writer.kill()
        check_all_stored(job, here)
        check_reads(sum(rank.returned for rank in ranks))
    check_all_read(job, here, there)


@pytest.mark.real(timeout_s=60)
def test_a_run_that_ends_is_read_whole_though_an_older_segment_looked_shorter(here: Client, there: Client) -> None:
    log = RunLog(here.path / "disttrack-runs", project="p")
    process = process_of()
    for step in range(4):
        process.row({"loss": 1.0}, step)
    process.end()
    log.commit((process, 0, 1))
    log.open().sync()
    first = there.path / log.log.relative_to(here.path) / "000001.dtl"
    with disttrack.Api(there.path) as api:
        wait_until(lambda: len(rows_read(api)) == 1, "the first row is read")
        listed = time.monotonic()
        wait_until(lambda: time.monotonic() > listed + 1, "the list of segments has been known for a while")
        os.close(os.open(first, os.O_RDONLY))
        before = first.stat().st_size  # is what this node knows of it for the next 3 s
        log.commit((process, 1, 2))
        log.open().sync()
        log.close()
        log.commit((process, 2, None))
        log.end()
        log.open().sync()
        old = time.time() - 60  # as if none of this were of the last moment
        for directory in (log.log, log.directory, log.directory.parent, log.marker.parent):
            os.utime(directory, (old, old))
        wait_until(lambda: (first.with_name("000002.dtl")).name in os.listdir(first.parent), "the next segment is seen")
        print("older segment still looks shorter:", first.stat().st_size == before)
        wait_until(lambda: len(rows_read(api)) == 4, "all is read", 20)


@pytest.mark.real(timeout_s=90)
def test_fsck_and_recover_work_there(job: Job, here: Client, there: Client) -> None:
    [rank] = start(job, here, 1, rate_hz=500, settings={"finish_timeout_s": 0.5})
    wait_until(lambda: log_bytes(here) > 2000, "rows are stored")
    here.fail("EIO")
    wait_for_steps([rank], 500)
    writer = the_writer()
    assert writer is not None
    writer.kill()
    rank.kill()
    here.heal()
    assert "Nothing is damaged" in elsewhere(there, "fsck")
    job.site.cli("recover", "--dir", here.path)
    assert job.check_stored(root=here.server / "disttrack-runs") == rank.returned
    check_all_read(job, there)
    assert "Nothing is damaged" in elsewhere(there, "fsck")
