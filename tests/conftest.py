"""Every test gets a machine of its own: no launcher around it, its own directories, and no process left behind.

Markers (declared in pyproject.toml): `real(timeout_s=N)` for tests that start real launchers, `long` for those that
only `--all` runs, `soak` for those that only `--soak` runs.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psutil
import pytest

#: Limits are told as a quiet machine needs them, and a busy one has so many times that: they end what hangs, and
#: measure nothing.
PATIENCE = 5

#: Seconds each marker may declare at most; `real` has to declare.
LIMIT_S = {"real": 180, "long": 1_800, "soak": 8 * 3_600}

#: Variables by which a launcher, a tracker or a desktop around the test would speak to the code under test.
FOREIGN_PREFIXES = (
    *("RANK", "LOCAL_", "WORLD_SIZE", "GROUP_", "ROLE_", "NODE_RANK", "MASTER_", "TORCHELASTIC_", "PET_"),
    *("SLURM_", "OMPI_", "PMI", "MPI_", "MV2_", "HOROVOD_", "JSM_", "LSB_", "RAY_"),
    *("DISTTRACK_", "WANDB_", "XDG_"),
)

#: Seconds that the writers of a test have for ending by themselves once the test is over.
WRITER_END_S = PATIENCE * 15.0

# Two cores shared with other tests: how long one example takes says nothing. (CI=true has Hypothesis' own profile.)
hypothesis.settings.register_profile("disttrack", deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("disttrack")
    group.addoption("--all", action="store_true", dest="run_long", help="also run tests marked long")
    group.addoption("--soak", action="store_true", dest="run_soak", help="also run tests marked long or soak (hours)")


def pytest_configure(config: pytest.Config) -> None:
    if not in_ci():
        hypothesis.settings.load_profile("disttrack")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    soak = bool(config.getoption("run_soak"))
    unwanted = {"long": not (soak or config.getoption("run_long")), "soak": not soak}
    deselected = [item for item in items if any(item.get_closest_marker(name) for name in unwanted if unwanted[name])]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]
    for item in items:
        limit_s = declared_limit_s(item)
        if limit_s is not None:
            item.add_marker(pytest.mark.timeout(PATIENCE * limit_s))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Collects what a failed test left open while it is still that test's: else a later one fails for it."""
    failed = item.session.testsfailed
    try:
        return (yield)
    finally:
        if item.session.testsfailed > failed:
            for name in {"last_type", "last_value", "last_traceback", "last_exc"} & set(dir(sys)):
                delattr(sys, name)  # pytest's, for debuggers: they hold the frames of the test
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()


def declared_limit_s(item: pytest.Item) -> float | None:
    """Return the time limit that the test's own markers declare, else what the longest of them allows."""
    markers = [marker for name in LIMIT_S if (marker := item.get_closest_marker(name)) is not None]
    declared_s: list[float] = []
    for marker in markers:
        limit_s = marker.kwargs.get("timeout_s")
        if limit_s is not None and not 0 < limit_s <= LIMIT_S[marker.name]:
            raise pytest.UsageError(f"{item.nodeid}: {marker.name}(timeout_s=N) takes N up to {LIMIT_S[marker.name]}")
        if limit_s is None and marker.name == "real":
            raise pytest.UsageError(f"{item.nodeid}: write @pytest.mark.real(timeout_s=N), N up to {LIMIT_S['real']}")
        if limit_s is not None:
            declared_s.append(limit_s)
    return max(declared_s or [LIMIT_S[marker.name] for marker in markers], default=None)


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


@pytest.fixture(scope="session", autouse=True)
def isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Isolates what module- and session-scoped fixtures start, before any test has an environment of its own."""
    with isolated_machine(tmp_path_factory.mktemp("session")):
        yield


@pytest.fixture(autouse=True)
def isolated_test(tmp_path: Path, isolated_session: None) -> Generator[None]:
    """Isolates one test, and fails it if a writer that it caused does not end by itself."""
    with isolated_machine(tmp_path):
        yield


@pytest.fixture
def require_program() -> Callable[[str], str]:
    """Returns the path of a system program; without it the test is skipped, or fails where CI=true.

    scripts/test installs these programs: add a new one to its list.
    """

    def require(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        reason = f"the program {name} is not installed"
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)

    return require


@contextmanager
def isolated_machine(directory: Path) -> Generator[None]:
    """Points disttrack at directories of its own and hides every launcher; ends with no writer left running."""
    # Short, and not below tmp_path: the path of a unix socket ends at 107 bytes.
    runtime_directory = Path(tempfile.mkdtemp(prefix="dt-", dir="/tmp"))
    home = directory / "home"
    home.mkdir()
    saved = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(FOREIGN_PREFIXES)]:
        del os.environ[name]
    os.environ["HOME"] = str(home)
    os.environ["DISTTRACK_DIR"] = str(directory)
    os.environ["DISTTRACK_RUNTIME_DIR"] = str(runtime_directory)
    os.environ["DISTTRACK_JOURNAL_DIR"] = str(directory / "journals")
    os.environ["DISTTRACK_QUIET"] = "1"  # what is printed nevertheless is worth a test's while
    os.environ["DISTTRACK_CACHE_DIR"] = str(directory / "cache")
    try:
        yield
    finally:
        # All of it, and not by monkeypatch: init() adds variables of its own for the children of a rank.
        os.environ.clear()
        os.environ.update(saved)
        left_behind = end_writers(runtime_directory)
        shutil.rmtree(runtime_directory, ignore_errors=True)
    if left_behind:
        pytest.fail(f"writers still ran {WRITER_END_S:g} s after the test: " + "; ".join(left_behind))


def end_writers(runtime_directory: Path) -> list[str]:
    """Waits for the writers of this runtime directory, kills those that stay, and returns a line for each of them."""
    deadline = time.monotonic() + WRITER_END_S
    left: list[psutil.Process] = []
    try:
        # Looked up again each time: a dying rank may start a writer after the first look.
        while (left := list(writers(runtime_directory))) and time.monotonic() < deadline:
            psutil.wait_procs(left, timeout=max(0.0, min(1.0, deadline - time.monotonic())))
    finally:  # also when the test's time limit ends the waiting
        lines = [f"pid {process.pid}" for process in left if process.is_running()]
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass  # ended between the look and the signal
        psutil.wait_procs(left, timeout=PATIENCE * 5)
    return lines


def writers(runtime_directory: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
            if "disttrack.writer" not in arguments or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get("DISTTRACK_RUNTIME_DIR") == str(runtime_directory):
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # ended meanwhile, or another user's
