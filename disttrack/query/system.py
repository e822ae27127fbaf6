"""How busy the nodes of a run were: the samples of their processes as columns."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import numpy as np

from disttrack.index.facts import SourceFacts
from disttrack.index.snapshots import Snapshot
from disttrack.query.members import nodes
from disttrack.query.selection import blocks_with

__all__ = ["samples_of"]

Array = np.ndarray[Any, np.dtype[Any]]


def samples_of(snapshot: Snapshot, keys: Collection[str] | None, node: str | None) -> dict[str, Array]:
    """Return the samples of a run by node and time: columns node, attempt, time (unix seconds) and one for each key.

    keys: only these, in this order. node: the samples of this host only. NaN where a sample has no such key.
    """
    sampled = {source.incarnation for source in nodes(snapshot.record)}
    sources = {
        src: source
        for src, source in enumerate(snapshot.record.sources)
        if source.incarnation in sampled and node in (None, _host(source))
    }
    hosts: list[Array] = []
    attempts: list[Array] = []
    times: list[Array] = []
    columns: dict[str, list[tuple[int, Array]]] = {key: [] for key in keys or ()}
    count = 0
    for block, block_keys in blocks_with(snapshot, keys):
        places = block.places()
        bounds, srcs = places.slices
        for src, (start, end) in zip(srcs.tolist(), pairwise(bounds.tolist()), strict=True):
            if src not in sources:
                continue
            hosts.append(np.full(end - start, _host(sources[src]), object))
            attempts.append(np.full(end - start, sources[src].attempt, np.int64))
            times.append(places.time_us[start:end] / 1e6)
            for key in block_keys:
                column = np.asarray(block.column(key)[start:end], np.float64)
                columns.setdefault(key, []).append((count, column))
            count += end - start
    node_of = np.concatenate(hosts) if hosts else np.empty(0, object)
    time = np.concatenate(times) if times else np.empty(0)
    order = np.lexsort((time, node_of.astype(str)))
    table: dict[str, Array] = {
        "node": node_of[order],
        "attempt": np.concatenate(attempts)[order] if attempts else np.empty(0, np.int64),
        "time": time[order],
    }
    for key in columns if keys is not None else sorted(columns):
        filled = np.full(count, np.nan)
        for start, column in columns[key]:
            filled[start : start + len(column)] = column
        table[key] = filled[order]
    return table


def _host(source: SourceFacts) -> str:
    return source.join.host if source.join is not None else ""
