"""The page's own files: its sources, and the third-party modules that the build lays beside them.

They are kept in memory, and asked for dozens at a time: answers come from the event loop, without a thread each.
"""

from __future__ import annotations

import gzip
import html
import threading
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from disttrack.server.answers import Refused
from disttrack.server.preloads import modules_of, views_of

__all__ = ["PRELOADED", "is_complete", "page", "static"]

PAGE = Path(__file__).parent / "page"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_INCOMPLETE = "The page's third-party modules are missing: this disttrack was built where npm could not be reached."


PRELOADED = "<!-- the modules of this view -->"  # in index.html, where they are named


class _Kept(NamedTuple):
    tag: str
    plain: bytes
    zipped: bytes


_kept: dict[tuple[Path, tuple[str, ...]], _Kept] = {}
_lock = threading.Lock()


def is_complete() -> bool:
    """Say whether all of the page is there: its sources, and third-party modules."""
    vendor = PAGE / "vendor"
    return (PAGE / "index.html").is_file() and vendor.is_dir() and any(vendor.iterdir())


async def page(request: Request) -> Response:
    """GET of any path that is nothing else: the page, which reads its view from the URL."""
    if not is_complete():
        text = f"{_INCOMPLETE} All but the page works: disttrack ls, show, ranks and the API."
        return HTMLResponse(f"<!doctype html><title>disttrack</title><p>{html.escape(text)}</p>", 503)
    return _answer(request, PAGE / "index.html", views_of(request.url.path))


async def static(request: Request) -> Response:
    """GET /static/PATH: a file below the page's directory."""
    path = PurePosixPath(request.path_params["path"])
    if path.is_absolute() or ".." in path.parts or "\0" in str(path) or path.suffix not in _TYPES:
        raise Refused(404, f"There is nothing at {request.url.path}.", "NotFound")
    return _answer(request, PAGE / path)


def _answer(request: Request, path: Path, views: tuple[str, ...] = ()) -> Response:
    """Answer with a file, compressed once, or that what the browser has is still the same.

    views: modules that the document shall name, with what they import.
    """
    try:
        found = path.stat()
        tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}{"".join(f"-{view}" for view in views)}"'
        with _lock:
            kept = _kept.get((path, views))
        if kept is None or kept.tag != tag:
            plain = _naming(path.read_bytes(), views) if views else path.read_bytes()
            kept = _Kept(tag, plain, gzip.compress(plain, 9, mtime=0))
            with _lock:
                _kept[path, views] = kept
    except (OSError, ValueError):
        raise Refused(404, f"There is nothing at {request.url.path}.", "NotFound") from None
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    zipped = "gzip" in request.headers.get("accept-encoding", "") and path.suffix not in (".png", ".ico")
    headers["Content-Encoding"] = "gzip" if zipped else "identity"
    return Response(kept.zipped if zipped else kept.plain, media_type=_TYPES[path.suffix], headers=headers)


def _naming(document: bytes, views: tuple[str, ...]) -> bytes:
    """Return the document with what tells a browser to fetch the modules of views."""
    links = [f'<link rel="modulepreload" href="/static/{name}" />' for name in modules_of(PAGE, views)]
    return document.replace(PRELOADED.encode(), "\n    ".join(links).encode())
