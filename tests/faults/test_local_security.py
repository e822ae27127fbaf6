"""What other users of a machine or of a shared root can see, and what they can make us do."""

from __future__ import annotations

import ast
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from disttrack.environments.files import make_directory, make_root, open_plain, read_plain, touch
from disttrack.environments.host import own_name, private_directory, runtime_directory
from disttrack.errors import UsageError
from disttrack.journal.directories import is_journal, mark_home, note_place, remove
from disttrack.journal.files import FILE_NAME
from disttrack.journal.outbox import Outbox
from disttrack.journal.segment import Entry, FrameKind, Segment
from disttrack.journal.stored import stored_outboxes
from disttrack.records.codec import decode, decode_row, decode_schema
from disttrack.records.types import Admission, Incarnation, Join, RunHeader, RunId, Sighting
from disttrack.records.values import MAX_INT_DIGITS, Unloggable, plain
from disttrack.settings import load
from disttrack.transport.protocol import unpack
from disttrack.transport.rendezvous import Claim, read_record
from tests.journal.joins import make_join
from tests.road.site import Site, wait_until

PACKAGE = Path(__file__).parents[2] / "disttrack"
STRANGER = 54321  # a user id that is nobody's here

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of another user")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Who may read it

SCRIPT = """
import os, sys, disttrack
from pathlib import Path
os.umask({umask})
run = disttrack.init(project="p", settings={{"shared": {shared}}})
run.log({{"a": 1}})
run._recorder.sender.welcomed.wait()
for top in (os.environ["DISTTRACK_JOURNAL_DIR"], os.environ["DISTTRACK_RUNTIME_DIR"]):
    for path in [Path(top), *Path(top).rglob("*")]:
        print(f"{{path.lstat().st_mode & 0o777:03o}} {{'d' if path.is_dir() else 'f'}} {{path}}")
"""


@pytest.mark.real(timeout_s=90)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_journals_sockets_claims_and_logs_are_their_owners_alone_under_any_umask(
    site: Site, tmp_path: Path, umask: int
) -> None:
    output = site.python(site.script(SCRIPT.format(umask=umask, shared=False)))
    seen = [line.split(" ", 2) for line in output.splitlines() if " d /" in line or " f /" in line]
    private = [line for line in seen if f"/{own_name()}" in line[2] or "/dt-" in line[2]]
    names = " ".join(path for _, _, path in private)
    assert all(part in names for part in (FILE_NAME, "claims", ".lock", "sockets/", "logs", "journal-places/")), output
    assert [line for line in seen if line[0] != {"d": "700", "f": "600"}[line[1]]] == []
    root = tmp_path / "disttrack-runs"
    site.cli("ls")
    wanted = 0o775 & ~umask
    for path in [root, *root.rglob("*")]:
        assert mode(path) == (wanted if path.is_dir() else wanted & 0o666), path


@pytest.mark.real(timeout_s=60)
def test_a_shared_root_is_its_groups_to_write_whatever_the_umask(site: Site, tmp_path: Path) -> None:
    site.python(site.script(SCRIPT.format(umask=0o077, shared=True)))
    site.cli("ls")
    root = tmp_path / "disttrack-runs"
    for path in [root, *root.rglob("*")]:
        assert mode(path) == (0o2770 if path.is_dir() else 0o660), path


