"""The API in the words of OpenAPI 3.1: made from the table of paths, and what docs/api.md says of each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from disttrack.server.about import version
from disttrack.server.answers import json_answer
from disttrack.server.frames import MEDIA_TYPE

__all__ = ["PATHS", "document", "openapi"]

_JSON = "application/json"
_STRING: Mapping[str, object] = {"type": "string"}
_INTEGER: Mapping[str, object] = {"type": "integer"}
_NUMBER: Mapping[str, object] = {"type": "number"}
_FLAG: Mapping[str, object] = {"type": "string", "enum": ["0", "1"]}
_SEVERAL: Mapping[str, object] = {"type": "array", "items": _STRING}
_SCHEMAS: Mapping[str, Mapping[str, object]] = {
    "after": _STRING,
    "archived": _FLAG,
    "at": _NUMBER,
    "baseline": _STRING,
    "before": _STRING,
    "by": _SEVERAL,
    "challenge": _STRING,
    "column": _SEVERAL,
    "filter": _STRING,
    "fold": _FLAG,
    "from": _NUMBER,
    "grep": _STRING,
    "height": _INTEGER,
    "limit": _INTEGER,
    "log": _FLAG,
    "mode": {"type": "string", "enum": ["lines", "mean", "band"]},
    "name": _STRING,
    "offset": _INTEGER,
    "path": _STRING,
    "project": _STRING,
    "quantity": _STRING,
    "ranks": _STRING,
    "smooth": _NUMBER,
    "sort": _STRING,
    "step": _INTEGER,
    "stream": {"type": "string", "enum": ["all", "stdout", "stderr"]},
    "superseded": _FLAG,
    "to": _NUMBER,
    "value": {"type": "string", "enum": ["mean", "max", "min", "last"]},
    "width": _INTEGER,
    "x": _STRING,
}


class _Path(NamedTuple):
    summary: str
    parameters: str  # names; those with ! must be given
    answer: str = _JSON
    body: tuple[str, ...] = ()  # fields of what is posted; () for GET


_EDITED = ("runs", "project", "filter", "archived_too")
PATHS: Mapping[str, _Path] = {
    "/api/hello": _Path("Prove that this is the server whose file was read; needs no token.", "challenge!"),
    "/api/about": _Path("What is served, and whether it can be changed.", ""),
    "/api/projects": _Path("The projects.", ""),
    "/api/runs": _Path("A page of the table of runs.", "project filter sort offset limit column archived"),
    "/api/keys": _Path("What columns and charts there can be.", "project"),
    "/api/groups": _Path("Runs in groups.", "by! project filter archived column limit"),
    "/api/best": _Path("The best run by a metric.", "project key"),
    "/api/run": _Path("One run.", "run!"),
    "/api/rank": _Path("One rank by itself.", "run! rank!"),
    "/api/ranks": _Path("The ranks of a run beside each other.", "run! key"),
    "/api/series": _Path(
        "A metric for a chart.", "run!* key! mode ranks x from to width smooth superseded log", MEDIA_TYPE
    ),
    "/api/heatmap": _Path(
        "A metric by rank and x.", "run! key ranks x from to width height value superseded", MEDIA_TYPE
    ),
    "/api/system": _Path("What the nodes of a run sampled.", "run!"),
    "/api/system/heatmap": _Path(
        "One quantity by node, device and time.", "run! quantity! from to width height value", MEDIA_TYPE
    ),
    "/api/compare": _Path("Runs beside each other.", "run!* baseline"),
    "/api/logs": _Path("What ranks printed.", "run! rank stream grep limit before after at fold"),
    "/api/media": _Path("Media by step.", "run! key* ranks from to limit offset"),
    "/api/table": _Path("A logged table.", "run! key! step! rank offset limit"),
    "/api/files": _Path("Files that were saved with a run.", "run!"),
    "/blob": _Path("Bytes of a run's media.", "run! name!", "application/octet-stream"),
    "/file": _Path("A file that was saved with a run.", "run! path!", "application/octet-stream"),
    "/api/events": _Path("What changes, as it does.", "project run* after", "text/event-stream"),
    "/api/edit": _Path(
        "Change names, notes, tags, archived.",
        "",
        body=(*_EDITED, "name", "notes", "add_tags", "remove_tags", "archived"),
    ),
    "/api/delete": _Path("Delete runs.", "", body=_EDITED),
    "/api/restore": _Path("Undo the deletion of runs.", "", body=("runs",)),
}
_FIELDS: Mapping[str, Mapping[str, object]] = {
    "runs": _SEVERAL,
    "add_tags": _SEVERAL,
    "remove_tags": _SEVERAL,
    "archived": {"type": "boolean"},
    "archived_too": {"type": "boolean"},
}


def openapi(_request: Request) -> Response:
    """GET /openapi.json."""
    return json_answer(document())


def document() -> dict[str, object]:
    """Return the API as an OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "disttrack ui", "version": version() or "0", "description": "docs/api.md tells the shapes."},
        "security": [{"token": []}],
        "paths": {path: {"post" if one.body else "get": _operation(one)} for path, one in PATHS.items()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _error()},
        },
    }


def _operation(path: _Path) -> dict[str, object]:
    error = {"description": "why not", "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    operation: dict[str, object] = {
        "summary": path.summary,
        "parameters": [_parameter(name) for name in path.parameters.split()],
        "responses": {"200": {"description": path.summary, "content": {path.answer: {}}}, "default": error},
    }
    if path.body:
        fields = {name: _FIELDS.get(name, _STRING) for name in path.body}
        schema = {"type": "object", "properties": fields, "additionalProperties": False}
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    return operation


def _parameter(written: str) -> dict[str, object]:
    name = written.rstrip("!*")
    schema = (
        _SEVERAL if "*" in written else _SCHEMAS.get(name, _INTEGER if name == "rank" and "!" in written else _STRING)
    )
    return {"name": name, "in": "query", "required": "!" in written, "schema": schema}


def _error() -> dict[str, object]:
    fields = {"kind": _STRING, "message": _STRING, "at": {"type": ["integer", "null"]}}
    error = {"type": "object", "properties": fields, "required": list(fields)}
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}
