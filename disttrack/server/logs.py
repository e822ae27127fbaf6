"""What ranks printed, as pages of lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from disttrack.index.snapshots import Snapshot
from disttrack.query.logbook import LogRequest, log_page
from disttrack.query.members import members, newest_team
from disttrack.query.selection import RankChoice
from disttrack.server.answers import json_answer
from disttrack.server.parameters import choice, flag, integer, number, ranks_of, required, text
from disttrack.server.served import served

__all__ = ["logs"]

_STREAMS: tuple[Literal["all", "stdout", "stderr"], ...] = ("all", "stdout", "stderr")
MAX_LINES = 5_000
MAX_CHARACTERS = 10_000  # of one line: a browser lays out a megabyte in half a second


def logs(request: Request) -> Response:
    """GET /api/logs."""
    here, ranks = served(request), ranks_of(request, "rank")
    stream = choice(request, "stream", _STREAMS)

    def ask(snapshot: Snapshot) -> Mapping[str, object]:
        asked = LogRequest(
            ranks=_ranks(snapshot, ranks),
            stream=None if stream == "all" else stream,
            pattern=text(request, "grep"),
            limit=integer(request, "limit", 500, 1, MAX_LINES),
            before=text(request, "before"),
            after=text(request, "after"),
            at=number(request, "at"),
            fold=flag(request, "fold"),
        )
        page = asdict(log_page(snapshot, asked))
        for line in page["lines"]:
            line["length"] = len(line["text"])
            line["text"] = line["text"][:MAX_CHARACTERS]
        return page | {"now": here.now_s()}

    return json_answer(here.reader.asked(required(request, "run"), ask))


def _ranks(snapshot: Snapshot, ranks: RankChoice) -> set[int] | None:
    if ranks is None or ranks == "all":
        return None
    if isinstance(ranks, str):
        joined = newest_team(members(snapshot.record)).joined
        return {min(joined)} if joined else set()
    return set(ranks)
