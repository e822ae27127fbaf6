from collections.abc import Callable, Iterator

import pytest

from tests.launchers.slurm_cluster import PROGRAMS, SlurmCluster
from tests.nodes import cluster


@pytest.fixture(scope="session")
def _slurm_of_the_session(tmp_path_factory: pytest.TempPathFactory, isolated_session: None) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture
def slurm(require_program: Callable[[str], str], request: pytest.FixtureRequest) -> Iterator[SlurmCluster]:
    """Two nodes under Slurm, which the tests of a session share; without jobs before and after the test."""
    for program in (*cluster.PROGRAMS, *PROGRAMS):
        require_program(program)
    reason = cluster.why_not()
    if reason is not None:
        pytest.skip(reason)
    found: SlurmCluster = request.getfixturevalue("_slurm_of_the_session")
    found.begin(request.node.name)
    yield found
    found.clear()
