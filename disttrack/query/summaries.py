"""Config and last values of a run, out of those of its sources."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from disttrack.index.facts import SourceFacts
from disttrack.query.members import Member

__all__ = ["Spread", "by_precedence", "config_by_rank", "is_alike", "merged_config", "merged_summary", "spreads"]

Number = int | float


@dataclass(frozen=True)
class Spread:
    """The ranks' last values of one key; argmax is the rank that has the greatest. NaN counts only where all are."""

    min: Number
    mean: float
    max: Number
    argmax: int


def by_precedence(everybody: Sequence[Member]) -> list[SourceFacts]:
    """Return sources with those first whose word counts: the newest attempt's, and in it the lowest rank's."""
    return [member.source for member in sorted(everybody, key=lambda member: (-member.attempt, member.rank))]


def merged_config(sources: Iterable[SourceFacts]) -> dict[str, object]:
    """Return the config of sources by precedence: the first that set a key counts. Keys in alphabetical order."""
    return dict(sorted(_merged(source.config for source in sources).items()))


def config_by_rank(everybody: Sequence[Member], config: Mapping[str, object]) -> dict[int, dict[str, object]]:
    """Return by rank what its own config has otherwise than the run's; ranks that have nothing otherwise are left out.

    Equal are values of one type that look the same: 1 and True are not, NaN and NaN are.
    """
    mine: dict[int, list[Member]] = {}
    for member in everybody:
        if member.source.config:
            mine.setdefault(member.rank, []).append(member)
    found: dict[int, dict[str, object]] = {}
    for rank, sources in sorted(mine.items()):
        own = merged_config(by_precedence(sources))
        other = {key: value for key, value in own.items() if not is_alike(value, config.get(key))}
        if other:
            found[rank] = other
    return found


def is_alike(value: object, other: object) -> bool:
    """Say whether two plain values are of one type and look the same."""
    return type(value) is type(other) and (value is other or repr(value) == repr(other))


def merged_summary(sources: Iterable[SourceFacts]) -> dict[str, object]:
    """Return the last values of sources by precedence: the first that logged a key counts.

    Keys that somebody set by hand come first (they were found worth it), each group in alphabetical order.
    """
    sources = list(sources)
    by_hand = {key for source in sources for key in source.by_hand}
    merged = dict(sorted(_merged(source.last for source in sources).items()))
    if by_hand.isdisjoint(merged):
        return merged
    return {key: merged[key] for key in sorted(merged, key=lambda key: key not in by_hand)}


def _merged(mappings: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """Return all keys, in the order of their arrival, which is not the same for every reader."""
    merged: dict[str, object] = {}
    for mapping in mappings:
        for key in mapping.keys() - merged.keys():
            merged[key] = mapping[key]
    return merged


def spreads(voices: Mapping[int, Sequence[SourceFacts]], keys: Collection[str] | None = None) -> dict[str, Spread]:
    """Return how the last values of each numeric key (keys: of these) are spread over the ranks of an attempt."""
    values: dict[str, dict[int, Number]] = {}
    for rank, sources in voices.items():
        last = _merged(source.last for source in sources) if keys is None else _of_keys(sources, keys)
        for key, value in last.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(key, {})[rank] = value
    return {key: _spread(of_ranks) for key, of_ranks in sorted(values.items())}


def _of_keys(sources: Sequence[SourceFacts], keys: Collection[str]) -> dict[str, object]:
    found = ((key, source.last[key]) for source in reversed(sources) for key in keys if key in source.last)
    return dict(found)  # the first source's value stands


def _spread(of_ranks: Mapping[int, Number]) -> Spread:
    if len(of_ranks) == 1:  # as in most runs
        ((rank, value),) = of_ranks.items()
        return Spread(value, _mean([value]), value, rank)
    known = {rank: value for rank, value in of_ranks.items() if value == value} or of_ranks
    argmax = max(known, key=lambda rank: (known[rank], -rank))
    return Spread(min(known.values()), _mean(list(known.values())), known[argmax], argmax)


def _mean(values: Sequence[Number]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # an int beyond any float, or a sum that is
        return math.inf if max(values, key=abs) > 0 else -math.inf
    except ValueError:  # both infinities
        return math.nan
