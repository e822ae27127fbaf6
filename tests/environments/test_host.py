"""This machine: which process is alive, which disk is local, and where private files may lie."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from disttrack.environments.host import (
    boot_id,
    filesystem_type,
    hostname,
    is_alive,
    is_network_filesystem,
    is_network_type,
    journal_places,
    mounted_type,
    parent_of,
    private_directory,
    process_environ,
    process_start_time,
    runtime_directory,
)
from disttrack.environments.launch import own_key, owner_is_gone, parent_key
from disttrack.errors import UnsafeDirectory

NO_PID = 2**22 + 1  # beyond what the kernel gives out

#: Renames itself to something that looks like the rest of its line in /proc, says so, and waits to be ended.
ODD_NAME = "open('/proc/self/comm', 'w').write('a) R 1 (b'); print(flush=True); input()"

# Two mounts on /data, the later hiding the earlier, and some below names that are hard to read.
MOUNTS = b"""\
22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
23 22 0:5 / /proc rw - proc proc rw
30 22 0:40 / /data rw,relatime shared:1 - ext4 /dev/vdb rw
31 22 0:41 / /data rw,relatime shared:2 master:3 - nfs4 server:/export rw,addr=10.0.0.1
32 31 0:42 / /data/local rw - xfs /dev/nvme0 rw
33 22 0:43 / /mnt/a\\040b\\012c\\134d rw - lustre mgs@tcp:/fs rw
34 22 0:44 / /mnt/\xc3\xbc\xe3\x80\x80x rw - beegfs beegfs rw
35 22 0:45 / /mnt/\xff\\040y rw - ceph ceph rw
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", ODD_NAME]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Processes


def test_this_process_is_alive_since_it_started() -> None:
    pid = os.getpid()
    start_time = process_start_time(pid)
    assert is_alive(pid, start_time)
    assert start_time / os.sysconf("SC_CLK_TCK") == pytest.approx(
        psutil.Process().create_time() - psutil.boot_time(), abs=2
    )
    assert parent_of(pid) == os.getppid()


def test_a_process_is_known_whatever_its_name(child: subprocess.Popen[str]) -> None:
    assert Path(f"/proc/{child.pid}/comm").read_text() == "a) R 1 (b\n"
    assert parent_of(child.pid) == os.getpid()
    assert is_alive(child.pid, process_start_time(child.pid))


def test_a_process_that_waits_to_be_reaped_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start_time = process_start_time(process.pid)
    assert is_alive(process.pid, start_time)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
    assert process_start_time(process.pid) == start_time
    assert not is_alive(process.pid, start_time)
    process.communicate()
    assert process_start_time(process.pid) == 0
    assert not is_alive(process.pid, start_time)


def test_another_process_with_the_same_pid_is_not_taken_for_it() -> None:
    pid = os.getpid()
    start_time = process_start_time(pid)
    assert not is_alive(pid, start_time - 1)
    assert not is_alive(pid, start_time + 1)
    assert not is_alive(pid, 0)


def test_a_pid_that_nobody_has_is_not_alive_and_has_no_parent() -> None:
    assert not is_alive(NO_PID, 0)
    assert (process_start_time(NO_PID), parent_of(NO_PID), process_environ(NO_PID)) == (0, 0, None)


def test_the_environment_a_process_was_started_with_is_read() -> None:
    environ = {"PLAIN": "x", "EQUALS": "a=b=c", "EMPTY": "", "UNICODE": "名前", "LINES": "a\nb"}
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = process_environ(process.pid)
        process.kill()
    assert found == environ


def test_a_launch_is_over_when_the_process_that_starts_its_ranks_has_ended(child: subprocess.Popen[str]) -> None:
    key = parent_key(child.pid)
    assert not owner_is_gone(own_key())
    assert not owner_is_gone(key)
    child.kill()
    child.wait()
    assert owner_is_gone(key)
    assert not owner_is_gone(key.replace(boot_id(), "another-boot"))  # another host's: not ours to tell
    assert not owner_is_gone("group:some-nonce")


