"""launchers/ray_job.py, as a user calls it, and the cluster that ray_cluster.yaml describes."""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.road.site import Site

LAUNCHERS = Path(__file__).parents[2] / "launchers"

#: Holds a cluster with a dashboard, which takes jobs, from its first line until its input ends.
HEAD = """
import sys, socket
import ray
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
options = {"num_cpus": 2, "object_store_memory": 100 << 20, "_temp_dir": sys.argv[1]}
print(ray.init(include_dashboard=True, dashboard_port=port, **options).dashboard_url, flush=True)
sys.stdin.read()
ray.shutdown()
"""

TRAIN = """
import sys
import disttrack
import ray

ray.init(num_cpus=int(sys.argv[1]) or None)
with disttrack.init(project="jobs", dir=None) as run:
    run.log({"cpus": ray.cluster_resources()["CPU"]})
    print("the run is", run.id)
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    temporary = tempfile.mkdtemp(prefix="dt-ray-", dir="/tmp")  # short: Ray's sockets lie below it
    os.environ.update(
        RAY_TMPDIR=temporary,
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES=str(100 << 20),
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        PYTHONPATH=os.pathsep.join(filter(None, [str(LAUNCHERS.parent), os.environ.get("PYTHONPATH")])),
    )
    (tmp_path / "beside").mkdir()  # what is uploaded: not the runs that lie next to it
    site = Site(tmp_path / "beside")
    shutil.copy(LAUNCHERS / "ray_job.py", site.directory)
    site.script(TRAIN)
    yield site
    site.end()
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.real(timeout_s=180)
def test_the_job_launcher_runs_a_script_here(site: Site) -> None:
    output = site.python(Path("ray_job.py"), "train.py", 1, 0)
    (run,) = site.ls()
    assert f"the run is {run['id']}" in output
    assert (run["project"], run["state"], run["summary"]) == ("jobs", "finished", {"cpus": 1.0})


@pytest.mark.real(timeout_s=180)
def test_the_job_launcher_submits_a_script_and_says_how_it_ended(site: Site) -> None:
    with open(site.directory.parent / "head.log", "w+") as log:
        head = subprocess.Popen(
            [sys.executable, "-c", HEAD, os.environ["RAY_TMPDIR"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert head.stdout is not None
            url = head.stdout.readline().strip()
            assert url, (log.seek(0), log.read())
            output = site.python(Path("ray_job.py"), "--address", f"http://{url}", "train.py", 0, 3, code=3)
        finally:
            head.communicate(timeout=60)
    (run,) = site.ls()
    assert f"the run is {run['id']}" in output
    assert (run["project"], run["summary"]) == ("jobs", {"cpus": 2.0})
    assert output.splitlines()[-1].endswith(" failed, exit code 3")


def test_ray_accepts_the_cluster_that_the_launcher_describes() -> None:
    util: Any = importlib.import_module("ray.autoscaler._private.util")
    described = yaml.safe_load((LAUNCHERS / "ray_cluster.yaml").read_text())
    prepared = util.prepare_config(described)
    util.validate_config(prepared)
    assert prepared["max_workers"] == len(described["provider"]["worker_ips"])
    for commands in (prepared["head_start_ray_commands"], prepared["worker_start_ray_commands"]):
        assert all(subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0 for command in commands)
