"""What run.define_metric takes, as it is stored. What cannot be used is told, and costs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from disttrack.records.metrics import REDUCERS
from disttrack.records.payloads import Goal, MetricDefinition
from disttrack.records.values import text

__all__ = ["checked_definition"]

_GOALS: dict[str, Goal] = {"minimize": "minimize", "min": "minimize", "maximize": "maximize", "max": "maximize"}
_KEPT = (*REDUCERS, "none")


def checked_definition(
    complain: Callable[[str], None],
    name: Any,
    step_metric: Any,
    step_sync: Any,
    summary: Any,
    goal: Any,
    hidden: Any,
    overwrite: Any,
) -> MetricDefinition | None:
    """Return a definition; None where there is no name. complain: told what is left out."""
    if not isinstance(name, str) or not name:
        complain(f"define_metric({name!r:.40}) is ignored: a metric's name must be a str that is not empty")
        return None
    over = step_metric.name if isinstance(step_metric, MetricDefinition) else step_metric
    if over is not None and (not isinstance(over, str) or not over or "*" in over):
        complain(f"define_metric({name!r:.80}): step_metric={over!r:.40} is ignored; it must be the name of a metric")
        over = None
    reducers = None if summary is None else _reducers(complain, name, summary)
    better = None
    if goal is not None:
        better = _GOALS.get(goal) if isinstance(goal, str) else None
        if better is None:
            complain(f"define_metric({name!r:.80}): goal={goal!r:.40} is ignored; it is minimize or maximize")
    if reducers is not None and "best" in reducers and better is None:
        complain(
            f"define_metric({name!r:.80}): summary='best' needs a goal, minimize or maximize, here or in another call"
        )
    return MetricDefinition(
        name=text(name),
        step_metric=None if over is None else text(over),
        step_sync=bool(step_sync) if step_sync is not None else True if over is not None else None,
        summary=reducers,
        goal=better,
        hidden=None if hidden is None else bool(hidden),
        overwrite=bool(overwrite),
    )


def _reducers(complain: Callable[[str], None], name: str, summary: Any) -> tuple[str, ...]:
    """Return what is kept, as given with commas between or as a sequence."""
    given: list[Any] = []
    if isinstance(summary, str):
        given = summary.split(",")
    elif isinstance(summary, Iterable):
        given = list(cast("Iterable[Any]", summary))
    else:
        complain(f"define_metric({name!r:.80}): summary={summary!r:.40} is ignored; give text, such as 'min,mean'")
    found: list[str] = []
    for one in given:
        reducer = one.strip() if isinstance(one, str) else ""
        reducer = "last" if reducer == "copy" else reducer
        if reducer in _KEPT:
            found.append(reducer)
        elif one != "":
            complain(f"define_metric({name!r:.80}): summary={one!r:.40} is ignored; there are {', '.join(_KEPT)}")
    return tuple(dict.fromkeys(found))
