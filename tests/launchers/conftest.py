from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.conftest import cluster, require_nodes
from tests.road.site import Site

__all__ = ["cluster", "require_nodes", "site"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.end()
