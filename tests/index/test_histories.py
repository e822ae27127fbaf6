"""Rows that come late, again, or from a run that was resumed: the index says what a plain dict would."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.index.indexer import Index
from disttrack.records.types import Incarnation
from tests.index.logs import RunLog, process_of
from tests.query.test_exactly_once import ROWS, Logger, Series, bits, expected, replay, write

Histories = dict[Incarnation, Series]
"""By incarnation what each step's keys held last."""


@st.composite
def attempts(draw: st.DrawFn) -> list[Logger]:
    """One to three attempts of one or two ranks, each resumed anywhere; steps come in any order, and again."""
    found: list[Logger] = []
    ranks = draw(st.integers(1, 2))
    for attempt in range(draw(st.integers(1, 3))):
        resumed_at = draw(st.integers(-2, 8))
        for rank in range(ranks):
            logger = Logger(process_of(rank, ranks), [])
            logger.process.attempt = attempt
            for data, step in draw(st.lists(st.tuples(ROWS, st.integers(0, 5)), min_size=1, max_size=8)):
                logger.log(data, resumed_at + step)
            found.append(logger)
    return found


def histories(index: Index) -> Histories:
    """Returns what the index says; fails where it says a call twice."""
    assert index.catch_up()
    (record,) = index.runs()
    snapshot = index.snapshot(record)
    calls: dict[tuple[int, int, int, str], tuple[float, object]] = {}
    for block in snapshot.blocks:
        places = block.places()
        for key in block.keys:
            column = block.column(key)
            values = column if isinstance(column, list) else column.tolist()
            axes = (axis.tolist() for axis in (places.src, places.step, places.at, places.time_us))
            rows = zip(*axes, values, strict=True)
            for src, step, at, time_us, value in rows:
                assert (src, step, at, key) not in calls
                calls[src, step, at, key] = (time_us / 1e6, bits(value))
    found: Histories = {}
    for (src, step, _, key), said in sorted(calls.items()):  # of one step the later call stands
        found.setdefault(snapshot.record.sources[src].incarnation, {})[step, key] = said
    for source in snapshot.record.sources:
        steps = [step for step, _ in found.get(source.incarnation, {})]
        assert (source.min_step, source.max_step) == ((min(steps), max(steps)) if steps else (None, None))
    return found


@settings(max_examples=30)
@given(st.data())
def test_any_interleaving_of_attempts_gives_the_history_a_plain_dict_gives(data: st.DataObject) -> None:
    everybody = data.draw(attempts())
    with tempfile.TemporaryDirectory() as directory:
        made, root = Path(directory) / "made", Path(directory) / "root"
        frames = write(RunLog(made), everybody, data)
        sizes = {number: size for number, size, _ in frames}
        model: Histories = {}
        for number, logger in enumerate(everybody):
            taken = {
                call
                for _, _, batch in frames
                for who, first, last in batch
                if who == number
                for call in range(first, last)
            }
            if wanted := expected(logger, taken):
                model[logger.process.join.incarnation] = wanted
        index = replay(made, root, sizes, data)
        assert histories(index) == model
        attempts_of = {source.incarnation: source.attempt for source in index.runs()[0].sources}
        for logger in everybody:
            incarnation = logger.process.join.incarnation
            assert attempts_of.get(incarnation, logger.process.attempt) == logger.process.attempt
        index.close()
        for path in root.glob("index*"):
            path.unlink()
        for live_values in (1, 1_000):  # all sealed, none sealed
            rebuilt = Index(root, {}, cold_values=2 * live_values, live_values=live_values)
            assert histories(rebuilt) == model
            rebuilt.close()
            for path in root.glob("index*"):
                path.unlink()
