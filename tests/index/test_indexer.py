"""The index keeps up with its root: what comes, grows, goes, is replaced; and it can be deleted at any time."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest

from disttrack.index.indexer import Index
from disttrack.index.queries import Vanished
from disttrack.index.schema import SCHEMA_VERSION
from disttrack.index.sqlite import index_paths
from disttrack.journal.segment import FORMAT_VERSION
from tests.index.logs import RunLog, finished_run, newer_log, process_of

Rows = dict[str, list[tuple[int, object]]]  # by key: steps and values


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    root = tmp_path / "root"
    root.mkdir()
    index = Index(root, {})
    yield index
    index.close()


def index_file(root: Path) -> Path:
    """Returns where the index of a root lies that can be written."""
    return next(iter(index_paths(root, {})))


def rows_of(index: Index) -> dict[str, Rows]:
    """Returns what the index has of every run."""
    assert index.catch_up()
    found: dict[str, Rows] = {}
    for record in index.runs():
        rows: Rows = found.setdefault(f"{record.project}/{record.run_id}", {})
        for block in index.snapshot(record).blocks:
            for key in block.keys:
                steps = block.places().step.tolist()
                column = block.column(key)
                values = column if isinstance(column, list) else column.tolist()
                rows.setdefault(key, []).extend(zip(steps, values, strict=True))
        for pairs in rows.values():
            pairs.sort(key=lambda pair: pair[0])
    return found


def losses(steps: range) -> Rows:
    return {"loss": [(step, step / 2) for step in steps]}


def write(log: RunLog, steps: range) -> None:
    process = process_of()
    for step in steps:
        process.row({"loss": step / 2}, step)
    log.commit_all(process)


def test_a_root_that_is_not_there_has_no_runs_and_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "root"
    index = Index(root, {})
    assert rows_of(index) == {}
    assert not root.exists()
    finished_run(root, [(0, {"loss": 0.0})])
    assert rows_of(index) == {"demo/run1": losses(range(1))}
    shutil.rmtree(root)
    assert rows_of(index) == {}
    assert not root.exists()
    index.close()


def test_a_run_is_seen_growing_and_ending(index: Index) -> None:
    log = RunLog(index.root)
    log.open()
    assert rows_of(index) == {"demo/run1": {}}
    write(log, range(5))
    assert rows_of(index) == {"demo/run1": losses(range(5))}
    write(log, range(5, 9))
    assert rows_of(index) == {"demo/run1": losses(range(9))}
    assert not index.runs()[0].facts.over_us
    log.end()
    assert rows_of(index) == {"demo/run1": losses(range(9))}
    assert index.runs()[0].facts.over_us
    log.close()


def test_an_ended_run_that_goes_on_between_two_looks_is_seen(index: Index) -> None:
    log = finished_run(index.root, [(0, {"loss": 0.0})])
    rows_of(index)
    age(index.root)
    rows_of(index)  # now every time is trusted
    write(log, range(1, 4))  # a journal that was brought home, say: its marker is gone again
    log.end()
    log.close()
    assert rows_of(index) == {"demo/run1": losses(range(4))}


def age(root: Path) -> None:
    """Makes directories look as if nothing had changed for a minute."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            then_ns = os.stat(path).st_mtime_ns - 60 * 10**9
            os.utime(path, ns=(then_ns, then_ns))


def test_a_deleted_index_is_built_again_under_its_readers_feet(index: Index) -> None:
    log = RunLog(index.root)
    write(log, range(5))
    before = rows_of(index)
    for path in index.root.glob("index-*"):
        path.unlink()
    assert rows_of(index) == before == {"demo/run1": losses(range(5))}
    assert len(list(index.root.glob("index-*.sqlite"))) == 1
    log.close()


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_index_is_replaced(content: bytes, tmp_path: Path) -> None:
    finished_run(tmp_path, [(0, {"loss": 0.0})])
    index_file(tmp_path).write_bytes(content)
    index = Index(tmp_path, {})
    assert rows_of(index) == {"demo/run1": losses(range(1))}
    index.close()


