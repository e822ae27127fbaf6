"""What a person changes from the page: names, notes, tags, archived, deleted. Each is an edit in the run's own log."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from disttrack.errors import DisttrackError
from disttrack.query.edits import delete_run, edit_run, new_edit, restore_run
from disttrack.query.finding import find_runs
from disttrack.records.types import Edit
from disttrack.server.answers import Refused, json_answer
from disttrack.server.served import Served, served
from disttrack.server.tables import row_shape

__all__ = ["delete", "edit", "restore"]

MAX_BODY_BYTES = 1 << 20
MAX_RUNS = 10_000
MAX_NAME, MAX_NOTES, MAX_TAGS = 1_000, 100_000, 100  # characters, characters, tags of at most MAX_NAME


class _Failed(NamedTuple):
    run: str
    error: str


async def edit(request: Request) -> Response:
    """POST /api/edit."""
    asked = await _asked(request)
    change = new_edit(
        name=_text(asked, "name", MAX_NAME),
        notes=_text(asked, "notes", MAX_NOTES),
        add_tags=_tags(asked, "add_tags"),
        remove_tags=_tags(asked, "remove_tags"),
        archived=_flag(asked, "archived"),
    )
    return await run_in_threadpool(_edited, served(request), asked, change)


def _edited(here: Served, asked: dict[str, object], change: Edit) -> Response:
    _check_editable(here)
    done, failed = _each(_runs(here, asked), lambda run: edit_run(here.root, run, change))
    rows = [row_shape(here.subject(run)) for run in done]
    return json_answer({"rows": rows, "failed": [failure._asdict() for failure in failed]})


async def delete(request: Request) -> Response:
    """POST /api/delete."""
    asked = await _asked(request)
    return await run_in_threadpool(_deleted, served(request), asked)


def _deleted(here: Served, asked: dict[str, object]) -> Response:
    _check_editable(here)
    return _done(_each(_runs(here, asked), lambda run: delete_run(here.root, run, do=True)))


async def restore(request: Request) -> Response:
    """POST /api/restore."""
    asked = await _asked(request)
    return await run_in_threadpool(_restored, served(request), asked)


def _restored(here: Served, asked: dict[str, object]) -> Response:
    _check_editable(here)
    return _done(_each(_named(asked), lambda run: restore_run(here.root, run)))


def _done(found: tuple[list[str], list[_Failed]]) -> Response:
    done, failed = found
    return json_answer({"done": done, "failed": [failure._asdict() for failure in failed]})


def _each(runs: Sequence[str], do: Callable[[str], object]) -> tuple[list[str], list[_Failed]]:
    """Do something to each run; what cannot be done to one is no reason to leave out the others."""
    done: list[str] = []
    failed: list[_Failed] = []
    for run in runs:
        try:
            do(run)
        except (DisttrackError, OSError) as error:
            failed.append(_Failed(run, str(error)))
        else:
            done.append(run)
    return done, failed


def _check_editable(here: Served) -> None:
    why = here.why_not_editable()
    if why is not None:
        raise Refused(403, f"Nothing was changed: {why}.", "ReadOnly")


# What is asked


async def _asked(request: Request) -> dict[str, object]:
    """Return the body of a request: one JSON object, sent as such. A form of another site is not."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "Send JSON, as application/json.", "UnsupportedMediaType")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"Send at most {MAX_BODY_BYTES:,} bytes.", "TooLong")
    try:
        asked: Any = json.loads(body)
        json.dumps(asked, ensure_ascii=False).encode()  # half a character: JSON has it, what is stored does not
    except (ValueError, RecursionError):
        raise Refused(400, "The body is no JSON of whole characters.", "UsageError") from None
    if not isinstance(asked, dict):
        raise Refused(400, "The body is no JSON object.", "UsageError")
    return cast("dict[str, object]", asked)


def _runs(here: Served, asked: dict[str, object]) -> list[str]:
    """Return the runs that are named, or that pass a filter."""
    if "filter" not in asked:
        return _named(asked)
    project, archived = _text(asked, "project", MAX_NAME), asked.get("archived_too") is True
    found = find_runs(here.reader, project, _text(asked, "filter", MAX_NOTES) or "", None, archived=archived)
    if len(found) > MAX_RUNS:
        raise Refused(400, f"{len(found):,} runs match; at most {MAX_RUNS:,} are changed at once.", "UsageError")
    return [f"{run.record.project}/{run.record.run_id}" for run in found]


def _named(asked: dict[str, object]) -> list[str]:
    named = asked.get("runs")
    runs = cast("list[object]", named) if isinstance(named, list) else []
    if not runs or len(runs) > MAX_RUNS or not all(isinstance(run, str) for run in runs):
        raise Refused(400, f"Name the runs: 1 to {MAX_RUNS:,}, as project/id.", "UsageError")
    return [str(run) for run in dict.fromkeys(runs)]


def _text(asked: dict[str, object], name: str, most: int) -> str | None:
    value = asked.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > most):
        raise Refused(400, f"{name} is text of at most {most:,} characters.", "UsageError")
    return value


def _flag(asked: dict[str, object], name: str) -> bool | None:
    value = asked.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused(400, f"{name} is true or false.", "UsageError")
    return value


def _tags(asked: dict[str, object], name: str) -> tuple[str, ...]:
    value = asked.get(name, [])
    tags = cast("list[object]", value) if isinstance(value, list) else [None]
    if len(tags) > MAX_TAGS or not all(isinstance(tag, str) and len(tag) <= MAX_NAME for tag in tags):
        raise Refused(400, f"{name} is a list of at most {MAX_TAGS} texts.", "UsageError")
    return tuple(str(tag) for tag in tags)
