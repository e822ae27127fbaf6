"""What a person changes from the page: names, notes, tags, archived, deleted. Each is an edit in the run's own log."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from disttrack.errors import DisttrackError, RunNotFound, UnsupportedFormat
from disttrack.query.edits import delete_found, edit_found, new_edit, undelete
from disttrack.query.finding import find_named, find_runs
from disttrack.query.subjects import Subject
from disttrack.records.types import Edit
from disttrack.server.answers import Refused, json_answer
from disttrack.server.served import Served, served
from disttrack.server.tables import row_shape

__all__ = ["delete", "edit", "restore"]

MAX_BODY_BYTES = 8 << 20  # 10,000 names of runs in a project with a long name
MAX_RUNS = 10_000
MAX_ROWS = 100  # that are answered with
THREADS = 8  # an edit is on the disk when it is answered, and a disk syncs several at once about as fast as one
MAX_NAME, MAX_NOTES, MAX_TAGS = 1_000, 100_000, 100  # characters, characters, tags of at most MAX_NAME


class _Asked(NamedTuple):
    """The runs of a request; failed: those that were named and are not there."""

    runs: list[Subject]
    failed: list[_Failed]


class _Failed(NamedTuple):
    run: str
    error: str


class _Done(NamedTuple):
    """What came of a request, by the runs' names."""

    done: list[str]
    failed: list[_Failed]

    def shape(self) -> dict[str, object]:
        return {"done": self.done, "failed": [failure._asdict() for failure in self.failed]}


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
    found = _runs(here, asked)
    changing = {run.record.path: run for run in found.runs if not _is_so(run, change)}
    done = _each(list(changing), lambda name: edit_found(here.root, changing[name].record, change))
    rows = [row_shape(here.subject(run.record.path)) for run in found.runs] if len(found.runs) <= MAX_ROWS else []
    answer = {**_Done(done.done, found.failed + done.failed).shape(), "rows": rows}
    return json_answer({**answer, "unchanged": len(found.runs) - len(changing)})


def _is_so(run: Subject, change: Edit) -> bool:
    """Say whether a change of a run would change nothing: it is not stored, and to undo it is to do nothing."""
    row = run.row
    return (
        change.name in (None, row.name)
        and change.notes in (None, row.notes or "")
        and change.archived in (None, row.archived)
        and row.tags == [*[tag for tag in row.tags if tag not in change.remove_tags], *_missing(row.tags, change)]
    )


def _missing(tags: Sequence[str], change: Edit) -> list[str]:
    return [tag for tag in change.add_tags if tag not in tags]


async def delete(request: Request) -> Response:
    """POST /api/delete."""
    asked = await _asked(request)
    return await run_in_threadpool(_deleted, served(request), asked)


def _deleted(here: Served, asked: dict[str, object]) -> Response:
    _check_editable(here)
    found = _runs(here, asked)
    runs = {run.record.path: run for run in found.runs}
    done = _each(list(runs), lambda name: delete_found(here.root, runs[name].record, do=True))
    return json_answer(_Done(done.done, found.failed + done.failed).shape())


async def restore(request: Request) -> Response:
    """POST /api/restore."""
    asked = await _asked(request)
    return await run_in_threadpool(_restored, served(request), asked)


def _restored(here: Served, asked: dict[str, object]) -> Response:
    _check_editable(here)
    return json_answer(_each(_named(asked), lambda run: undelete(here.root, run)).shape())


def _each(runs: Sequence[str], do: Callable[[str], object]) -> _Done:
    """Do something to each run; what cannot be done to one is no reason to leave out the others."""

    def tried(run: str) -> _Failed | None:
        try:
            do(run)
        except (DisttrackError, OSError) as error:
            return _Failed(run, str(error))
        return None

    with ThreadPoolExecutor(THREADS) as threads:
        failed = [failure for failure in threads.map(tried, runs) if failure is not None]
    wrong = {failure.run for failure in failed}
    return _Done([run for run in runs if run not in wrong], failed)


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
    body = bytearray()
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


def _runs(here: Served, asked: dict[str, object]) -> _Asked:
    """Return the runs that are named, or that pass a filter."""
    if "filter" not in asked:
        return _by_name(here, _named(asked))
    project, archived = _text(asked, "project", MAX_NAME), asked.get("archived_too") is True
    found = find_runs(here.reader, project, _text(asked, "filter", MAX_NOTES) or "", None, archived=archived)
    if len(found) > MAX_RUNS:
        raise Refused(400, f"{len(found):,} runs match; at most {MAX_RUNS:,} are changed at once.", "UsageError")
    return _Asked(list(found), [])


def _by_name(here: Served, names: Sequence[str]) -> _Asked:
    runs = find_named(here.reader, names)
    failed: list[_Failed] = []
    for name in names:
        if name not in runs:  # by a bare id, or that of a run that it became part of
            try:
                runs[name] = here.subject(name)
            except (RunNotFound, UnsupportedFormat) as error:
                failed.append(_Failed(name, str(error)))
    return _Asked(list({run.record.number: run for run in runs.values()}.values()), failed)


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
