"""Files that a run keeps: those a script saves, now, at the end or whenever they change, and its own code."""

from __future__ import annotations

import glob
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from disttrack.api.recorder import Recorder
from disttrack.errors import UsageError
from disttrack.settings import ROOT_NAME

__all__ = ["FilePolicy", "Keeper"]

FilePolicy = Literal["now", "live", "end"]
LOOK_S = 10.0  # how often files of policy live are looked at
ELSEWHERE = ("gs://", "s3://")
NO_CODE = {"node_modules", "site-packages", "__pycache__", ROOT_NAME}  # and directories that begin with a dot


class _Wanted(NamedTuple):
    """Files to be saved again when they change, or at the end."""

    pattern: str
    base: Path
    policy: FilePolicy


_Seen = tuple[int, int, int]  # inode, size, modification time in ns


class Keeper:
    """Keeps files for one rank."""

    def __init__(self, recording: Callable[[], Recorder | None]) -> None:
        """recording: returns this process's recorder, None where nothing is kept."""
        self._recording = recording
        self._wanted: list[_Wanted] = []
        self._seen: dict[str, _Seen] = {}  # by path in the run: as each file was when it was kept last
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._keeping = threading.RLock()  # the thread keeps files, and finish() does; log() is not held up by it

    def save(self, pattern: str | os.PathLike[str], base_path: str | os.PathLike[str] | None, policy: str) -> list[str]:
        """Keep the files that match; see Run.save."""
        if policy not in get_args(FilePolicy):
            raise UsageError(f"policy={policy!r}", "there is no such policy", 'Use "now", "live" or "end".')
        wanted = os.fspath(pattern)
        if wanted.startswith(ELSEWHERE):
            return []
        base = _base_of(wanted, base_path)
        if not Path(os.path.abspath(wanted)).is_relative_to(base):
            raise UsageError(
                f"save({wanted!r})", f"it is not below base_path={str(base)!r}", "Choose another base_path."
            )
        spec = _Wanted(os.path.abspath(wanted), base, cast(FilePolicy, policy))
        found = list(_matches(spec))
        recorder = self._recording()
        if recorder is None:
            return []
        if policy != "end":
            for path, within in found:
                self._keep(recorder, path, within, spec.policy)
        if policy != "now" and spec not in self._wanted:
            self._wanted.append(spec)
            self._watch()
        return [within for _, within in found]

    def save_code(
        self,
        root: str | os.PathLike[str],
        include: Callable[..., bool] | None,
        exclude: Callable[..., bool] | None,
    ) -> list[str]:
        """Keep the code below a directory; see Run.log_code."""
        top = Path(os.path.abspath(root))
        recorder = self._recording()
        kept: list[str] = []
        for path in _code_below(top):
            wanted = _asked(include, path, top) if include is not None else path.suffix == ".py"
            if not wanted or (exclude is not None and _asked(exclude, path, top)):
                continue
            within = f"code/{path.relative_to(top).as_posix()}"
            if recorder is not None and recorder.keep_file(path, within, "now"):
                kept.append(within)
        return kept

    def save_program(self) -> str | None:
        """Keep the script that runs, or what a notebook ran so far; return where, None where neither is to be had."""
        recorder = self._recording()
        path = Path(os.path.abspath(os.environ.get("JPY_SESSION_NAME") or sys.argv[0] or "-"))
        if recorder is None or not path.is_file():
            return None
        within = f"code/{path.name}"
        return within if recorder.keep_file(path, within, "now") else None

    def finish(self) -> None:
        """Keep what is to be kept at the end, and what changed."""
        self._stop.set()
        recorder = self._recording() if self._wanted else None
        for spec in self._wanted if recorder is not None else ():
            assert recorder is not None
            self._keep_changed(recorder, spec)

    def forget(self) -> None:
        """Forget all of it: this is a forked child, and it is its parent's."""
        self._wanted, self._thread = [], None
        self._stop, self._keeping = threading.Event(), threading.RLock()

    def _keep(self, recorder: Recorder, path: Path, within: str, policy: FilePolicy) -> None:
        with self._keeping:
            seen = _seen(path)
            if recorder.keep_file(path, within, policy) and seen is not None:
                self._seen[within] = seen

    def _keep_changed(self, recorder: Recorder, spec: _Wanted) -> None:
        for path, within in _matches(spec):
            if _seen(path) != self._seen.get(within):
                self._keep(recorder, path, within, spec.policy)

    def _watch(self) -> None:
        if self._thread is None and any(spec.policy == "live" for spec in self._wanted):
            self._thread = threading.Thread(target=self._look, name="disttrack-files", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(LOOK_S):
            recorder = self._recording()
            for spec in [spec for spec in self._wanted if spec.policy == "live"]:
                if recorder is not None:
                    self._keep_changed(recorder, spec)


def _base_of(pattern: str, base_path: str | os.PathLike[str] | None) -> Path:
    """Return the directory below which a file keeps its path: of an absolute pattern the one above its own."""
    if base_path is not None:
        return Path(os.path.abspath(base_path))
    if os.path.isabs(pattern):
        return Path(os.path.abspath(pattern)).parent.parent
    return Path.cwd()


def _matches(spec: _Wanted) -> Iterator[tuple[Path, str]]:
    """Yield each file that matches once, directories with all they hold, and its path in the run."""
    known: set[str] = set()  # `**` matches a directory, what it holds, and so on
    for name in sorted(glob.glob(spec.pattern, recursive=True)):
        path = Path(name)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and str(file) not in known:
                known.add(str(file))
                yield file, file.relative_to(spec.base).as_posix()


def _seen(path: Path) -> _Seen | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _code_below(top: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in NO_CODE and not name.startswith("."))
        if (Path(directory) / "pyvenv.cfg").exists():
            folders.clear()
            continue
        yield from (Path(directory) / name for name in sorted(files))


def _asked(function: Callable[..., Any], path: Path, top: Path) -> bool:
    """Return what a user's function says of a path; it takes the path, and if it likes the root."""
    try:
        return bool(function(str(path), str(top)))
    except TypeError:
        return bool(function(str(path)))
