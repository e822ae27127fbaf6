"""Every record is taken once, whatever frames, segments, polls and readers brought it, in whatever order."""

from __future__ import annotations

import math
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.index.indexer import Index
from disttrack.query.history import values_of
from disttrack.records.codec import records
from disttrack.records.payloads import RecordKind
from tests.index.logs import Process, RunLog, process_of
from tests.query.tables import wide_form

VALUES = st.one_of(
    st.floats(width=32),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.integers(2**63, 2**80),
    st.none(),
    st.text(max_size=3),
    st.lists(st.integers(0, 3), max_size=2),
)
#: A frame: its segment, its end in it, and whose calls it holds: rank, [first, last).
Frame = tuple[int, int, list[tuple[int, int, int]]]
#: By step and key: time and value.
Series = dict[tuple[int, str], tuple[float, object]]
ROWS = st.dictionaries(st.sampled_from(["a", "b", "c", "é"]), VALUES, min_size=1, max_size=4)


@dataclass
class Call:
    """What one log() call said, and the schema its row needs (None: none)."""

    step: int
    time_us: int
    data: dict[str, Any]
    needs: int | None
    brings: frozenset[int]


@dataclass
class Logger:
    """A process together with what it said."""

    process: Process
    calls: list[Call]

    def log(self, data: dict[str, Any], step: int) -> None:
        before = len(self.process.journal)
        self.process.row(data, step)
        unit = list(records(self.process.journal[before:]))
        row = next(record for record in unit if record.kind != RecordKind.SCHEMA)
        self.calls.append(
            Call(
                step,
                self.process.time_us,
                data,
                row.schema if row.kind == RecordKind.ROW else None,
                frozenset(record.schema for record in unit if record.kind == RecordKind.SCHEMA),
            )
        )


@st.composite
def loggers(draw: st.DrawFn) -> list[Logger]:
    """Two or three ranks that logged rows at any steps, announcing their schemas again now and then."""
    found: list[Logger] = []
    for rank in range(draw(st.integers(2, 3))):
        logger = Logger(process_of(rank, 3), [])
        for data, step, again in draw(
            st.lists(st.tuples(ROWS, st.integers(0, 5), st.booleans()), min_size=1, max_size=12)
        ):
            if again:
                logger.process.encoder.announce_again()
            logger.log(data, step)
        found.append(logger)
    return found


def bits(value: object) -> object:
    """Returns a value so that equal means the same bits."""
    return struct.pack("<d", value) if isinstance(value, float) else (type(value).__name__, repr(value))


def expected(logger: Logger, taken: set[int]) -> Series:
    """The plain dict model: the calls that arrived, in call order, where their schema arrived too."""
    schemas = frozenset[int]().union(*(logger.calls[number].brings for number in taken))
    model: Series = {}
    for number in sorted(taken):
        call = logger.calls[number]
        if call.needs is None or call.needs in schemas:
            for key, value in call.data.items():
                model[call.step, key] = (call.time_us / 1e6, bits(value))
    return model


def answer(index: Index) -> dict[int, Series]:
    """What the index says of each rank; fails where it says it twice or not in order."""
    (record,) = index.runs()
    snapshot = index.snapshot(record)
    found: dict[int, Series] = {}
    places: list[tuple[int, int, int]] = []
    for value in values_of(snapshot, None, None, pass_values=7):
        rank = found.setdefault(value.rank, {})
        assert (value.step, value.key) not in rank
        rank[value.step, value.key] = (value.time, bits(value.value))
        places.append((value.rank, value.attempt, value.step))
    assert places == sorted(places)
    assert_wide_agrees(wide_form(snapshot), found)
    return found


def assert_wide_agrees(wide: dict[str, Any], long: dict[int, Series]) -> None:
    """The wide form says what the long one says, but for floats in columns of ints and NaN for what is missing."""
    for index, (rank, step) in enumerate(zip(wide["rank"].tolist(), wide["step"].tolist(), strict=True)):
        for key in wide.keys() - {"rank", "attempt", "step", "time"}:
            value, there = (
                wide[key][index].item() if hasattr(wide[key][index], "item") else wide[key][index],
                long[rank].get((step, key)),
            )
            if there is None:
                assert value is None or math.isnan(value)
            elif wide[key].dtype != float:
                assert bits(value) == there[1]


@settings(max_examples=60)
@given(st.data())
def test_any_history_is_taken_once_however_it_is_read(data: st.DataObject) -> None:
    everybody = data.draw(loggers())
    with tempfile.TemporaryDirectory() as directory:
        made, root = Path(directory) / "made", Path(directory) / "root"
        frames = write(RunLog(made), everybody, data)
        sizes = {number: size for number, size, _ in frames}
        for number in list(sizes)[:-1]:  # a writer that was killed within a frame; another life went on
            sizes[number] -= data.draw(st.sampled_from([0, 0, 1, 30, 200]))
        index = replay(made, root, sizes, data)
        model: dict[int, Series] = {}
        for rank, logger in enumerate(everybody):
            taken = {
                call
                for number, size, batch in frames
                if size <= sizes[number]
                for who, first, last in batch
                if who == rank
                for call in range(first, last)
            }
            if wanted := expected(logger, taken):
                model[rank] = wanted
        assert index.catch_up()
        assert answer(index) == model
        index.close()
        for path in root.glob("index*"):
            path.unlink()
        rebuilt = Index(root, {})
        assert rebuilt.catch_up()
        assert answer(rebuilt) == model
        rebuilt.close()


def write(log: RunLog, everybody: list[Logger], data: st.DataObject) -> list[Frame]:
    """Writes frames of calls into segments."""
    frames: list[Frame] = []
    number = 1
    for _ in range(data.draw(st.integers(1, 10))):
        batch: list[tuple[int, int, int]] = []
        for rank, logger in enumerate(everybody):
            first = data.draw(st.integers(0, len(logger.calls)))
            last = data.draw(st.integers(first, len(logger.calls)))
            if first < last:
                batch.append((rank, first, last))
        log.commit(*[(everybody[rank].process, first, last) for rank, first, last in batch])
        frames.append((number, log.open().path.stat().st_size, batch))
        if data.draw(st.booleans()):
            log.close()
            number += 1
    log.close()
    return frames


def replay(made: Path, root: Path, sizes: dict[int, int], data: st.DataObject) -> Index:
    """Lets the segments grow in root in any steps, read by one reader after another; returns the last reader."""
    live_values = data.draw(st.sampled_from([1, 8, 1_000]))
    index = Index(root, {}, cold_values=2 * live_values, live_values=live_values)
    grown = dict.fromkeys(sizes, 0)
    for _ in range(data.draw(st.integers(0, 8))):
        number = data.draw(st.sampled_from(sorted(sizes)))
        # In percent: how long a segment is differs from one making to the next, by its random nonce.
        grown[number] = max(grown[number], sizes[number] * data.draw(st.integers(0, 100)) // 100)
        grow(made, root, number, grown[number])
        if data.draw(st.booleans()):
            index.close()
            index = Index(root, {}, cold_values=2 * live_values, live_values=live_values)
        assert index.catch_up()
    for number, size in sizes.items():
        grow(made, root, number, size)
    return index


def grow(made: Path, root: Path, number: int, size: int) -> None:
    """Makes a segment in root as long as size, as the one that was made begins."""
    log = root / "demo" / "run1" / "log"
    log.mkdir(parents=True, exist_ok=True)
    content = (made / "demo" / "run1" / "log" / f"{number:06d}.dtl").read_bytes()[:size]
    with (log / f"{number:06d}.dtl").open("ab") as file:
        file.write(content[file.tell() :])
