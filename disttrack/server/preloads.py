"""Which modules a view of the page needs: told in the document, so that a browser asks for all of them at once.

Modules import each other, so a browser would find them level by level, a round trip each. Views are modules that
`page/app.js` and `page/views/run.js` import when they are shown; which one a URL names: page/url.js.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

__all__ = ["TABS", "modules_of", "views_of"]

TABS = ("charts", "ranks", "system", "logs", "media", "config", "files")
_IMPORTED = re.compile(r"""(?:^|[;}\n])\s*(?:import|export)\b(?:[\w\s{},*$]*\bfrom)?\s*"(\.{1,2}/[^"]+)\"""")


def views_of(path: str) -> tuple[str, ...]:
    """Return the modules, relative to the page's directory, that a URL's path shows: app.js first."""
    match path.strip("/").split("/"):
        case ["p", _, "compare", *_]:
            return "app.js", "views/compare.js"
        case ["r", _, _, *rest]:
            tab = rest[0] if rest and rest[0] in TABS else TABS[0]
            return "app.js", "views/run.js", f"views/{tab}.js"
        case _:
            return "app.js", "views/project.js"


def modules_of(page: Path, views: Iterable[str]) -> list[str]:
    """Return these modules of the page's directory and all that they import, each after who imports it first."""
    found = list(views)
    for name in found:  # it grows on the way
        try:
            text = (page / name).read_text()
        except OSError:
            continue  # not laid yet (server.modules): the page is not shown either
        for imported in _IMPORTED.findall(text):
            path = _joined(PurePosixPath(name).parent, imported)
            if path not in found:
                found.append(path)
    return found


def _joined(directory: PurePosixPath, relative: str) -> str:
    parts = list(directory.parts)
    for part in relative.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
