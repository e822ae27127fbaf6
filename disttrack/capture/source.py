"""The source code a run was started from: its repository, and what is changed in it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from disttrack.capture.repository import Repository, find_repository
from disttrack.records.secrets import redacted_text

__all__ = ["TIMEOUT_S", "source"]

TIMEOUT_S = 2.0  # for all of it
MAX_DIFF_BYTES = 256 << 10  # an index keeps it with what is known of the rank
MAX_OUTPUT_BYTES = 4 << 20

# What a repository's own configuration could have git execute, all of it turned off. A hostile one is met as soon as
# somebody trains in a directory that he unpacked (tests/capture/test_source.py plants all of these).
_SAFE = (
    *("--no-pager", "--no-optional-locks", "--literal-pathspecs"),
    *("-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat", "-c", "core.editor=true"),
    *("-c", "core.sshCommand=false", "-c", "core.gitProxy=", "-c", "core.askPass=", "-c", "credential.helper="),
    *("-c", "diff.external=", "-c", "diff.autoRefreshIndex=false", "-c", "diff.ignoreSubmodules=all"),
    *("-c", "submodule.recurse=false", "-c", "status.submoduleSummary=false", "-c", "protocol.allow=never"),
    *("-c", "gpg.program=false", "-c", "log.showSignature=false", "-c", "core.untrackedCache=false"),
)
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone would ask its remote, by a command of the remote's choice
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}


class _Unknown(Exception):
    """Git is not here, refuses, takes too long or says too much."""


def source(directories: Sequence[Path], environ: Mapping[str, str], *, diff: bool = False) -> dict[str, object]:
    """Return root, commit, branch, remote and dirty of the repository around the first directory that has one.

    dirty: whether files that git tracks are changed; None where that cannot be known within TIMEOUT_S. diff: also
    return the changes themselves, without what looks like a secret, and whether they are cut (diff_cut).
    Empty where there is no repository.
    """
    deadline = time.monotonic() + TIMEOUT_S
    repository = next(filter(None, map(find_repository, directories)), None)
    if repository is None:
        return {}
    found: dict[str, object] = {
        "root": str(repository.root),
        "commit": repository.commit,
        "branch": repository.branch,
        "remote": repository.remote,
        "dirty": None,
    }
    git = _Git(repository, environ, deadline)
    try:
        if repository.commit is None:
            found["commit"] = git.run("rev-parse", "--verify", "HEAD").decode().strip() or None  # a ref format of later
        found["dirty"] = bool(git.run("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"))
        if diff and found["dirty"]:
            changes = git.run("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all", "HEAD")
            cut = changes[:MAX_DIFF_BYTES]
            found |= {
                "diff": redacted_text(cut.decode(errors="replace")),
                "diff_cut": len(cut) < len(changes),
            }
    except _Unknown:
        pass  # what is known by then is worth keeping
    return found


class _Git:
    """The program git in one repository, with nothing to execute but itself."""

    def __init__(self, repository: Repository, environ: Mapping[str, str], deadline: float) -> None:
        self._root = repository.root
        self._environ = {name: value for name, value in environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT
        self._deadline = deadline
        self._filters: list[str] | None = None

    def run(self, *arguments: str) -> bytes:
        """Return what a command of git prints; raise _Unknown."""
        if self._filters is None:
            self._filters = self._without_filters()
        return self._run(*_SAFE, *self._filters, *arguments)

    def _without_filters(self) -> list[str]:
        """Return options that take the commands from all content filters and diff drivers that are configured."""
        options: list[str] = []
        for name in self._run("config", "--list", "--name-only", "-z").decode(errors="surrogateescape").split("\0"):
            section, _, key = name.rpartition(".")
            if not section.startswith(("filter.", "diff.")) or key not in (
                *("clean", "smudge", "process", "required", "command", "textconv"),
            ):
                continue
            if "=" in name or "\n" in name:
                raise _Unknown  # no option can name it, so its command would run
            options += ["-c", f"{name}={'false' if key == 'required' else ''}"]
        return options

    def _run(self, *arguments: str) -> bytes:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise _Unknown
        try:
            process = subprocess.Popen(
                ["git", "-C", str(self._root), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
                start_new_session=True,  # Ctrl-C is not meant for it, and its children go with it
            )
        except (OSError, ValueError) as error:
            raise _Unknown from error
        try:
            output, _ = process.communicate(timeout=left_s)
        except subprocess.TimeoutExpired as error:
            raise _Unknown from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode != 0 or len(output) > MAX_OUTPUT_BYTES:
            raise _Unknown
        return output
