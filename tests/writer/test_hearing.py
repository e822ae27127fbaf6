"""Whom a writer gives up that it hears no more: all that a lost node had, or its run would never end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.rows import run_header
from disttrack.environments.launch import own_key
from disttrack.records.types import Join, changed, new_incarnation
from disttrack.transport.rendezvous import Claim
from disttrack.writer.hearing import LOST_S, SILENT_S, Hearing
from disttrack.writer.ingest import RunIngest
from disttrack.writer.node import Node
from disttrack.writer.roster import Source
from tests.journal.joins import make_join


def join(node: str, **fields: object) -> Join:
    made = changed(make_join(), incarnation=new_incarnation(), node=node, boot_id=f"boot of {node}")
    return changed(made, **fields)


def everybody(run: RunIngest, node: str) -> list[Source]:
    """Admit a rank of a node, a helper of it, and the node's samples."""
    rank = join(node)
    others = [join(node, role=role, parent=rank.incarnation) for role in ("helper", "node")]
    return [run.admit(one, lambda source: source.join.node == node) for one in (rank, *others)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    claim = Claim(tmp_path / "runtime", own_key())
    assert claim.take()
    node = Node(tmp_path / "runtime", own_key(), claim)
    yield node
    node.close()
    claim.release()


@pytest.mark.parametrize("comes_again", [True, False])
def test_helpers_and_samples_of_a_node_are_lost_with_its_ranks(tmp_path: Path, node: Node, comes_again: bool) -> None:
    """Where their job goes on elsewhere, as soon as that is plain; else after half an hour."""
    header = run_header("run", launch_key=own_key())
    run = RunIngest(tmp_path / "p" / "run", header, time.monotonic)
    run.open(everybody(run, "first"))
    run.close()

    run = RunIngest(run.directory, header, time.monotonic)  # the next writer: it has heard of nobody
    hearing, now = Hearing(node), time.monotonic()
    hearing.notice_silence(run, now)
    assert hearing.any_lives(run, now)
    second = everybody(run, "second") if comes_again else []
    now += SILENT_S + 1 if comes_again else LOST_S + 1
    for source in second:
        hearing.hear(run, source)
    hearing.notice_silence(run, now)
    over = [source for source in run.sources.values() if source.over]
    assert [source.join.node for source in over] == ["first"] * 3
    assert run.sources.all_over() == (not comes_again)
    run.close()
