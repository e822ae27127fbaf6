"""Heat-maps as frames: a metric by rank and x, and what nodes sampled by device and time."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from disttrack.index.snapshots import Snapshot
from disttrack.query.devices import device_samples, quantities_of
from disttrack.query.heatmaps import CellValue, HeatMap, heat_map, rank_samples
from disttrack.query.lines import holes_of
from disttrack.query.members import members, newest_team, rank_states
from disttrack.query.verdicts import is_step_time
from disttrack.server.answers import json_answer
from disttrack.server.frames import Frame
from disttrack.server.parameters import choice, flag, integer, number, ranks_of, required, text
from disttrack.server.served import served

__all__ = ["heatmap", "system", "system_heatmap"]

_VALUES: tuple[CellValue, ...] = ("mean", "max", "min", "last")
_X = ("step", "relative", "wall")
MAX_CELLS = 1 << 20


def heatmap(request: Request) -> Response:
    """GET /api/heatmap."""
    here, key, ranks = served(request), text(request, "key"), ranks_of(request)
    x, superseded = choice(request, "x", _X), flag(request, "superseded")

    def ask(snapshot: Snapshot) -> Response:
        observer, record = here.observer(), snapshot.record
        samples = rank_samples(snapshot, key, ranks, x, superseded=superseded)
        found = None if samples is None else heat_map(samples, *_size(request), *_window(request))
        team = newest_team(members(record))
        states = rank_states(team, record, observer)
        nodes = {rank: source.join.host for rank, source in team.joined.items() if source.join is not None}
        header: dict[str, object] = {
            "key": key,
            "x": x,
            "unit": "s" if key is None else None,
            "step_time": is_step_time(key),
            "value": choice(request, "value", _VALUES),
            "ranks": []
            if found is None
            else [
                {
                    "rank": first,
                    "to_rank": last,
                    "node": nodes.get(first),
                    "state": states.get(first, "absent"),
                    "last_x": last_x,
                }
                for (first, last), last_x in zip(found.lines, found.last_x, strict=True)
            ],
            "holes": [
                {"rank": hole.rank, "from": hole.start, "to": hole.end, "why": hole.why}
                for hole in holes_of(snapshot, observer, x)
                if hole.rank is not None  # what nobody logged has no cells anyway
            ],
        }
        empty = "no key" if samples is None else "window" if found is None else None
        return _answer(header, found, empty)

    return here.reader.asked(required(request, "run"), ask)


def system(request: Request) -> Response:
    """GET /api/system."""
    here, wanted = served(request), required(request, "run")

    def ask(snapshot: Snapshot) -> dict[str, object]:
        found = quantities_of(snapshot)
        return {
            "run": snapshot.record.path,
            "from": found.start,
            "to": found.end,
            "nodes": found.nodes,
            "quantities": [
                {
                    "quantity": one.quantity,
                    "title": one.title,
                    "unit": one.unit,
                    "rows": len(found.nodes) * len(one.keys),
                    "keys": one.keys,
                }
                for one in found.quantities
            ],
            "now": here.now_s(),
        }

    return json_answer(here.reader.asked(wanted, ask))


def system_heatmap(request: Request) -> Response:
    """GET /api/system/heatmap."""
    here, quantity = served(request), required(request, "quantity")

    def ask(snapshot: Snapshot) -> Response:
        lines, samples = device_samples(snapshot, quantity)
        found = None if samples is None else heat_map(samples, *_size(request), *_window(request))
        header: dict[str, object] = {
            "key": quantity,
            "x": "wall",
            "unit": None,
            "value": choice(request, "value", _VALUES),
            "lines": []
            if found is None
            else [
                {
                    "node": lines[first].node,
                    "device": lines[first].device,
                    "key": lines[first].key,
                    "ranks": lines[first].ranks,
                    "last_x": last_x,
                }
                for (first, _), last_x in zip(found.lines, found.last_x, strict=True)
            ],
        }
        return _answer(header, found, "no key" if samples is None else "window" if found is None else None)

    return here.reader.asked(required(request, "run"), ask)


def _size(request: Request) -> tuple[int, int, CellValue]:
    height = integer(request, "height", 512, 1, 4_096)
    width = integer(request, "width", 400, 1, MAX_CELLS // height)
    return width, height, choice(request, "value", _VALUES)


def _window(request: Request) -> tuple[float, float]:
    start, end = number(request, "from"), number(request, "to")
    return -math.inf if start is None else start, math.inf if end is None else end


def _answer(header: Mapping[str, object], found: HeatMap | None, empty: str | None) -> Response:
    frame = Frame()
    if found is None:
        nothing = {"rows": 0, "columns": 0, "domain": None, "grid": None, "cells": None, "median": None, "argmax": None}
        return frame.answer({**header, "empty": empty, **nothing})
    return frame.answer(
        {
            **header,
            "empty": None,
            "rows": len(found.lines),
            "columns": len(found.x),
            "domain": {
                "from": float(found.x[0]),
                "to": float(found.x[-1]),
                "v_min": found.v_min,
                "v_max": found.v_max,
                "v_p01": found.v_p01,
                "v_p99": found.v_p99,
                "skew_max": found.skew_max,
            },
            "grid": frame.places(found.x),
            "cells": frame.values(found.cells.reshape(-1)),
            "median": frame.values(found.median),
            "argmax": frame.ranks(found.argmax),
        }
    )
