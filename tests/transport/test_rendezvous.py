"""Claims: one holder at a time, free the moment it dies, and no file of the dead in the way."""

import os
import subprocess
import sys
from pathlib import Path

from disttrack.environments.host import boot_id, process_start_time
from disttrack.environments.launch import parent_key
from disttrack.transport.rendezvous import Claim, Record, launch_hash, read_record

HOLD = """
import sys
from pathlib import Path
from disttrack.transport.rendezvous import Claim
claim = Claim(Path(sys.argv[1]), "key")
print(claim.take(), flush=True)
sys.stdin.readline()
"""


def holder(runtime: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(runtime)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def mine(nonce: str = "n") -> Record:
    pid = os.getpid()
    return Record(address="ipc://x", nonce=nonce, pid=pid, start_time=process_start_time(pid), boot_id=boot_id())


def test_a_claim_has_one_holder_and_is_free_the_moment_it_dies(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        claim = Claim(tmp_path, "key")
        assert not claim.take()
        assert Claim(tmp_path, "another key").take()
        other.kill()
        other.wait()
        assert claim.take()
        claim.release()


def test_a_record_is_believed_while_its_process_lives_and_no_longer(tmp_path: Path) -> None:
    claim = Claim(tmp_path, "key")
    assert read_record(tmp_path, "key") is None
    assert claim.take()
    claim.publish(mine())
    assert read_record(tmp_path, "key") == mine()
    other = subprocess.Popen([sys.executable, "-c", "pass"])
    other.wait()
    claim.publish(Record(address="ipc://x", nonce="n", pid=other.pid, start_time=1, boot_id=boot_id()))
    assert read_record(tmp_path, "key") is None
    claim.publish(mine())
    claim.withdraw()
    assert read_record(tmp_path, "key") is None
    claim.release()


def test_run_ids_outlive_the_holder_until_the_launch_is_forgotten(tmp_path: Path) -> None:
    claim = Claim(tmp_path, "key")
    assert claim.take()
    claim.remember_runs({"a": "1"})
    claim.release()
    again = Claim(tmp_path, "key")
    assert again.take()
    assert again.runs() == {"a": "1"}
    again.forget()
    assert list((tmp_path / "claims").iterdir()) == []


def test_what_launches_left_is_swept_when_they_are_old_or_their_owner_is_gone_but_never_when_held(
    tmp_path: Path,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    owned_by_the_dead, owned_by_us = f"parent:{boot_id()}:{gone.pid}:1", parent_key(os.getpid())
    with holder(tmp_path) as other:
        for key in (owned_by_the_dead, owned_by_us, "group:old"):
            left = Claim(tmp_path, key)
            assert left.take()
            left.remember_runs({"a": "1"})
            left.release()
        for name in ("group:old", "key"):
            os.utime(tmp_path / "claims" / f"{launch_hash(name)}.lock", (1, 1))
        claim = Claim(tmp_path, "new")
        assert claim.take()
        claim.sweep()
        kept = {path.stem for path in (tmp_path / "claims").glob("*.lock")}
        assert kept == {launch_hash(key) for key in ("key", "new", owned_by_us)}
        assert not Claim(tmp_path, "key").take()
        claim.release()
        other.communicate("end\n")


def test_everything_here_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "runtime", "key")
    assert claim.take()
    claim.publish(mine())
    for path in (tmp_path / "runtime").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    claim.release()