def test_host_and_boot_have_names_that_stay() -> None:
    assert hostname()
    assert boot_id() == boot_id() != ""
    assert "\n" not in boot_id()


# Disks


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/procfs", "ext4"),
        ("/proc/self", "proc"),
        ("/data", "nfs4"),
        ("/data/x/y", "nfs4"),
        ("/data2", "ext4"),
        ("/data/local", "xfs"),
        ("/data/local/x", "xfs"),
        ("/data/localx", "nfs4"),
        ("/mnt/a b\nc\\d/x", "lustre"),
        ("/mnt/ü\u3000x/y", "beegfs"),
        ("/mnt/\udcff y", "ceph"),
    ],
)
def test_the_last_mount_around_a_path_says_its_file_system(path: str, kind: str) -> None:
    assert mounted_type(path, MOUNTS) == kind


def test_without_any_mount_the_file_system_is_not_known() -> None:
    assert mounted_type("/x", b"") == ""


def test_file_systems_of_this_machine_are_told_apart(tmp_path: Path) -> None:
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    assert filesystem_type(Path("/proc/self")) == "proc"
    assert filesystem_type(tmp_path / "not" / "there") == filesystem_type(tmp_path) in known
    (tmp_path / "link").symlink_to("/proc")
    assert filesystem_type(tmp_path / "link") == "proc"
    assert not is_network_filesystem(Path("/proc"))


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "ceph", "fuse", "fuse.sshfs", "fuse.a-new-cloud"])
def test_network_file_systems_and_unknown_ones_of_fuse_take_no_journal_and_no_index(kind: str) -> None:
    assert is_network_type(kind)


@pytest.mark.parametrize("kind", ["", "ext4", "overlay", "tmpfs", "fuseblk", "fuse.fuse-overlayfs", "a-new-one"])
def test_local_file_systems_and_the_root_of_containers_take_both(kind: str) -> None:
    assert not is_network_type(kind)


# Directories


def test_a_private_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = private_directory(tmp_path / "deep" / "directory")
    finally:
        os.umask(before)
    assert made == tmp_path / "deep" / "directory"
    assert mode(made) == 0o700


@pytest.mark.parametrize("found", [0o777, 0o755, 0o750, 0o701])
def test_a_directory_others_could_enter_is_closed_to_them(tmp_path: Path, found: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(found)
    assert mode(private_directory(tmp_path / "open")) == 0o700


def test_links_and_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, why in (("link", "it is a link"), ("file", "not a directory"), ("dangling", "not a directory")):
        with pytest.raises(UnsafeDirectory, match=why) as refused:
            private_directory(tmp_path / name)
        assert refused.value.path == tmp_path / name
    assert mode(tmp_path / "target") == 0o755
    assert not (tmp_path / "nowhere").exists()


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.getuid() == 0:
        others = tmp_path / "others"
        others.mkdir()
        os.chown(others, 12_345, -1)
    else:
        others = Path("/usr")
    with pytest.raises(UnsafeDirectory, match="it belongs to user"):
        private_directory(others)


def test_the_runtime_directory_is_the_chosen_one_and_private(tmp_path: Path) -> None:
    assert runtime_directory(str(tmp_path / "chosen")) == tmp_path / "chosen"
    assert mode(tmp_path / "chosen") == 0o700


def test_journals_lie_on_the_first_local_disk_that_was_named(tmp_path: Path) -> None:
    own = Path(f"disttrack-{os.getuid()}", "journals")
    environ = {"SLURM_TMPDIR": str(tmp_path / "slurm"), "TMPDIR": str(tmp_path / "tmp")}
    places = list(journal_places(str(tmp_path / "chosen"), environ))
    assert places[:3] == [tmp_path / name / own for name in ("chosen", "slurm", "tmp")]
    assert next(iter(journal_places(None, {"TMPDIR": ""}))) == Path("/var/tmp") / own
