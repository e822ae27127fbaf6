"""Runs side by side: where their configs differ, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import RunDetail, detail_of

__all__ = ["RunsCompared", "compare_runs", "comparison_of", "leaves"]


@dataclass(frozen=True)
class RunsCompared:
    """Several runs; by key, a value for each of them in their order: None where it has none."""

    runs: list[RunDetail]
    config: dict[str, list[object]]  # only where they differ; keys of a mapping in a mapping with dots between them
    same_config: list[str]  # the other keys
    summary: dict[str, list[object]]


def compare_runs(root: Path, run_ids: Sequence[str]) -> RunsCompared:
    """Return runs side by side; raise RunNotFound or UnsupportedFormat."""
    with Reader(root) as reader:
        records = [reader.snapshot(run_id).record for run_id in run_ids]
    observer = Observer.here(root)
    return comparison_of([detail_of(record, observer) for record in records])


def comparison_of(runs: list[RunDetail]) -> RunsCompared:
    """Return these runs side by side."""
    configs = [dict(leaves(run.config)) for run in runs]
    keys = sorted({key for config in configs for key in config})
    same = [key for key in keys if all(key in config for config in configs) and _all_same(_beside(configs, key))]
    known_same = set(same)
    return RunsCompared(
        runs,
        {key: _beside(configs, key) for key in keys if key not in known_same},
        same,
        {
            key: [run.summary.get(key) for run in runs]
            for key in dict.fromkeys(key for run in runs for key in run.summary)
        },
    )


def leaves(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a mapping and of those in it, by keys with dots between them."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(cast("Mapping[str, object]", value), f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _beside(configs: Sequence[Mapping[str, object]], key: str) -> list[object]:
    return [config.get(key) for config in configs]


def _all_same(values: Sequence[object]) -> bool:
    """Say whether values are equal and of one type: 1 and True are not, NaN and NaN are."""
    return len({(type(value), repr(value)) for value in values}) == 1
