"""What is said of the source code, and that nothing of a repository's own configuration is executed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from disttrack.capture.repository import find_repository
from disttrack.capture.source import source

PLAIN = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, env={**os.environ, **PLAIN}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    git(directory, "init", "-q", "-b", "trunk")
    (directory / "train.py").write_text("print('first')\n")
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "first")
    return directory


def test_commit_branch_remote_and_root_are_found_from_below(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://user:CANARY@example.org/team/work.git")
    below = repository / "a" / "b"
    below.mkdir(parents=True)
    assert source([below], os.environ) == {
        "root": str(repository),
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "trunk",
        "remote": "https://example.org/team/work.git",
        "dirty": False,
    }
    found = find_repository(below)
    assert found is not None
    assert found.name == "work"


def test_changes_are_told_and_kept_only_if_asked_for(repository: Path) -> None:
    (repository / "train.py").write_text("print('second')\napi_key=CANARY-1234567890abcdef\n")
    assert source([repository], os.environ)["dirty"] is True
    assert "diff" not in source([repository], os.environ)
    found = source([repository], os.environ, diff=True)
    assert "+print('second')" in str(found["diff"])
    assert "CANARY" not in str(found["diff"])
    assert found["diff_cut"] is False


def test_a_long_diff_is_cut(repository: Path) -> None:
    (repository / "train.py").write_text("".join(f"line {number}\n" for number in range(50_000)))
    found = source([repository], os.environ, diff=True)
    assert (len(str(found["diff"])), found["diff_cut"]) == (256 << 10, True)


def test_worktrees_packed_references_and_detached_heads_are_read(repository: Path, tmp_path: Path) -> None:
    git(repository, "remote", "add", "mine", "git@example.org:me/work.git")
    git(repository, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    git(repository, "pack-refs", "--all")
    git(repository, "gc", "-q")
    commit = git(repository, "rev-parse", "HEAD")
    for place, branch in ((repository, "trunk"), (tmp_path / "side", "side")):
        found = source([place], os.environ)
        assert (found["commit"], found["branch"], found["dirty"]) == (commit, branch, False)
        assert found["remote"] == "git@example.org:me/work.git"
    git(repository, "checkout", "-q", "--detach")
    found = source([repository], os.environ)
    assert (found["commit"], found["branch"]) == (commit, None)


def test_without_git_the_files_are_read(repository: Path) -> None:
    found = source([repository], {**os.environ, "PATH": ""})
    assert found["commit"] == git(repository, "rev-parse", "HEAD") or not os.environ["PATH"]
    found = source([repository], {"PATH": "/nonexistent"})
    assert (found["branch"], found["commit"]) == ("trunk", git(repository, "rev-parse", "HEAD"))


def test_no_repository_is_no_source(tmp_path: Path) -> None:
    assert source([tmp_path, tmp_path / "gone"], os.environ) == {}
    (tmp_path / ".git").write_text("gitdir: /nonexistent\n")
    assert source([tmp_path], os.environ) == {}


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    found = source([tmp_path], os.environ)
    assert (found["commit"], found["branch"]) == (None, "trunk")


HOSTILE = {
    "core.fsmonitor": "{evil} fsmonitor",
    "core.hooksPath": "{hooks}",
    "core.pager": "{evil} pager",
    "core.editor": "{evil} editor",
    "core.sshCommand": "{evil} ssh",
    "core.gitProxy": "{evil} proxy",
    "core.askPass": "{evil} askpass",
    "credential.helper": "!{evil} credential",
    "diff.external": "{evil} external-diff",
    "diff.evil.command": "{evil} diff-driver",
    "diff.evil.textconv": "{evil} textconv",
    "filter.evil.clean": "{evil} clean",
    "filter.evil.smudge": "{evil} smudge",
    "filter.evil.process": "{evil} process",
    "filter.evil.required": "true",
    "filter.other name.clean": "{evil} clean-2",
    "alias.status": "!{evil} alias",
    "alias.diff": "!{evil} alias",
    "alias.config": "!{evil} alias",
    "alias.rev-parse": "!{evil} alias",
    "pager.status": "{evil} pager-status",
    "pager.diff": "{evil} pager-diff",
    "gpg.program": "{evil} gpg",
    "log.showSignature": "true",
    "remote.origin.url": "ext::{evil} remote",
    "remote.origin.promisor": "true",
    "remote.origin.uploadpack": "{evil} uploadpack",
    "protocol.ext.allow": "always",
    "interactive.diffFilter": "{evil} interactive",
    "sequence.editor": "{evil} sequence",
}


def plant(repository: Path, extra: dict[str, str]) -> Path:
    """Make everything that a repository can configure leave a trace in a file when it runs; return that file."""
    trace, hooks, evil = repository.parent / "trace", repository.parent / "hooks", repository.parent / "evil"
    evil.write_text(f'#!/bin/sh\necho "$@" >> {trace}\ncat\n')
    evil.chmod(0o700)
    hooks.mkdir()
    for name in ("post-index-change", "pre-commit", "post-checkout", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).symlink_to(evil)
        (repository / ".git" / "hooks" / name).unlink(missing_ok=True)
        (repository / ".git" / "hooks" / name).symlink_to(evil)
    (repository / ".gitattributes").write_text("*.py filter=evil diff=evil\n*.txt filter=other\\040name\n")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "-q", "-m", "attributes")
    trace.unlink(missing_ok=True)
    for name, value in {**HOSTILE, **extra}.items():
        git(repository, "config", "--local", name, value.format(evil=evil, hooks=hooks))
    trace.unlink(missing_ok=True)
    return trace


@pytest.mark.real(timeout_s=60)
def test_nothing_that_a_repository_configures_is_executed(repository: Path) -> None:
    trace = plant(repository, {})
    (repository / "train.py").write_text("print('changed')\n")
    (repository / "x.txt").write_text("new\n")
    found = source([repository], os.environ, diff=True)
    assert not trace.exists(), trace.read_text()
    assert found["dirty"] is True
    assert "+print('changed')" in str(found["diff"])
    # The traps are real: git by itself falls into them.
    subprocess.run(["git", "status"], cwd=repository, env={**os.environ, **PLAIN}, capture_output=True, check=False)
    subprocess.run(["git", "diff"], cwd=repository, env={**os.environ, **PLAIN}, capture_output=True, check=False)
    assert {line.split()[0] for line in trace.read_text().splitlines()} >= {"fsmonitor", "process"}


def test_a_filter_that_no_option_can_name_keeps_git_from_running(repository: Path) -> None:
    trace = plant(repository, {})
    (repository / ".gitattributes").write_text("*.py filter=a=b\n")
    (repository / "train.py").write_text("print('changed')\n")
    config = repository / ".git" / "config"
    config.write_text(f'{config.read_text()}\n[filter "a=b"]\n\tclean = {repository.parent}/evil named\n')
    found = source([repository], os.environ, diff=True)
    assert not trace.exists(), trace.read_text()
    assert (found["branch"], found["dirty"]) == ("trunk", None)


def test_submodules_are_not_looked_into(repository: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "a.py").write_text("a\n")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "a")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    git(repository, "commit", "-q", "-m", "sub")
    trace = tmp_path / "trace"
    git(repository / "sub", "config", "core.fsmonitor", f"echo sub >> {trace}; false")
    (repository / "sub" / "a.py").write_text("b\n")
    assert source([repository], os.environ)["dirty"] is False
    assert not trace.exists()


def test_a_git_that_hangs_is_ended_with_all_it_started(repository: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    slow = programs / "git"
    slow.write_text(f"#!/bin/sh\n/bin/sleep 600 & echo $! > {tmp_path}/pid\nwait\n")
    slow.chmod(0o700)
    before = time.monotonic()
    found = source([repository], {"PATH": f"{programs}:{os.environ['PATH']}"})
    assert time.monotonic() - before < 300  # half of what it hangs
    assert (found["branch"], found["dirty"]) == ("trunk", None)
