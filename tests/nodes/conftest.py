from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.nodes.cluster import PROGRAMS, Cluster, why_not


@pytest.fixture
def require_nodes(require_program: Callable[[str], str]) -> None:
    """Skips the test where this user cannot have nodes; for tests that make a cluster of their own."""
    for program in PROGRAMS:
        require_program(program)
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def cluster(tmp_path: Path, require_nodes: None) -> Iterator[Cluster]:
    """Two nodes."""
    with Cluster(tmp_path) as cluster:
        yield cluster
