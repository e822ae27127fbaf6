"""Histories of many runs as Ray data sets."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import disttrack
from benchmarks.rows import write_run
from tests.road.site import Site

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Scripts that are run here and call ray.init() start a Ray that ends with them."""
    temporary = tempfile.mkdtemp(prefix="dtr-", dir="/tmp")  # short: Ray's sockets lie below it
    os.environ["RAY_TMPDIR"] = temporary
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(16)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES"] = str(200_000_000)
    site = Site(tmp_path)
    try:
        yield site
    finally:
        site.end()
        left = end_processes_of(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
    assert left == [], "these still ran after the test"


def end_processes_of(temporary: str) -> list[str]:
    """Waits for the processes of a Ray, kills those that stay, and returns what they are."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if any(temporary in argument for argument in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue  # ended meanwhile
    _, left = psutil.wait_procs(found, timeout=20)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5)
    return [f"{process.pid}" for process in left]


@pytest.mark.real(timeout_s=120)
def test_the_history_example_compares_learning_rates_over_24_runs(site: Site) -> None:
    output = site.python(EXAMPLES / "ray_history.py")
    lines = [line for line in output.splitlines() if line.startswith("lr ")]
    assert [line.split()[1] for line in lines] == ["0.03", "0.1", "0.3", "1.0"]
    assert all("300 steps" in line for line in lines)
    assert {run["state"] for run in site.ls()} == {"finished"}


@pytest.mark.real(timeout_s=120)
def test_ray_sums_up_what_the_api_reads_however_many_tasks_read_it(site: Site) -> None:
    for number in range(12):
        write_run(site.root, f"run{number:02d}", ranks=2, keys=3, count=50 * (number + 1), rows_a_frame=10)
    script = site.script(
        """
        import json
        from pathlib import Path

        import ray

        from disttrack.errors import FilterError
        from disttrack.integrations.ray import read_history

        ray.init(num_cpus=2, include_dashboard=False)
        everything = read_history(Path.cwd(), override_num_blocks=5)
        means = everything.groupby("run").mean("metric_1").take_all()
        one_rank = read_history("bench", keys=["metric_0"], ranks=[1], filters="id:run03", dir=".")
        try:
            read_history("bench", filters="state:")
        except FilterError as error:
            refused = str(error)
        print(json.dumps({
            "columns": everything.schema().names,
            "types": sorted({str(kind) for kind in everything.schema().types}),
            "means": {row["run"]: row["mean(metric_1)"] for row in means},
            "count": everything.count(),
            "blocks": everything.materialize().num_blocks(),
            "one rank": [row["metric_0"] for row in one_rank.sort("step").take_all()],
            "nothing": read_history("no such project").count(),
            "refused": refused,
        }))
        """
    )
    found = json.loads(site.python(script).splitlines()[-1])
    axes = ["project", "run", "rank", "attempt", "step", "time"]
    assert found["columns"] == [*axes, "metric_0", "metric_1", "metric_2"]
    assert found["types"] == ["double", "int64", "string"]
    assert (found["count"], found["nothing"]) == (2 * 50 * sum(range(1, 13)), 0)
    assert 2 <= found["blocks"] <= 5
    assert "column 7" in found["refused"]
    with disttrack.Api(site.directory) as api:
        means = {run.id: float(np.mean(run.history(keys=["metric_1"])["metric_1"])) for run in api.runs()}
        assert found["means"] == pytest.approx(means)
        assert found["one rank"] == api.run("run03").history(keys=["metric_0"], ranks=[1])["metric_0"].tolist()
