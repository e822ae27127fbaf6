"""A node's agent, as its ranks meet it: a real process beside the one of the writer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from disttrack.environments.host import boot_id, node_id, process_start_time
from disttrack.journal.directories import note_place, outbox_directory
from disttrack.journal.outbox import Outbox
from disttrack.records.types import Join, Rank, changed
from disttrack.transport.dealer import Dealer
from disttrack.transport.meeting import Meeting
from disttrack.transport.protocol import PROTOCOL_VERSION, Hello, Welcome
from disttrack.transport.rendezvous import Record, read_record, start_writer
from disttrack.writer.link import BEAT_S
from tests.journal.joins import make_join
from tests.road.site import wait_until

KEY = "test:relay"


class Node:
    """A runtime directory of its own, which is what a node is, and a rank there."""

    def __init__(self, directory: Path, root: Path, rank: int) -> None:
        directory.mkdir()
        join = joins(directory, root, rank)
        note_place(directory, directory / "journals")
        journal = outbox_directory(directory / "journals", join)
        self.join = changed(join, journal=str(journal))
        self.journal = Outbox(journal, self.join)  # the node's process stays while somebody lives who may come
        start_writer(directory, KEY)
        self.record: Record
        wait_until(lambda: read_record(directory, KEY) is not None, "the node's process listens", 20)
        record = read_record(directory, KEY)
        assert record is not None
        self.record = record

    def welcomed_after_s(self) -> float:
        """Says Hello until it is welcomed, and returns how long that took."""
        dealer = Dealer(self.record.address)
        began = time.monotonic()
        dealer.send(Hello(version=PROTOCOL_VERSION, nonce=self.record.nonce, join=self.join))
        wait_until(lambda: any(isinstance(answer, Welcome) for answer in dealer.answers()), "it is welcomed", 20)
        dealer.close()
        return time.monotonic() - began


def joins(runtime: Path, root: Path, rank: int) -> Join:
    return changed(
        make_join(),
        launch_key=KEY,
        root=str(root),
        rank=Rank(rank=rank, world_size=4, source="test"),
        boot_id=boot_id(),
        node=node_id(runtime),
        nodes=4,
        meeting="file:relay",
        pid=os.getpid(),
        start_time=process_start_time(os.getpid()),
    )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    made = [Node(tmp_path / f"n{rank}", tmp_path / "root", rank) for rank in range(4)]
    yield made
    for node in made:
        psutil.Process(node.record.pid).kill()
        node.journal.close()


@pytest.mark.real(timeout_s=90)
def test_the_ranks_of_another_node_are_welcomed_before_the_agents_second_beat(
    nodes: list[Node], tmp_path: Path
) -> None:
    first, *others = nodes
    first.welcomed_after_s()
    meeting = Meeting("file:relay", tmp_path / "root")
    wait_until(lambda: meeting.found is not None, "the writer is announced", 20)
    meeting.close()
    took_s = sorted(node.welcomed_after_s() for node in others)
    print(f"welcomed after {took_s} s")
    assert took_s[0] < BEAT_S  # the quickest of three: others may be busy
