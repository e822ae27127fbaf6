"""Histories of many runs as Ray data sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

import disttrack
from benchmarks.rows import write_run
from tests.ray.conftest import RaySite


@pytest.mark.real(timeout_s=180)
def test_the_history_example_compares_learning_rates_over_24_runs(ray_site: RaySite) -> None:
    output = ray_site.run_example("ray_history.py")
    lines = [line for line in output.splitlines() if line.startswith("lr ")]
    assert [line.split()[1] for line in lines] == ["0.03", "0.1", "0.3", "1.0"]
    assert all("300 steps" in line for line in lines)
    assert {run["state"] for run in ray_site.ls()} == {"finished"}


SUMS = """
import json
from pathlib import Path

from ray.data.aggregate import Count, Mean

from disttrack.errors import FilterError
from disttrack.integrations.ray import read_history

everything = read_history(Path.cwd(), override_num_blocks=5)
means = everything.groupby("run").aggregate(Mean("metric_1"), Count(alias_name="rows")).take_all()
one_rank = read_history("bench", keys=["metric_0"], ranks=[1], filters="id:run03", dir=".")
try:
    read_history("bench", filters="state:")
except FilterError as error:
    refused = str(error)
print(json.dumps({
    "columns": everything.schema().names,
    "types": sorted({str(kind) for kind in everything.schema().types}),
    "means": {row["run"]: row["mean(metric_1)"] for row in means},
    "rows": {row["run"]: row["rows"] for row in means},
    "one rank": {row["step"]: row["metric_0"] for row in one_rank.take_all()},
    "refused": refused,
}))
"""


@pytest.mark.real(timeout_s=180)
def test_ray_sums_up_what_the_api_reads_however_many_tasks_read_it(ray_site: RaySite) -> None:
    for number in range(12):
        write_run(ray_site.root, f"run{number:02d}", ranks=2, keys=3, count=50 * (number + 1), rows_a_frame=10)
    found = json.loads(ray_site.drive(SUMS).splitlines()[-1])
    axes = ["project", "run", "rank", "attempt", "step", "time"]
    assert found["columns"] == [*axes, "metric_0", "metric_1", "metric_2"]
    assert found["types"] == ["double", "int64", "string"]
    assert found["rows"] == {f"run{number:02d}": 2 * 50 * (number + 1) for number in range(12)}
    assert "column 7" in found["refused"]
    with disttrack.Api(ray_site.directory) as api:
        means = {run.id: float(np.mean(run.history(keys=["metric_1"])["metric_1"])) for run in api.runs()}
        assert found["means"] == pytest.approx(means)
        rows = api.run("run03").history(keys=["metric_0"], ranks=[1])
        assert found["one rank"] == {
            str(step): value for step, value in zip(rows["step"], rows["metric_0"], strict=True)
        }