@pytest.mark.parametrize("keep", [0, 100, 32_768, 90_000])
def test_an_index_damaged_under_its_reader_is_built_again(keep: int, tmp_path: Path) -> None:
    for number in range(20):
        finished_run(tmp_path, [(step, {"loss": step / 2}) for step in range(30)], f"run{number}")
    index = Index(tmp_path, {})
    before = rows_of(index)
    index.close()  # all is in the one file now
    index = Index(tmp_path, {})  # and nothing of it in memory
    path = index_file(tmp_path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(keep)
        file.write(b"\xa5" * (size - keep))
    finished_run(tmp_path, [(0, {"loss": 0.0})], "new")
    assert rows_of(index) == before | {"demo/new": losses(range(1))}
    index.close()


def test_an_index_damaged_between_two_questions_is_built_again(tmp_path: Path) -> None:
    finished_run(tmp_path, [(step, {"loss": step / 2}) for step in range(30)])
    index = Index(tmp_path, {})
    before = rows_of(index)
    (record,) = index.runs()
    index.close()
    index = Index(tmp_path, {})
    index_file(tmp_path).write_bytes(b"\xa5" * index_file(tmp_path).stat().st_size)
    assert len(index.snapshot(record).blocks) == 1
    assert rows_of(index) == before
    index.close()


def test_an_index_of_another_version_beside_ours_is_left_alone(tmp_path: Path) -> None:
    finished_run(tmp_path, [(0, {"loss": 0.0})])
    ours = index_file(tmp_path)
    other = ours.with_name(ours.name.replace(f"-v{SCHEMA_VERSION}-", f"-v{SCHEMA_VERSION + 1}-"))
    with sqlite3.connect(other, isolation_level=None) as theirs:
        theirs.execute("PRAGMA journal_mode = WAL")
        theirs.execute("CREATE TABLE chunk (other INTEGER)")
        theirs.execute("BEGIN IMMEDIATE")  # they are indexing
        theirs.execute("INSERT INTO chunk VALUES (1)")
        index = Index(tmp_path, {})
        assert rows_of(index) == {"demo/run1": losses(range(1))}
        index.close()
        theirs.execute("COMMIT")
        assert theirs.execute("SELECT * FROM chunk").fetchall() == [(1,)]
    theirs.close()
    assert ours.exists()


def test_a_segment_that_became_shorter_is_read_anew(index: Index) -> None:
    log = RunLog(index.root)
    write(log, range(5))
    size = log.open().path.stat().st_size
    write(log, range(5, 9))
    rows_of(index)
    os.truncate(log.open().path, size)
    assert rows_of(index) == {"demo/run1": losses(range(5))}
    log.close()


def test_a_segment_replaced_by_another_is_read_anew(index: Index) -> None:
    log = RunLog(index.root)
    write(log, range(5))
    rows_of(index)
    path = log.open().path
    other = RunLog(index.root.parent / "other")
    write(other, range(7, 30))
    os.replace(other.open().path, path)
    assert rows_of(index) == {"demo/run1": losses(range(7, 30))}
    log.close()
    other.close()


def test_a_segment_overwritten_in_place_is_read_anew(index: Index) -> None:
    """An inode number may be given to the next file: the first frame's checksum tells them apart."""
    log = RunLog(index.root)
    write(log, range(5))
    rows_of(index)
    other = RunLog(index.root.parent / "other")
    write(other, range(7, 30))
    log.open().path.write_bytes(other.open().path.read_bytes())
    assert rows_of(index) == {"demo/run1": losses(range(7, 30))}
    log.close()
    other.close()


def test_a_removed_segment_takes_its_rows_with_it(index: Index) -> None:
    log = RunLog(index.root)
    write(log, range(5))
    log.close()
    write(log, range(5, 9))
    rows_of(index)
    (log.log / "000001.dtl").unlink()
    assert rows_of(index) == {"demo/run1": losses(range(5, 9))}
    log.close()


def test_removed_runs_and_projects_vanish_with_all_their_rows(index: Index) -> None:
    for project in ("demo", "other"):
        for run_id in ("run1", "run2"):
            finished_run(index.root, [(0, {"loss": 0.0})], run_id, project=project)
    assert len(rows_of(index)) == 4
    shutil.rmtree(index.root / "demo" / "run1")
    shutil.rmtree(index.root / "other")
    assert list(rows_of(index)) == ["demo/run2"]
    with sqlite3.connect(index_file(index.root)) as connection:
        for table in ("source", "axis", "chunk", "schema", "run", "project"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 1, table
    connection.close()


def test_a_run_replaced_under_its_name_is_read_anew(index: Index) -> None:
    finished_run(index.root, [(0, {"loss": 0.0})])
    rows_of(index)
    shutil.rmtree(index.root / "demo" / "run1")
    finished_run(index.root, [(step, {"loss": step / 2}) for step in range(3, 6)])
    assert rows_of(index) == {"demo/run1": losses(range(3, 6))}


def test_a_run_that_goes_while_it_is_read_is_told_from_one_without_rows(index: Index) -> None:
    finished_run(index.root, [(0, {"loss": 0.0})])
    rows_of(index)
    (record,) = index.runs()
    (block,) = index.snapshot(record).blocks
    shutil.rmtree(index.root / "demo" / "run1")
    rows_of(index)
    with pytest.raises(Vanished):
        block.column("loss")
    with pytest.raises(Vanished):
        index.snapshot(record)


def test_a_tombstone_hides_a_run_until_it_is_taken_away(index: Index) -> None:
    finished_run(index.root, [(0, {"loss": 0.0})])
    finished_run(index.root, [(0, {"loss": 0.0})], "run2")
    rows_of(index)
    tombstone = index.root / "demo" / ".deleted" / "run1"
    tombstone.parent.mkdir()
    tombstone.touch()
    assert list(rows_of(index)) == ["demo/run2"]
    tombstone.unlink()
    assert sorted(rows_of(index)) == ["demo/run1", "demo/run2"]


def test_what_is_no_run_is_passed_over(index: Index) -> None:
    finished_run(index.root, [(0, {"loss": 0.0})])
    project = index.root / "demo"
    (project / "empty").mkdir()
    (project / "notes.txt").write_text("mine")
    (project / ".hidden").mkdir()
    (project / "odd" / "log").mkdir(parents=True)
    (project / "odd" / "log" / "1.dtl").write_bytes(b"not ours")
    (index.root / "file").touch()
    assert list(rows_of(index)) == ["demo/run1"]


def test_names_come_from_the_header_and_from_the_directory_where_it_is_damaged(index: Index) -> None:
    finished_run(index.root, [(0, {"loss": 0.0})], "lauf ü/1".replace("/", "-"), project="größe %")
    log = RunLog(index.root, project="größe %", run_id=".ü")
    write(log, range(1))
    path = log.open().path
    content = bytearray(path.read_bytes())
    content[30] ^= 1  # within the header frame's payload
    path.write_bytes(content)
    assert sorted(rows_of(index)) == ["größe %/.ü", "größe %/lauf ü-1"]
    assert {record.facts.damage for record in index.runs()} == {0, 1}
    log.close()


def test_a_newer_disttracks_run_is_listed_and_not_read(index: Index) -> None:
    finished_run(index.root, [(0, {"loss": 0.0})])
    log = newer_log(index.root, "future")
    assert rows_of(index)["demo/future"] == {}
    assert {record.run_id: record.facts.newer for record in index.runs()} == {
        "run1": None,
        "future": (str(log / "000001.dtl"), FORMAT_VERSION + 1),
    }


def test_rows_that_share_no_keys_stay_whole_and_cheap(index: Index) -> None:
    """Text and numbers mixed at random would make a schema a row: from some number on they are kept together."""
    rng = np.random.default_rng(0)
    process = process_of()
    wanted: list[tuple[int, dict[str, object]]] = []
    for step in range(1_500):
        keys = np.flatnonzero(rng.integers(0, 2, 12)).tolist() or [0]
        data: dict[str, object] = {f"k{key}": [step, None, "t"][key % 3] for key in keys}
        wanted.append((step, data))
        process.row(data, step)
    log = RunLog(index.root)
    log.commit_all(process)
    log.end()
    log.close()
    rows = rows_of(index)["demo/run1"]
    for key in {key for _, data in wanted for key in data}:
        assert rows[key] == [(step, data[key]) for step, data in wanted if key in data]
    with sqlite3.connect(index_file(index.root)) as connection:
        assert connection.execute("SELECT count(*) FROM schema").fetchone()[0] < 1_100
    connection.close()


class Growing:
    """A live run of one process that logs losses, 20 rows at a time."""

    def __init__(self, root: Path) -> None:
        self.log, self.process, self.steps = RunLog(root), process_of(), 0

    def grow(self) -> dict[str, Rows]:
        """Logs 20 rows more; returns what an index has to say then."""
        first = len(self.process.bounds) - 1
        for step in range(self.steps, self.steps + 20):
            self.process.row({"loss": step / 2}, step)
        self.steps += 20
        self.log.commit((self.process, first, first + 20))
        return {"demo/run1": losses(range(self.steps))}


def test_many_rows_are_sealed_and_those_of_a_live_run_stay_readable(tmp_path: Path) -> None:
    run = Growing(tmp_path)
    index = Index(tmp_path, {}, cold_values=100, live_values=50)
    for _ in range(20):
        wanted = run.grow()
        assert rows_of(index) == wanted
        stranger = Index(tmp_path, {})  # goes on from what is sealed
        assert rows_of(stranger) == rows_of(index)
        assert stranger.runs()[0].sources == index.runs()[0].sources
        stranger.close()
    index.close()
    run.log.close()


def test_readers_that_seal_in_turns_take_every_row_once(tmp_path: Path) -> None:
    run = Growing(tmp_path)
    readers = [Index(tmp_path, {}, cold_values=100, live_values=values) for values in (50, 30, 1_000)]
    for turn in range(24):
        wanted = run.grow()
        assert rows_of(readers[turn * 7 % 3]) == wanted
    for reader in readers:
        assert rows_of(reader) == {"demo/run1": losses(range(run.steps))}
        assert reader.runs()[0].sources[0].rows == run.steps
        reader.close()
    run.log.close()


def test_the_admission_in_the_lowest_segment_counts_whichever_is_read_first(index: Index) -> None:
    log, process = RunLog(index.root), process_of()
    log.commit_all(process)
    log.close()
    process.attempt, process.role = 1, "claimant"
    log.commit_all(process)
    log.close()
    first = log.log / "000001.dtl"
    rows_of(index)
    assert [(source.attempt, source.role) for source in index.runs()[0].sources] == [(0, "rank")]
    content = first.read_bytes()
    first.write_bytes(content[:30])  # shorter: all is read anew, and this segment last
    rows_of(index)
    assert [(source.attempt, source.role) for source in index.runs()[0].sources] == [(1, "claimant")]
    with first.open("ab") as file:
        file.write(content[30:])
    rows_of(index)
    assert [(source.attempt, source.role) for source in index.runs()[0].sources] == [(0, "rank")]


LOOK = """
import os, pathlib, sys
from disttrack.index.indexer import Index
index = Index(pathlib.Path(sys.argv[1]), {})
for _ in range(2):
    assert index.catch_up()
    os.access("/mark", 0)
"""


@pytest.mark.real(timeout_s=60)
@pytest.mark.parametrize("live", [0, 3])
def test_looking_for_what_is_new_costs_calls_by_live_runs_not_by_all(
    live: int, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    root = tmp_path / "root"
    for number in range(300):
        finished_run(root, [(0, {"loss": 0.0})], f"run{number}")
    logs = [RunLog(root, run_id=f"live{number}") for number in range(live)]
    for log in logs:
        write(log, range(5))
    age(root)
    index = Index(root, {})
    rows_of(index)
    index.close()
    trace = subprocess.run(
        [require_program("strace"), "-f", "-e", "trace=%file,getdents64", sys.executable, "-c", LOOK, root],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    ).stderr
    second = trace.split('"/mark"')[1].splitlines()
    calls = [line for line in second if (str(root) in line and "/index-v" not in line) or "getdents" in line]
    assert len(calls) <= 10 + 6 * live, "\n".join(calls)
    for log in logs:
        log.close()


# Where the index lies


@pytest.fixture
def nobody() -> Generator[None]:
    """Runs a test as a user who may write nothing of ours (where the tests run as root)."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def readable_root() -> Generator[Path]:
    """A root with a run in it that others may read; not below pytest's directory, which they may not."""
    base = Path(tempfile.mkdtemp(prefix="dt-ro-"))
    base.chmod(0o755)
    root = base / "root"
    finished_run(root, [(0, {"loss": 0.0})])
    for directory in (root, *root.rglob("*/")):
        directory.chmod(0o555)
    caches = base / "caches"
    caches.mkdir()
    caches.chmod(0o777)
    yield root
    for directory in (root, *root.rglob("*/")):
        directory.chmod(0o755)
    shutil.rmtree(base)


@pytest.fixture
def nobody_reads(readable_root: Path, request: pytest.FixtureRequest) -> Path:
    """That root with a second run in it, whose log only its owner may read."""
    log = readable_root / "demo" / "secret" / "log"
    readable_root.joinpath("demo").chmod(0o755)
    log.mkdir(parents=True)
    log.chmod(0o000)
    request.getfixturevalue("nobody")
    return readable_root


@pytest.mark.usefixtures("nobody")
def test_a_root_that_cannot_be_written_has_its_index_in_a_cache_directory(readable_root: Path) -> None:
    caches = readable_root.parent / "caches"
    index = Index(readable_root, {"DISTTRACK_CACHE_DIR": str(caches)})
    assert rows_of(index) == {"demo/run1": losses(range(1))}
    index.close()
    assert list(readable_root.glob("index*")) == []
    (file,) = caches.glob("disttrack-*/index/*.sqlite")
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.usefixtures("nobody")
def test_the_first_cache_directory_that_can_be_used_is_taken(readable_root: Path) -> None:
    caches = readable_root.parent / "caches"
    environ = {"DISTTRACK_CACHE_DIR": str(readable_root / "demo"), "HOME": str(caches)}
    places = [path.parents[2] for path in index_paths(readable_root, environ)]
    assert places[0] == caches / ".cache"
    assert set(places[1:]) <= {Path("/var/tmp"), Path("/tmp")}


def test_an_index_that_cannot_be_opened_lies_in_the_next_place(tmp_path: Path) -> None:
    root = tmp_path / "root"
    finished_run(root, [(0, {"loss": 0.0})])
    index_file(root).mkdir()  # in the way
    index = Index(root, {"DISTTRACK_CACHE_DIR": str(tmp_path / "caches")})
    assert rows_of(index) == {"demo/run1": losses(range(1))}
    index.close()
    assert len(list((tmp_path / "caches").glob("disttrack-*/index/*.sqlite"))) == 1


def test_a_run_that_cannot_be_read_hides_no_other(nobody_reads: Path) -> None:
    index = Index(nobody_reads, {"DISTTRACK_CACHE_DIR": str(nobody_reads.parent / "caches")})
    assert list(rows_of(index)) == ["demo/run1"]
    assert list(rows_of(index)) == ["demo/run1"]
    index.close()


def test_the_index_of_a_root_is_named_for_its_version_and_its_true_place(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert index_file(tmp_path / "root").name == index_file(tmp_path / "link").name
    assert index_file(tmp_path / "root").name.startswith(f"index-v{SCHEMA_VERSION}-")


# Several readers at once


def test_who_finds_the_index_busy_serves_what_is_there(index: Index) -> None:
    log = RunLog(index.root)
    write(log, range(5))
    rows_of(index)
    other = sqlite3.connect(index_file(index.root), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write(log, range(5, 9))
    finished_run(index.root, [(0, {"loss": 0.0})], "run2")
    assert not index.catch_up(wait_s=0.01)
    (record,) = index.runs()
    (tail,) = index.snapshot(record).blocks  # the live run's newest rows are decoded all the same
    assert tail.places().step.tolist() == list(range(9))
    other.execute("ROLLBACK")
    other.close()
    assert sorted(rows_of(index)) == ["demo/run1", "demo/run2"]
    log.close()


def test_readers_that_build_one_index_at_once_all_see_everything(tmp_path: Path) -> None:
    for number in range(60):
        finished_run(tmp_path, [(step, {"loss": step / 2}) for step in range(5)], f"run{number}")
    readers = [
        subprocess.Popen([sys.executable, "-c", COUNT_ROWS, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [reader.communicate()[0].strip() for reader in readers] == ["300"] * 3


COUNT_ROWS = """
import pathlib, sys
from disttrack.index.indexer import Index
index = Index(pathlib.Path(sys.argv[1]), {})
while not index.catch_up(wait_s=10.0):  # until it has had its turn
    pass
print(sum(len(block.column("loss")) for record in index.runs() for block in index.snapshot(record).blocks))
"""
