from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.jobs import Job
from tests.road.site import Site


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(Site(tmp_path))
    yield job
    job.end()
    job.site.end()
