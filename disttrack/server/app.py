"""The application: which path is answered by what, and what becomes of an error."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from disttrack.errors import DisttrackError
from disttrack.server import about, changes, charts, details, live, logs, media, openapi, pictures, tables
from disttrack.server.access import Access, AccessControl
from disttrack.server.answers import Refused, error_answer, json_answer
from disttrack.server.page_files import page, static
from disttrack.server.served import Served

__all__ = ["application"]

API = [
    Route("/hello", about.hello),
    Route("/about", about.about),
    Route("/csp-report", about.policy_report, methods=["POST"]),
    Route("/projects", tables.projects),
    Route("/runs", tables.runs),
    Route("/keys", tables.keys),
    Route("/groups", tables.groups),
    Route("/best", tables.best),
    Route("/series", charts.series),
    Route("/run", details.run),
    Route("/rank", details.rank),
    Route("/ranks", details.ranks),
    Route("/compare", details.compare),
    Route("/heatmap", pictures.heatmap),
    Route("/system", pictures.system),
    Route("/system/heatmap", pictures.system_heatmap),
    Route("/logs", logs.logs),
    Route("/events", live.events),
    Route("/media", media.media),
    Route("/table", media.table),
    Route("/files", media.files),
    Route("/edit", changes.edit, methods=["POST"]),
    Route("/delete", changes.delete, methods=["POST"]),
    Route("/restore", changes.restore, methods=["POST"]),
]
ROUTES = [
    Mount("/api", routes=API),
    Route("/openapi.json", openapi.openapi),
    Route("/blob", media.blob),
    Route("/file", media.file),
    Route("/static/{path:path}", static),
    Route("/{path:path}", page),
]


def application(served: Served, access: Access, challenge_key: bytes) -> ASGIApp:
    """Return the application that serves a root to who has access.

    challenge_key: what this server proves itself by (about.hello).
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        app.state.live = live.Live(served)
        yield
        served.reader.close()

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=[Middleware(GZipMiddleware, minimum_size=1_500, compresslevel=4)],
        exception_handlers={
            HTTPException: _http_error,
            Refused: _error,
            DisttrackError: _error,
            OSError: _error,
            Exception: _own_error,
        },
    )
    app.state.served = served
    app.state.challenge_key = challenge_key
    app.state.policy_reports = 0
    return AccessControl(app, access)


async def _error(_request: Request, error: Exception) -> Response:
    return error_answer(error) or await _own_error(_request, error)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "MethodNotAllowed" if error.status_code == 405 else "HTTPError"
    answer = json_answer({"error": {"kind": kind, "message": error.detail, "at": None}}, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _own_error(_request: Request, error: Exception) -> Response:
    """Answer where the fault is ours; the server's log has the rest."""
    message = f"disttrack failed to answer this ({type(error).__name__}); the server's log says where."
    return json_answer({"error": {"kind": "InternalError", "message": message, "at": None}}, 500)