def test_what_is_made_in_a_root_has_its_permissions(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_root(root, shared=False)
    root.chmod(0o2750)
    make_root(root, shared=True)  # it is there: as its owner wants it
    before = os.umask(0o022)
    try:
        make_directory(root / "p")
        touch(root / "p" / "marker")
    finally:
        os.umask(before)
    assert (mode(root), mode(root / "p"), mode(root / "p" / "marker")) == (0o2750, 0o2750, 0o640)


def test_a_private_directory_is_private_and_so_is_what_is_made_above_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_directory(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    assert [mode(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o700] * 3


# Links and files of others


def test_nothing_is_written_through_a_planted_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    link = tmp_path / "link"
    link.symlink_to(victim)
    for flags in (os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDONLY):
        with pytest.raises(OSError, match="link"):
            open_plain(link, flags, 0o600)
    with pytest.raises(OSError, match="link"):
        touch(link)
    assert not victim.exists()
    claims = private_directory(tmp_path / "runtime" / "claims")
    Claim(tmp_path / "runtime", "key").want()
    (wanted,) = claims.iterdir()
    (claims / f"{wanted.stem}.lock").symlink_to(victim)
    (claims / f"{wanted.stem}.json").symlink_to(victim)
    with pytest.raises(OSError, match="link"):
        Claim(tmp_path / "runtime", "key").take()
    assert read_record(tmp_path / "runtime", "key") is None
    assert not victim.exists()


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="plain file"):
        read_plain(tmp_path / "pipe", 10)


@as_root
@pytest.mark.real(timeout_s=60)
@pytest.mark.parametrize("planted", ["project", "run", "log", ".live", "marker", "index"])
def test_links_of_others_in_a_shared_root_lead_nowhere(site: Site, tmp_path: Path, planted: str) -> None:
    """The rows stay in the journal, and are brought home once the link is gone."""
    victim, root = tmp_path / "victim", tmp_path / "disttrack-runs"
    victim.mkdir()
    target = victim / "new" if planted in ("marker", "index") else victim
    site.python(site.script("import disttrack\nwith disttrack.init(project='q', id='r') as run: run.log({'a': 1})"))
    site.cli("ls")
    (index,) = root.glob("index-*.sqlite")
    path = {
        "project": root / "p",
        "run": root / "p" / "r",
        "log": root / "p" / "r" / "log",
        ".live": root / "p" / ".live",
        "marker": root / "p" / ".live" / "r",
        "index": index,
    }[planted]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    os.lchown(path, STRANGER, STRANGER)
    train = "disttrack.init(project='p', id='r', settings={'finish_timeout_s': 2})"
    output = site.python(site.script(f"import disttrack\nwith {train} as run: run.log({{'a': 1}})"))
    site.cli("ls")
    assert list(victim.iterdir()) == [], output
    path.unlink()
    both = {("p", "r"), ("q", "r")}
    wait_until(lambda: {(run["project"], run["id"]) for run in site.ls()} == both, "the run is there", 30)
    assert site.steps("p/r", "a") == {0: [0]}


@as_root
def test_directories_of_others_are_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, STRANGER, STRANGER)
    with pytest.raises(Exception, match="belongs to user"):
        runtime_directory(str(theirs))
    # A place of journals that another user made anew, after ours was cleaned away.
    place, runtime = tmp_path / "place", tmp_path / "runtime"
    join = make_join(incarnation=7)
    Outbox(place / "0000000000000007", join).close()
    note_place(private_directory(runtime), place)
    assert len(list(stored_outboxes(runtime))) == 1
    os.chown(place, STRANGER, STRANGER)
    assert list(stored_outboxes(runtime)) == []


def test_a_path_in_a_log_is_no_journal_unless_one_of_ours_lies_there(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    mark_home(precious)
    assert not is_journal(precious)
    assert [path.name for path in precious.iterdir()] == ["data"]
    journal = tmp_path / "journal"
    Outbox(journal, make_join()).close()
    (tmp_path / "link").symlink_to(journal)
    assert is_journal(journal)
    assert not is_journal(tmp_path / "link")
    remove(tmp_path / "link")
    assert journal.exists()


# What is decoded

DEEP = b"\x91" * 100_000
HUGE: dict[str, bytes] = {
    "array of 2^32": b"\xdd\xff\xff\xff\xff",
    "map of 2^32": b"\xdf\xff\xff\xff\xff",
    "text of 2^32": b"\xdb\xff\xff\xff\xff",
    "extension of 2^32": b"\xc9\xff\xff\xff\xff\x01",
    "deep": DEEP,
    "no text": b"\xa2\xff\xfe",
}


@pytest.mark.parametrize("what", HUGE)
def test_hostile_msgpack_is_refused_wherever_it_stands(what: str) -> None:
    value = HUGE[what]
    attempts: list[Callable[[], object]] = [
        lambda: decode_row(b"\x93\x01\x01\x81\xa1a" + value),
        lambda: decode_schema(b"\x92" + value),
        lambda: decode(b"\x81\xa7unknown" + value, Join),
        lambda: decode(value, RunHeader),
        lambda: unpack([b"H\x81\xa7unknown" + value]),
        lambda: unpack([b"H\x81\xa4join\x81\xa5hints" + value]),
        lambda: unpack([b"W" + value]),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=r"."):
            attempt()


def test_a_big_int_is_as_long_as_its_reading_takes_little_time() -> None:
    def row(digits: int) -> bytes:
        return b"\x93\x01\x01\x81\xa1a\xc9" + digits.to_bytes(4, "big") + b"\x01" + b"9" * digits

    assert decode_row(row(MAX_INT_DIGITS))[2]["a"] == 10**MAX_INT_DIGITS - 1
    with pytest.raises(ValueError, match="digits"):
        decode_row(row(10_000_000))  # an hour, read to its end: the test's limit would end that
    plain(10 ** (MAX_INT_DIGITS - 1))
    with pytest.raises(Unloggable, match="digits"):
        plain(10 ** (2 * MAX_INT_DIGITS))


def test_claims_that_are_no_json_are_nobodys(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    claim = Claim(runtime, "key")
    claim.want()
    stem = next((runtime / "claims").iterdir()).stem
    for nonsense in (b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"{}", b"0" * 17_000_000):
        (runtime / "claims" / f"{stem}.json").write_bytes(nonsense)
        (runtime / "claims" / f"{stem}.runs").write_bytes(nonsense)
        assert read_record(runtime, "key") is None
        assert claim.runs() == {}


@pytest.mark.parametrize("text", ["a=" + "[" * 100_000, "# " + "x" * 2_000_000])
def test_settings_that_no_person_wrote_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disttrack.toml").write_text(text)
    with pytest.raises(UsageError, match=r"disttrack\.toml cannot be read"):
        load()


NAMES = ["..", ".", "../../x", "/etc/x", "a\0b", "a/b", "x" * 5000, "", ".live", "\ud800", "%2e%2e", "-rf", "a\nb"]


@pytest.mark.real(timeout_s=90)
def test_a_hostile_run_log_makes_readers_neither_write_nor_read_elsewhere(site: Site, tmp_path: Path) -> None:
    root = tmp_path / "disttrack-runs"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    for number, name in enumerate(NAMES):
        text = name.encode("utf-8", "replace").decode()
        log = root / "p" / f"run{number}" / "log"
        log.mkdir(parents=True)
        join = make_join(incarnation=number + 1, journal=str(precious), project=text, root=str(precious), given_id=text)
        header = RunHeader(
            format_version=1, run_id=RunId(text), project=text, name=text, group=text, launch_key=text, ordinal=0,
            nonce=text, time_us=-(2**62),
        )  # fmt: skip
        segment = Segment(log)
        segment.append(FrameKind.HEADER, header)
        segment.append(FrameKind.ADMISSION, Admission(join=join, attempt=2**62, role="rank"))
        for end in (2**62, 2**63 - 1, 2**64 - 1, 5):
            segment.append_batch([Entry(2**32 - 1, Incarnation(number + 1), end, b"\xff" * 40)])
        segment.append_batch([Entry(0, Incarnation(2**64 - 1), 40, b"\xff" * 40)])
        segment.append(FrameKind.SIGHTING, Sighting(incarnation=Incarnation(2**64 - 1), seen="crashed", time_us=2**62))
        segment.close()
    (root / "p" / "run0" / "log" / "000002.dtl").symlink_to(precious / "data")
    os.mkfifo(root / "p" / "run0" / "log" / "000003.dtl")
    os.mkfifo(root / "p" / ".edits")
    before = sorted(path for path in tmp_path.rglob("*") if root not in path.parents)
    found = site.cli("ls", "--json", "-n", "1000")
    assert len(msgspec.json.decode(found)) == len(NAMES)
    for name in ("x" * 5000, "../../x"):
        process = site.start(sys.executable, "-m", "disttrack", "show", f"p/{name}")
        output, _ = process.communicate(timeout=300)
        assert "Traceback" not in output, output
    after = sorted(path for path in tmp_path.rglob("*") if root not in path.parents)
    assert [
        path for path in after if path not in before and "home" not in path.parts and "cache" not in path.parts
    ] == []


# What is never used

FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "recv_pyobj", "send_pyobj", "mktemp", "system", "popen"}


def test_no_module_runs_what_it_reads() -> None:
    found: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [
                    alias.name.split(".")[0] for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES
                ]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
                names = [str(node.module)]
            elif isinstance(node, ast.Call):
                names = [name for name in [_called(node)] if name is not None]
            found += [f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)} {name}" for name in names]
    assert found == []


def _called(node: ast.Call) -> str | None:
    """Returns the name of a call that is forbidden: eval and its like, an unsafe YAML loader, a shell."""
    function = node.func
    if isinstance(function, ast.Name):
        return function.id if function.id in FORBIDDEN_CALLS else None
    if not isinstance(function, ast.Attribute):
        return None
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if function.attr in FORBIDDEN_CALLS - {"compile"}:
        return function.attr
    if owner == "yaml" and function.attr not in ("safe_load", "safe_dump", "CSafeLoader"):
        return f"yaml.{function.attr}"
    shell = any(word.arg == "shell" and getattr(word.value, "value", None) for word in node.keywords)
    return f"{function.attr}(shell=True)" if shell else None
