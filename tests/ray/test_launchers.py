"""launchers/ray_job.py, as a user calls it, and the cluster that ray_cluster.yaml describes."""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.launchers.training import free_port
from tests.road.site import Site, wait_until

LAUNCHERS = Path(__file__).parents[2] / "launchers"

TRAIN = """
import sys
import disttrack
import ray

ray.init(num_cpus=int(sys.argv[1]) or None)
with disttrack.init(project="jobs", dir=None) as run:
    run.log({"cpus": ray.cluster_resources()["CPU"]})
    run._recorder.sender.welcomed.wait()
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


@contextmanager
def head(site: Site) -> Generator[str]:
    """Yield the address of the dashboard, which takes jobs, of a cluster of one node.

    Ray's own choice of ports is not its own: each cluster of a host has its agent at the same one.
    """
    ports = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
    chosen = {name: free_port() for name in ports}
    options = ["--num-cpus=2", f"--object-store-memory={100 << 20}", f"--temp-dir={os.environ['RAY_TMPDIR']}"]
    options += ["--node-ip-address=127.0.0.1", "--include-dashboard=true", "--disable-usage-stats"]
    options += [f"--{name}={port}" for name, port in chosen.items()]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *options]
    with open(site.directory.parent / "head.log", "w+") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            listens = partial(_listens, chosen["dashboard-port"])
            wait_until(lambda: listens() or process.poll() is not None, "the dashboard listens", 90)
            assert process.poll() is None, (log.seek(0), log.read())
            yield f"http://127.0.0.1:{chosen['dashboard-port']}"
        finally:
            process.terminate()  # ends all that it started
            process.wait(300)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.real(timeout_s=180)
def test_the_job_launcher_runs_a_script_here(site: Site) -> None:
    output = site.python(Path("ray_job.py"), "train.py", 1, 0)
    (run,) = site.ls()
    assert f"the run is {run['id']}" in output
    assert (run["project"], run["state"], run["summary"]) == ("jobs", "finished", {"cpus": 1.0})


@pytest.mark.real(timeout_s=180)
def test_the_job_launcher_submits_a_script_and_says_how_it_ended(site: Site) -> None:
    with head(site) as url:
        output = site.python(Path("ray_job.py"), "--address", url, "train.py", 0, 3, code=3)
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
