"""The page as a user has it: disttrack installed from its wheel where there is no Node, a server, a real browser."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from disttrack.server.modules import PAGE, lay, npm
from tests.conftest import PATIENCE

REPOSITORY = Path(__file__).parents[2]

#: Chromium asks its maker's servers for updates and lists otherwise; no test may leave this machine.
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # A list behind this one replaces it, so what Playwright leaves out of a browser is named again. The first two are
    # pages of Chromium's own, of 400 modules: each new window loads them beside what is tested.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,AimEnabled,LensOverlay,MediaRouter,OptimizationHints,"
    "NetworkTimeServiceQuerying,PreconnectToSearch,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,PaintHolding,"
    "DestroyProfileOnBrowserClose,AvoidUnnecessaryBeforeUnloadCheckSync,ThirdPartyStoragePartitioning",
)
WAIT_MS = 60_000 * PATIENCE  # for what a browser shows, on a machine that does other things too
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout, built once for all workers of the session."""
    return built(shared_directory(tmp_path_factory) / "wheel")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Return the program `disttrack` of an environment that holds the wheel and what it needs, and nothing else."""
    directory = shared_directory(tmp_path_factory) / "clean"
    with alone(directory.with_suffix(".lock")):
        program = directory / "bin" / "disttrack"
        if not program.exists():
            venv.create(directory, with_pip=False)
            python = str(directory / "bin" / "python")
            run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", str(wheel))
    return program


class Server:
    """A `disttrack ui` that serves a directory."""

    def __init__(self, process: subprocess.Popen[str], link: str) -> None:
        self.process = process
        self.link = link  # with the token, as it is printed
        self.origin = "http://" + urlsplit(link).netloc
        self.token = link.partition("token=")[2]


@pytest.fixture
def serve(installed: Path) -> Generator[Callable[..., Server]]:
    """Start `disttrack ui` of the installed wheel on a directory, as often as a test asks; ends them all."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, port: int = 0) -> Server:
        server = serving(installed, directory, port)
        started.append(server.process)
        return server

    yield start
    for process in started:
        stop(process)


def serving(program: Path, directory: Path, port: int = 0) -> Server:
    environment = {**os.environ, "PATH": str(program.parent)}
    environment.pop("PYTHONPATH", None)
    process = subprocess.Popen(
        [program, "ui", "--no-open", "--port", str(port), "--dir", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith("http"):
            return Server(process, line.strip())
    raise AssertionError(f"disttrack ui ended:\n{printed}")


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(300)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Generator[Browser]:
    """A headless Chromium, from the system."""
    path = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
    if path is None:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("the program chromium is not installed")
        pytest.skip("the program chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


class Visit:
    """A fresh browser profile on a server; `wrong` holds what a page must never do."""

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.context, self.server = context, server
        self.wrong: list[str] = []
        self.expected = ""  # of what the browser notes: an answer that the test is about
        self.asked: list[str] = []  # every URL that was requested
        context.set_default_timeout(WAIT_MS)
        context.on("request", lambda request: self._asked(request.url))
        context.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}"))
        context.on("weberror", lambda error: self.wrong.append(f"error {error.error}"))
        context.on("console", lambda message: self._said(message.type, message.text))

    def _asked(self, url: str) -> None:
        self.asked.append(url)
        if not url.startswith((self.server.origin, "data:", "blob:")):
            self.wrong.append(f"request to {url}")

    def _said(self, kind: str, text: str) -> None:
        if self.expected and self.expected in text:
            return
        if kind == "error" or "Content Security Policy" in text or "Content-Security-Policy" in text:
            self.wrong.append(f"console {text}")

    def open(self, path: str = "/") -> Page:
        """Open a path of the page as the printed line does: with the token."""
        page = self.context.new_page()
        page.goto(f"{self.server.origin}{path}{'&' if '?' in path else '?'}token={self.server.token}")
        page.wait_for_url(lambda url: "token=" not in url)  # exchanged for the cookie
        return page


@pytest.fixture
def visit(chromium: Browser) -> Generator[Callable[..., Visit]]:
    """Make browser profiles; fails the test where one of them saw an error, a dialog or a request to elsewhere."""
    made: list[Visit] = []

    def profile(server: Server, width: int = 1440, height: int = 900, dark: bool = False) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale="en-GB"
        )
        made.append(Visit(context, server))
        return made[-1]

    yield profile
    wrong = [each for one in made for each in one.wrong]
    for one in made:
        one.context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the page's sources with the modules they import and the tools that check them, as pinned."""
    directory = shared_directory(tmp_path_factory) / "page"
    with alone(directory.with_suffix(".lock")):
        if not directory.exists():
            part = directory.with_suffix(".part")  # what failed half way is no copy for others
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(PAGE, part, ignore=shutil.ignore_patterns("node_modules", "vendor"))
            run(*npm(), "--prefix", str(part), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
            lay(part)
            part.rename(directory)
    return directory


def built(directory: Path, environment: dict[str, str] | None = None, checkout: Path = REPOSITORY) -> Path:
    """Build the wheel of a checkout into a directory, unless it lies there, and return it."""
    with alone(directory.with_suffix(".lock")):
        if not list(directory.glob("*.whl")):
            run(
                sys.executable,
                *("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(checkout)),
                env={**os.environ, **(environment or {})},
            )
    return next(directory.glob("*.whl"))


def run(*command: str, env: dict[str, str] | None = None, directory: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=directory, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def alone(lock: Path) -> Generator[None]:
    """Hold a lock between processes: what one worker makes, the others find."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
