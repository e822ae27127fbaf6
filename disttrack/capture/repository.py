"""The git repository around a directory, read from its files: no program runs, and none has to be installed."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from disttrack.records.secrets import redacted_text

__all__ = ["Repository", "find_repository"]

MAX_BYTES = 1 << 20  # of HEAD, config and others; packed-refs may be larger
MAX_REFS_BYTES = 64 << 20
MAX_LINKS = 5  # from one symbolic reference to the next
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SECTION = re.compile(r'\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')


@dataclass(frozen=True)
class Repository:
    """Where a repository lies, and what its files say. None: it has none, or it cannot be read."""

    root: Path
    commit: str | None
    branch: str | None  # None also where HEAD is a commit by itself
    remote: str | None  # without user, password and token

    @property
    def name(self) -> str:
        """What people call it: the remote's last part, else its directory."""
        last = re.split(r"[/:]", (self.remote or "").rstrip("/"))[-1].removesuffix(".git")
        return last or self.root.name


def find_repository(directory: Path) -> Repository | None:
    """Return the repository that a directory lies in; None where there is none."""
    try:
        directory = directory.resolve()
    except (OSError, RuntimeError):
        return None
    for place in (directory, *directory.parents):
        git = _git_directory(place)
        if git is not None:
            return _read(place, git)
    return None


def _git_directory(place: Path) -> Path | None:
    """Return the git directory of a working tree whose top this is: `.git`, or where a file of that name points."""
    git = place / ".git"
    try:
        found = os.stat(git)
    except OSError:
        return None
    if stat.S_ISREG(found.st_mode):  # of a worktree or a submodule
        line = _text(git)
        if not line.startswith("gitdir:"):
            return None
        git = place / line[len("gitdir:") :].strip()
    return git if (git / "HEAD").is_file() else None


def _read(root: Path, git: Path) -> Repository:
    common = git / (_text(git / "commondir").strip() or ".")  # a worktree shares refs and config with its main one
    head = _text(git / "HEAD").strip()
    branch = head.removeprefix("ref:").strip().removeprefix("refs/heads/") if head.startswith("ref:") else None
    return Repository(root, _commit(head, git, common), branch, _remote(common / "config", branch))


def _commit(head: str, git: Path, common: Path) -> str | None:
    for _ in range(MAX_LINKS):
        if not head.startswith("ref:"):
            return head if _COMMIT.fullmatch(head) else None
        name = head[len("ref:") :].strip()
        if not name.startswith("refs/") or ".." in name.split("/"):
            return None
        head = _text(git / name).strip() or _text(common / name).strip() or _packed(common, name)
    return None


def _packed(common: Path, name: str) -> str:
    for line in _text(common / "packed-refs", MAX_REFS_BYTES).splitlines():
        commit, _, other = line.partition(" ")
        if other == name:
            return commit
    return ""


def _remote(config: Path, branch: str | None) -> str | None:
    """Return the URL of the branch's remote, else of origin, else of the first one."""
    urls: dict[str, str] = {}
    followed = "origin"
    kind, name = "", ""
    for line in _text(config).splitlines():
        line = line.strip()
        section = _SECTION.match(line)
        if section:
            kind, name = section[1].lower(), section[2] or ""
            line = line[section.end() :].strip()
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            continue
        value = value.strip('"')
        if kind == "remote" and key.lower() == "url":
            urls.setdefault(name, value)
        elif kind == "branch" and name == branch and key.lower() == "remote":
            followed = value
    url = urls.get(followed) or urls.get("origin") or next(iter(urls.values()), None)
    return redacted_text(url) if url else None


def _text(path: Path, limit: int = MAX_BYTES) -> str:
    """Return what a plain file holds, up to limit bytes; nothing where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(fd, "rb") as file:
            return file.read(limit).decode(errors="replace") if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    except OSError:
        return ""
