"""The page's own files: its sources, and the third-party modules that the build lays beside them."""

from __future__ import annotations

import gzip
import html
import threading
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from disttrack.server.answers import Refused

__all__ = ["is_complete", "page", "static"]

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


class _Kept(NamedTuple):
    tag: str
    plain: bytes
    zipped: bytes


_kept: dict[Path, _Kept] = {}
_lock = threading.Lock()


def is_complete() -> bool:
    """Say whether all of the page is there: its sources, and third-party modules."""
    vendor = PAGE / "vendor"
    return (PAGE / "index.html").is_file() and vendor.is_dir() and any(vendor.iterdir())


def page(request: Request) -> Response:
    """GET of any path that is nothing else: the page, which reads its view from the URL."""
    if not is_complete():
        text = f"{_INCOMPLETE} All but the page works: disttrack ls, show, ranks and the API."
        return HTMLResponse(f"<!doctype html><title>disttrack</title><p>{html.escape(text)}</p>", 503)
    return _answer(request, PAGE / "index.html")


def static(request: Request) -> Response:
    """GET /static/PATH: a file below the page's directory."""
    path = PurePosixPath(request.path_params["path"])
    if path.is_absolute() or ".." in path.parts or "\0" in str(path) or path.suffix not in _TYPES:
        raise Refused(404, f"There is nothing at {request.url.path}.", "NotFound")
    return _answer(request, PAGE / path)


def _answer(request: Request, path: Path) -> Response:
    """Answer with a file, compressed once, or that what the browser has is still the same."""
    try:
        found = path.stat()
        tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        with _lock:
            kept = _kept.get(path)
        if kept is None or kept.tag != tag:
            plain = path.read_bytes()
            kept = _Kept(tag, plain, gzip.compress(plain, 9, mtime=0))
            with _lock:
                _kept[path] = kept
    except (OSError, ValueError):
        raise Refused(404, f"There is nothing at {request.url.path}.", "NotFound") from None
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    zipped = "gzip" in request.headers.get("accept-encoding", "") and path.suffix not in (".png", ".ico")
    headers["Content-Encoding"] = "gzip" if zipped else "identity"
    return Response(kept.zipped if zipped else kept.plain, media_type=_TYPES[path.suffix], headers=headers)
