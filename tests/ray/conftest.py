"""One Ray cluster of this machine for all tests of this room: its own token, ports and directory, and small."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.road.site import Site

EXAMPLES = Path(__file__).parents[2] / "examples"

#: Holds a cluster from its first line until its input ends.
HEAD = """
import sys
import ray
ray.init(num_cpus=4, object_store_memory=100 << 20, include_dashboard=False, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""

#: First in every driver: workers get the directories of the test, not those of whoever started the cluster.
DRIVER = """
import os, sys
import ray
mine = {name: value for name, value in os.environ.items() if name.startswith("DISTTRACK_")}
ray.init(log_to_driver=False, runtime_env={"env_vars": mine})
"""


def ray_environment() -> dict[str, str]:
    """Return what a cluster of a test is started and found with: a token of its own, whatever the user has."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "default",
    }


@pytest.fixture(scope="session")
def ray_cluster(isolated_session: None) -> Iterator[dict[str, str]]:
    """Returns the environment by which a driver finds the cluster."""
    directory = tempfile.mkdtemp(prefix="dt-ray-", dir="/tmp")  # short: sockets lie in it
    environment = {**os.environ, **ray_environment()}
    with open(Path(directory) / "head.log", "w+") as log:
        head = subprocess.Popen(
            [sys.executable, "-c", HEAD, directory],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert head.stdout is not None
            address = head.stdout.readline().strip()
            log.seek(0)
            assert address, f"the cluster did not start: {log.read()}"
            yield {name: environment[name] for name in ray_environment()} | {"RAY_ADDRESS": address}
        finally:
            head.communicate(timeout=300)
            shutil.rmtree(directory, ignore_errors=True)


class RaySite(Site):
    """A directory with drivers, and the runs of their trials and workers."""

    def __init__(self, directory: Path, cluster: Mapping[str, str]) -> None:
        super().__init__(directory)
        self._cluster = cluster

    def drive(self, code: str, *arguments: object) -> str:
        """Run a driver to its end, and return what it printed; its storage path is this directory."""
        return self.python(self.script(DRIVER + code), *arguments, env=self._environment)

    def start_driver(self, code: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a driver, and return at once."""
        return self.start(sys.executable, self.script(DRIVER + code), *arguments, env=self._environment)

    def run_example(self, name: str, *arguments: object) -> str:
        """Run an example as it is; its workers get the directories of the test by Ray's own variable for that."""
        mine = {name: value for name, value in os.environ.items() if name.startswith("DISTTRACK_")}
        job = json.dumps({"runtime_env": {"env_vars": mine}})
        return self.python(EXAMPLES / name, *arguments, env={**self._environment, "RAY_JOB_CONFIG_JSON_ENV_VAR": job})

    def run(self, *command: object, env: Mapping[str, str] | None = None, code: int = 0, limit_s: float = 170) -> str:
        """Run a command as Site does, with nearly all the time that a test may take: Ray starts many processes."""
        return super().run(*command, env=env, code=code, limit_s=limit_s)

    @property
    def _environment(self) -> dict[str, str]:
        return {**self._cluster, "RAY_AIR_NEW_OUTPUT": "0"}


@pytest.fixture
def ray_site(tmp_path: Path, ray_cluster: dict[str, str]) -> Iterator[RaySite]:
    site = RaySite(tmp_path, ray_cluster)
    yield site
    site.end()
