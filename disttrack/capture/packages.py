"""Which packages are installed, in which versions."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import metadata

__all__ = ["packages"]

MAX_PACKAGES = 2000
_DIRECTORY = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-[^/]*)?\.(?:dist|egg)-info")


def packages(path: Sequence[str] | None = None) -> dict[str, object]:
    """Return the versions of all packages on a path (default sys.path), by their names as they would be installed.

    By the names of their directories: to read the metadata of 300 packages took 150 ms, this takes 2.
    """
    found: dict[str, object] = {}
    for place in sys.path if path is None else path:
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue
        for name in names:
            match = _DIRECTORY.fullmatch(name)
            if match and len(found) < MAX_PACKAGES:
                found.setdefault(re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"])
    if "disttrack" not in found:  # imported from its sources
        try:
            found["disttrack"] = metadata.version("disttrack")
        except metadata.PackageNotFoundError:
            pass
    return dict(sorted(found.items()))
