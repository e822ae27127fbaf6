"""Makes the Join that a journal needs, as a single process on this host would."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from disttrack.environments.host import boot_id, hostname, process_start_time
from disttrack.records.types import Join, Rank, RunId, new_incarnation


def make_join(**changes: Any) -> Join:
    """Returns a Join of a new incarnation, with changes."""
    join = Join(
        incarnation=new_incarnation(),
        launch_key="process:test",
        ordinal=0,
        root="/data/disttrack-runs",
        project="demo",
        group=None,
        given_id=None,
        own_id=RunId("abcd1234"),
        name=None,
        job_type=None,
        rank_job_type=None,
        rank=Rank(rank=0, world_size=1, source="test"),
        host=hostname(),
        boot_id=boot_id(),
        pid=os.getpid(),
        start_time=process_start_time(os.getpid()),
        journal="",
        time_us=1_700_000_000_000_000,
    )
    return msgspec.structs.replace(join, **changes)
