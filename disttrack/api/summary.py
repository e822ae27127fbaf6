"""run.summary: the last value of everything logged, the aggregates that were asked for, and what is set by hand.

Nothing is kept for it while logging: reading it replays the rank's own journal from where it was read last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from disttrack.api.aggregates import OwnAggregates
from disttrack.api.replay import Replay
from disttrack.journal.outbox import Outbox
from disttrack.records.codec import decode
from disttrack.records.metrics import Definitions
from disttrack.records.payloads import MetricDefinition, RecordKind, SummaryUpdate
from disttrack.records.values import flatten, readable

__all__ = ["Summary"]

_ROWS = (RecordKind.ROW, RecordKind.MSGPACK_ROW)


class Summary(MutableMapping[str, Any]):
    """The last value of every key this rank logged, and aggregates of what run.define_metric names, as `loss.min`.

    Setting a key stores it. A later log() of that key wins again, but no aggregate is lost by it; one that is set by
    hand itself stays as it was set. Keys are attributes, too: `run.summary.best = 3`.
    """

    def __init__(self, outbox: Callable[[], Outbox | None], store: Callable[..., None]) -> None:
        self._outbox = outbox
        self._store = store
        self._values: dict[str, Any] = {}
        self._by_hand: set[str] = set()
        self._said: list[MetricDefinition] = []
        self._definitions = Definitions(())
        self._read: Replay | None = None
        self._aggregates: OwnAggregates | None = None

    def update(self, values: Any = (), /, **more: Any) -> None:
        """Set several keys in one record; nested mappings become `outer.inner`."""
        problems: list[tuple[str, str]] = []
        flat = flatten({**dict(values), **more}, problems)
        self._store(flat, problems=problems)
        if self._outbox() is None:  # nothing is written (mode="disabled", or no journal): remembered all the same
            self._values.update((key, readable(value)) for key, value in flat.items())

    def _replay(self) -> dict[str, Any]:
        """Return the last values."""
        outbox = self._outbox()
        if outbox is None:
            return self._values
        if self._read is None or outbox is not self._read.outbox:  # a forked child has a journal of its own
            self._read, self._aggregates = Replay(outbox), None
        for said in self._read.new():
            if said.kind in _ROWS:
                self._values.update(said.values)
            elif said.kind == RecordKind.SUMMARY:
                change = decode(said.body, SummaryUpdate)
                self._values.update(change.values)
                self._by_hand.update(change.values)
                for key in change.removed:
                    self._values.pop(key, None)
            elif said.kind == RecordKind.METRIC:
                self._said.append(decode(said.body, MetricDefinition))
                self._definitions, self._aggregates = Definitions(self._said), None
        return self._values

    def _all(self) -> dict[str, Any]:
        """Return the last values that are not hidden, and the aggregates."""
        values = self._replay()
        if not self._said or self._read is None:
            return values
        shown = {
            key: value for key, value in values.items() if key in self._by_hand or not self._definitions.hides(key)
        }
        if not self._definitions.reduces:
            return shown
        aggregates = self._aggregates
        if aggregates is None:
            aggregates = self._aggregates = OwnAggregates(self._read.outbox, self._definitions)
        return aggregates.values(values) | shown

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in (values := self._all()):
            return values[name]
        raise AttributeError(f"the summary has no key {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self.update({name: value})

    def __delitem__(self, key: str) -> None:
        del self._replay()[key]
        self._store({}, removed=(key,))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Copy and pickle as a plain dict: what a checkpoint holds must not open this run again."""
        return dict, (dict(self._all()),)
