"""The picture of a metric by rank and x: cells are what plain loops make of the rows, and dead ranks leave holes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.query.heatmaps import CellValue, Samples, heat_map, rank_samples
from disttrack.query.reader import Reader
from tests.index.logs import RunLog, process_of

SAMPLES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 40), st.integers(-100, 100)), min_size=1, max_size=80
).map(lambda rows: sorted(rows, key=lambda row: row[:2]))


@given(
    rows=SAMPLES,
    width=st.integers(1, 12),
    height=st.integers(1, 6),
    value=st.sampled_from(["mean", "max", "min", "last"]),
)
def test_a_cell_is_what_its_samples_come_to(
    rows: list[tuple[int, int, int]], width: int, height: int, value: CellValue
) -> None:
    line, x, y = (np.array(column) for column in zip(*rows, strict=True))
    samples = Samples(list(range(5)), line.astype(np.int64), x.astype(np.float64), y.astype(np.float64))
    found = heat_map(samples, width, height, value)
    assert found is not None
    assert found.cells.shape == (len(found.lines), len(found.x))
    assert len(found.lines) <= height
    assert len(found.x) <= width or len(set(x.tolist())) <= width
    exact = len(set(x.tolist())) <= width
    low, high = x.min(), x.max()
    for row, (first, last) in enumerate(found.lines):
        for column in range(len(found.x)):
            mine = [
                given_y
                for given_line, given_x, given_y in rows
                if first <= given_line <= last
                and (
                    given_x == found.x[column]
                    if exact
                    else min(int((given_x - low) * (width / (high - low))), width - 1) == column
                )
            ]
            cell = found.cells[row, column]
            if not mine:
                assert math.isnan(cell)
            elif value == "mean":
                assert cell == pytest.approx(sum(mine) / len(mine))
            elif value != "last":
                assert cell == {"max": max, "min": min}[value](mine)
            else:
                assert cell in mine
    for column, median in enumerate(found.median.tolist()):
        known = [cell for cell in found.cells[:, column].tolist() if not math.isnan(cell)]
        assert median == pytest.approx(float(np.median(known))) if known else math.isnan(median)
        if found.argmax[column] >= 0:
            at = [first for first, _ in found.lines].index(found.argmax[column])
            assert found.cells[at, column] == max(known)
        else:
            assert len(set(known)) <= 1


def test_a_rank_that_died_leaves_its_cells_empty_and_time_between_rows_has_no_first(tmp_path: Path) -> None:
    log, ranks = RunLog(tmp_path), [process_of(rank, 3) for rank in range(3)]
    for rank, process in enumerate(ranks):
        for step in range(100 if rank != 1 else 40):
            process.row({"work": float(rank)}, step, after_us=10_000 * (rank + 1))
    log.commit_all(*ranks)
    log.close()
    with Reader(tmp_path) as reader:
        snapshot = reader.snapshot("run1")
        samples = rank_samples(snapshot, "work", "all", "step")
        assert samples is not None
        found = heat_map(samples, 10, 512, "mean")
        assert found is not None
        assert np.isnan(found.cells[1, 4:]).all()
        assert not np.isnan(found.cells[[0, 2]]).any()
        assert (found.last_x, found.argmax.tolist()) == ([99, 39, 99], [2] * 10)
        between = rank_samples(snapshot, None, "all", "step")
        assert between is not None
        found = heat_map(between, 10, 512, "mean")
        assert found is not None
        assert np.nanmax(np.abs(found.cells - np.array([[0.01], [0.02], [0.03]]))) < 1e-6
        assert between.x.min() == 1  # how long the first row took, nobody knows
        assert rank_samples(snapshot, "nothing", "all", "step") is None
