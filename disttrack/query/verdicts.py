"""What may be said of a run's ranks in one sentence: who is dead, who is slow, or why nobody can be named.

Never named is a rank out of step times that are equal: ranks that wait for each other in a collective all take as long
as the slowest of them, so equal times say nothing of who that is (docs/api.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from disttrack.query.attempts import Failure
from disttrack.query.ranks import RankPace

__all__ = ["Verdict", "is_step_time", "verdict_on", "work_metric"]

VerdictKind = Literal["dead", "slow", "high", "synchronised", "even", "single", "unknown"]
NOTABLE_SKEW = 1.1  # 10 % above the median rank: below that, ranks of a healthy job differ too (facts/ui.md)
_UNIT = r"[/._]?(time|duration|seconds|s|ms)([/._](s|ms))?$"
_STEP_TIME = re.compile(r"(^|[/._])(step|iter|iteration|batch)" + _UNIT, re.I)
_PARTS = "(work|compute|forward|backward|fwd|bwd|data|dataloader|load|gpu)"
_WORK = re.compile(rf"(^|[/._]){_PARTS}{_UNIT}|(^|[/._])(time|duration)[/._]{_PARTS}([/._](s|ms))?$", re.I)
_DEAD = ("crashed", "failed", "lost", "silent")
_BECAME = {"lost": "was lost with its node", "silent": "fell silent"}


@dataclass(frozen=True)
class Verdict:
    """One sentence on a run's ranks, and what it is about; metric: None for the time between rows."""

    kind: VerdictKind
    text: str
    rank: int | None = None
    node: str | None = None
    skew: float | None = None
    metric: str | None = None


def is_step_time(metric: str | None) -> bool:
    """Say whether a metric is the time of whole steps, work and wait together; None: the time between rows."""
    return metric is None or _STEP_TIME.search(metric) is not None


def work_metric(keys: Sequence[str]) -> str | None:
    """Return the metric that tells a rank's own work from its waiting for others, by its name; None where none does."""
    return next((key for key in keys if _WORK.search(key)), None)


def verdict_on(paces: Sequence[RankPace], metric: str | None, first_failure: Failure | None) -> Verdict:
    """Return what may be said of ranks that are compared by a metric."""
    dead = [pace for pace in paces if pace.state in _DEAD]
    if dead:
        return _dead(dead, paces, first_failure, metric)
    joined = [pace for pace in paces if pace.state != "absent"]
    if len(joined) == 1:
        return Verdict("single", "One rank: there is nothing to compare it with.", metric=metric)
    compared = [pace for pace in joined if pace.skew is not None]
    if len(compared) < 2:
        return Verdict("unknown", "Too little was logged to compare the ranks by.", metric=metric)
    worst = _worst(compared)
    if worst is not None:
        return Verdict(_word(metric), _notable(worst, metric), worst.rank, worst.node, worst.skew, metric)
    if is_step_time(metric):
        text = (
            f"Step time is synchronised: {_what(metric)} is within {NOTABLE_SKEW - 1:.0%} on all ranks, as each "
            "waits for the slowest, so it cannot name who is slow. Log the time of work before the wait."
        )
        return Verdict("synchronised", text, metric=metric)
    return Verdict(
        "even", f"No rank is {NOTABLE_SKEW - 1:.0%} above the median rank in {_what(metric)}.", metric=metric
    )


def _worst(paces: Sequence[RankPace]) -> RankPace | None:
    """Return the rank that is furthest above the median rank; None where none is by what is worth a word."""
    worst = max(paces, key=lambda pace: pace.skew or 0.0, default=None)
    return worst if worst is not None and (worst.skew or 0.0) >= NOTABLE_SKEW else None


def _word(metric: str | None) -> Literal["slow", "high"]:
    return "slow" if is_step_time(metric) or work_metric([metric or ""]) is not None else "high"


def _notable(worst: RankPace, metric: str | None) -> str:
    place = f" ({worst.node})" if worst.node else ""
    above = _percent(worst.skew or 0.0)
    return f"Rank {worst.rank}{place} is {_word(metric)}: {above} above the median rank in {_what(metric)}."


def _what(metric: str | None) -> str:
    return "the time between rows" if metric is None else metric


def _percent(skew: float) -> str:
    return f"{skew - 1:+.0%}" if skew < 10 else f"{skew:,.0f}x"


def _dead(
    dead: Sequence[RankPace], paces: Sequence[RankPace], first_failure: Failure | None, metric: str | None
) -> Verdict:
    by_rank = {pace.rank: pace for pace in dead}
    first = by_rank.get(first_failure.rank, dead[0]) if first_failure is not None else dead[0]
    place = f" ({first.node})" if first.node else ""
    how = f" by {first.signal}" if first.signal else f" with exit code {first.exit_code}" if first.exit_code else ""
    step = f" at step {first.last_step:,}" if first.last_step is not None else ""
    text = f"Rank {first.rank}{place} {_BECAME.get(first.state, first.state)}{how}{step}"
    if first_failure is not None and first_failure.rank == first.rank:
        if first_failure.exception:
            text += f": {first_failure.exception.splitlines()[0]}"
        if first_failure.terminated:
            text += f"; its launcher then ended {first_failure.terminated}"
    if len(dead) > 1:
        text += f"; {len(dead) - 1} more of {len(paces)} ranks after it"
    slow = _worst([pace for pace in paces if pace.state not in _DEAD])
    if slow is not None:
        text += f". {_notable(slow, metric).removesuffix('.')}"
    return Verdict("dead", f"{text}.", first.rank, first.node, metric=metric)
