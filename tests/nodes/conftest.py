import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.nodes.cluster import PROGRAMS, Cluster, Node, Process, why_not
from tests.nodes.plain import LAST_PORT, PORT, serve_stores
from tests.road.site import wait_until


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


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four nodes, with a TCPStore at each of plain.py's ports on the first; a module's tests share them."""
    if any(shutil.which(program) is None for program in PROGRAMS) or why_not() is not None:
        pytest.skip("nodes are not to be had; test_cluster.py says why")
    with Cluster(tmp_path_factory.mktemp("nodes"), count=4) as cluster, serve_stores(cluster):
        yield cluster


@pytest.fixture(scope="module")
def ports() -> Iterator[int]:
    """Ports of the stores that no job has met at yet."""
    return iter(range(PORT, LAST_PORT))


@pytest.fixture
def wired(stores: Cluster) -> Iterator[Cluster]:
    """The shared nodes, on a wire that is whole and fast again after the test."""
    yield stores
    stores.wire.heal()
    stores.wire.loss(0)
    stores.wire.delay(0)
    stores.wire.rate(None)
    for node in stores.nodes:
        wait_until(lambda: not ended_what_is_left(node), f"nothing of the test is left on {node.name}")  # noqa: B023


def ended_what_is_left(node: Node) -> list[Process]:
    """Kill what a failed test left on a node, and return it: a rank may have started another writer before it died."""
    left = [
        process
        for process in node.processes()
        if any("rank.py" in word or word == "disttrack.writer" for word in process.command)
    ]
    for process in left:
        node.run(["bash", "-c", f"kill -9 {process.pid} || true"])  # it may have ended by itself meanwhile
    return left
