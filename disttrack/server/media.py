"""Media and files: what there is, and its bytes, which a browser may show as a picture or save, but never run."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from disttrack.environments.files import open_plain
from disttrack.errors import UsageError
from disttrack.index.snapshots import Snapshot
from disttrack.query.media import MediaRow, files_of, media_of, run_directory
from disttrack.server.answers import Refused, json_answer, unix
from disttrack.server.parameters import integer, number, ranks_of, required, several
from disttrack.server.served import Served, served

__all__ = ["blob", "file", "files", "media", "table"]

MAX_KEYS = 64
MAX_MEDIA = 1_000
MAX_TABLE_BYTES = 64 << 20
_NAME = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9]{1,8})?")
_SHOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
}
"""What a browser shows without running anything in it. SVG and HTML are programs, and only ever saved."""
_POLICY = "sandbox; default-src 'none'"


def media(request: Request) -> Response:
    """GET /api/media."""
    here, ranks = served(request), ranks_of(request)
    keys = several(request, "key", MAX_KEYS) or None
    start, end = number(request, "from"), number(request, "to")
    offset, limit = integer(request, "offset", 0, 0, 1 << 30), integer(request, "limit", 200, 1, MAX_MEDIA)

    def ask(snapshot: Snapshot) -> dict[str, object]:
        rows = media_of(here.root, snapshot, None, ranks, without_bytes=True)
        counts = Counter((row.key, row.kind) for row in rows)
        wanted = [row for row in rows if keys is None or row.key in keys]
        steps = sorted({row.step for row in wanted})
        low, high = -math.inf if start is None else start, math.inf if end is None else end
        wanted = [row for row in wanted if low <= row.step <= high]
        wanted.sort(key=lambda row: (row.step, row.key, row.rank, row.attempt))
        name = snapshot.record.path
        return {
            "total": len(wanted),
            "keys": [{"key": key, "kind": kind, "count": count} for (key, kind), count in counts.items()],
            "steps": steps,
            "media": [_shape(name, row) for row in wanted[offset : offset + limit]],
        }

    return json_answer(here.reader.asked(required(request, "run"), ask))


def _shape(run: str, row: MediaRow) -> dict[str, object]:
    name = row.path.removeprefix("media/") if row.path is not None else None
    return {
        "key": row.key,
        "rank": row.rank,
        "attempt": row.attempt,
        "step": row.step,
        "kind": row.kind,
        "state": row.state,
        "size": row.size,
        "why": row.why,
        "caption": row.value.get("caption"),
        "width": row.value.get("width"),
        "height": row.value.get("height"),
        "type": None if name is None else _SHOWN.get(Path(name).suffix.lower(), "application/octet-stream"),
        "url": None if name is None else f"/blob?run={quote(run, safe='')}&name={quote(name, safe='')}",
        "value": row.value,
    }


def table(request: Request) -> Response:
    """GET /api/table."""
    here, key = served(request), required(request, "key")
    step, rank = integer(request, "step", -1, -(1 << 62), 1 << 62), integer(request, "rank", 0, 0, 1 << 20)
    offset, limit = integer(request, "offset", 0, 0, 1 << 30), integer(request, "limit", 100, 1, 10_000)
    found = here.reader.asked(required(request, "run"), lambda snapshot: media_of(here.root, snapshot, [key], [rank]))
    row = next((row for row in found if row.step == step and row.kind == "table"), None)
    if row is None or row.file is None:
        why = "There is no such table." if row is None else f"Its bytes are {row.state}."
        raise Refused(404, f"{key} of rank {rank} at step {step} cannot be shown: {why}", "NotFound")
    stored = json.loads(_bytes(row.file, MAX_TABLE_BYTES))
    rows: list[object] = stored["data"]
    return json_answer({"columns": stored["columns"], "rows": rows[offset : offset + limit], "total": len(rows)})


def _bytes(path: Path, limit: int) -> bytes:
    with os.fdopen(open_plain(path), "rb") as opened:
        data = opened.read(limit + 1)
    if len(data) > limit:
        raise UsageError(f"{path.name} cannot be shown", f"it has more than {limit:,} bytes", "Download it instead.")
    return data


def files(request: Request) -> Response:
    """GET /api/files."""
    here = served(request)
    run = here.subject(required(request, "run"))
    name = run.record.path
    return json_answer(
        {
            "files": [
                {
                    "path": row.path,
                    "rank": row.rank,
                    "attempt": row.attempt,
                    "size": row.size,
                    "at": unix(row.time),
                    "state": row.state,
                    "why": row.why,
                    "url": f"/file?run={quote(name, safe='')}&path={quote(row.path, safe='')}"
                    if row.state == "stored"
                    else None,
                }
                for row in files_of(here.root, run.record)
            ]
        }
    )


def blob(request: Request) -> Response:
    """GET /blob: bytes of a run's media by the hash that is their name."""
    name = required(request, "name")
    if not _NAME.fullmatch(name):
        raise Refused(404, "There is no such blob.", "NotFound")
    directory = _directory(served(request), required(request, "run"))
    return _answer(directory / "media" / name, name, "private, max-age=31536000, immutable")


def file(request: Request) -> Response:
    """GET /file: a file that was saved with a run, by a path that the run's log names."""
    here, path = served(request), required(request, "path")
    run = here.subject(required(request, "run"))
    row = next((row for row in files_of(here.root, run.record) if row.path == path), None)
    if row is None or row.file is None:
        raise Refused(404, "There is no such file.", "NotFound")
    inside = run_directory(here.root, run.record) / "files"
    if not Path(os.path.realpath(row.file)).is_relative_to(os.path.realpath(inside)):
        raise Refused(404, "There is no such file.", "NotFound")
    return _answer(row.file, Path(path).name, "no-store", shown=False)


def _directory(here: Served, wanted: str) -> Path:
    return run_directory(here.root, here.subject(wanted).record)


def _answer(path: Path, name: str, cache: str, *, shown: bool = True) -> Response:
    """Answer with a plain file's bytes, never through a link: to be shown where that runs nothing, else to be saved."""
    try:
        os.close(open_plain(path))
    except OSError:
        raise Refused(404, f"The bytes of {name[:80]} are not here.", "NotFound") from None
    kind = _SHOWN.get(path.suffix.lower()) if shown else None
    headers = {"Cache-Control": cache, "Content-Security-Policy": _POLICY, "Content-Encoding": "identity"}
    disposition = "inline" if kind is not None else "attachment"
    return FileResponse(
        path,
        media_type=kind or "application/octet-stream",
        headers=headers,
        filename=name,
        content_disposition_type=disposition,
    )
