from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launchers.slurm_cluster import PROGRAMS, SlurmCluster
from tests.nodes import cluster as nodes
from tests.nodes.conftest import cluster, require_nodes
from tests.road.site import Site

__all__ = ["cluster", "require_nodes", "site"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()


@pytest.fixture(scope="session")
def _slurm_of_the_session(tmp_path_factory: pytest.TempPathFactory, isolated_session: None) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture
def slurm(require_program: Callable[[str], str], request: pytest.FixtureRequest) -> Iterator[SlurmCluster]:
    """Two nodes under Slurm, which the tests of a session share; without jobs before and after the test."""
    for program in (*nodes.PROGRAMS, *PROGRAMS):
        require_program(program)
    reason = nodes.why_not()
    if reason is not None:
        pytest.skip(reason)
    found: SlurmCluster = request.getfixturevalue("_slurm_of_the_session")
    found.begin(request.node.name)
    yield found
    found.clear()
