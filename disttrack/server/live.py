"""The stream of events: what changed in the runs a page shows, for all pages out of one look at the root."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from disttrack.errors import RootGone, RunNotFound
from disttrack.query.pulse import Beat, Change, Pulse
from disttrack.server.answers import Refused, as_json
from disttrack.server.parameters import several, text
from disttrack.server.served import Served, served

__all__ = ["Live", "events"]

_log = logging.getLogger(__name__)

INTERVAL_S = 0.25  # between looks while a run may grow, and between messages: at most 4 a second
IDLE_S = 1.0  # between looks while none may
REST = 10.0  # times as long as a look computed is waited at least: a look at 10,000 runs takes 12 to 65 ms
MAX_REST_S = 2.0  # ... but not longer than this
SILENCE_S = 15.0  # after which a comment keeps the connection from being taken for dead
MAX_STREAMS = 64
MAX_RUNS = 64
KEPT_GONE = 1_000


@dataclass(frozen=True)
class _Told:
    number: int  # of the look that found it
    change: Change


class Live:
    """Looks at the root as long as a page listens, and keeps what it found for pages that come back."""

    def __init__(self, here: Served) -> None:
        self._here = here
        self._pulse = Pulse(here.reader)
        self._number = 0
        self._told: dict[str, _Told] = {}
        self._gone: dict[str, tuple[int, str]] = {}  # number, project
        self._why_stale: str | None = None
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self._new = asyncio.Condition()
        self._begun = asyncio.Event()  # from the first look on, nothing that changes is missed

    def cursor(self) -> str:
        """Return where a stream that begins now stands."""
        return f"{self._here.instance}-{self._number}"

    def number_of(self, cursor: str | None) -> int | None:
        """Return the number in a cursor; None where it is another server's."""
        instance, _, number = (cursor or "").rpartition("-")
        return int(number) if instance == self._here.instance and number.isdecimal() else None

    async def listen(self, project: str | None, runs: frozenset[str], last: str | None) -> AsyncIterator[str]:
        """Yield events as they are sent."""
        self._listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            await self._begun.wait()
            hello = {"cursor": self.cursor(), "instance": self._here.instance, "now": self._here.now_s()}
            seen = self._number
            if last is not None:
                known = self.number_of(last)
                if known is None:
                    yield _event("reset", {}, self.cursor())
                else:
                    seen = min(known, self._number)
            yield _event("hello", hello, self.cursor())
            why: str | None = None
            while True:
                over = why is not None and self._why_stale is None
                if self._why_stale != why:
                    why = self._why_stale
                    if why is not None:
                        yield _event("stale", {"why": why}, f"{self._here.instance}-{seen}")
                message = self._since(seen, project, runs, always=over)
                seen = self._number
                if message is not None:
                    yield _event("changed", message, self.cursor())
                    await asyncio.sleep(INTERVAL_S)
                if seen == self._number and self._why_stale == why and not await self._wait(seen, why):
                    yield ": still here\n\n"
        finally:
            self._listeners -= 1

    async def _wait(self, seen: int, why: str | None) -> bool:
        """Wait for something new; False where none came for a while."""
        try:
            async with asyncio.timeout(SILENCE_S), self._new:
                await self._new.wait_for(lambda: self._number != seen or self._why_stale != why)
        except TimeoutError:
            return False
        return True

    def _since(
        self, seen: int, project: str | None, runs: frozenset[str], *, always: bool
    ) -> Mapping[str, object] | None:
        """Return what changed since a look; None where nothing did, unless it is to be told always."""
        told = [
            one.change
            for one in self._told.values()
            if one.number > seen and (one.change.run in runs or project is None or one.change.project == project)
        ]
        gone = [
            run
            for run, (number, whose) in self._gone.items()
            if number > seen and (run in runs or project is None or whose == project)
        ]
        if not told and not gone and not always:
            return None
        return {
            "runs": [
                {
                    "run": one.run,
                    "state": one.state,
                    "last_step": one.last_step,
                    "rows": one.rows,
                    "ranks_alive": one.ranks_alive,
                    "at": one.at,
                    "lines": one.lines,
                    "about": one.about,
                }
                for one in told
            ],
            "gone": gone,
            "new": sum(one.is_new for one in told),
            "now": self._here.now_s(),
        }

    async def _look(self) -> None:
        """Look at the root until nobody listens any more."""
        while self._listeners:
            why: str | None = None
            live, took_s = False, 0.0
            try:
                beat, took_s = await run_in_threadpool(self._beat)
            except RootGone as error:
                why = str(error)
            except Exception as error:  # whatever it is: pages are told, and the next look may go well
                why = f"The directory of runs cannot be read just now: {error}"
                if why != self._why_stale:  # once, not with every look
                    _log.warning("the runs could not be looked at", exc_info=True)
            else:
                live = beat.live
                if beat.changes or beat.gone:
                    self._number += 1
                    for change in beat.changes:
                        self._told[change.run] = _Told(self._number, change)
                        self._gone.pop(change.run, None)
                    for run, project in beat.gone:
                        self._told.pop(run, None)
                        self._gone[run] = self._number, project
                    for run in list(self._gone)[:-KEPT_GONE]:
                        del self._gone[run]
            self._why_stale = why
            self._begun.set()
            async with self._new:
                self._new.notify_all()
            await asyncio.sleep(max(INTERVAL_S if live else IDLE_S, min(took_s * REST, MAX_REST_S)))

    def _beat(self) -> tuple[Beat, float]:
        """Return what a look found, and its processor time in seconds."""
        began_s = time.thread_time()
        return self._pulse.beat(), time.thread_time() - began_s

    @property
    def is_full(self) -> bool:
        """Whether no more pages may listen."""
        return self._listeners >= MAX_STREAMS


async def events(request: Request) -> Response:
    """GET /api/events."""
    live: Live = request.app.state.live
    if live.is_full:
        raise Refused(503, f"{MAX_STREAMS} pages listen already.", "TooMany")
    here = served(request)
    runs: list[str] = []
    for wanted in several(request, "run", MAX_RUNS):
        try:
            run = await run_in_threadpool(here.subject, wanted)
            runs.append(run.record.path)
        except (RunNotFound, RootGone):  # it may come, or come back: as when its deletion is undone
            runs.append(wanted)
    last = request.headers.get("last-event-id") or text(request, "after")
    return StreamingResponse(
        live.listen(text(request, "project"), frozenset(runs), last),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Encoding": "identity"},
    )


def _event(name: str, data: Mapping[str, object], cursor: str) -> str:
    return f"event: {name}\nid: {cursor}\ndata: {as_json(data)}\n\n"
