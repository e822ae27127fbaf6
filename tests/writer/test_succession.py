"""Agents that follow a writer whose node is gone: exactly one does, whatever each of them has heard of the others."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from disttrack.transport.curve import new_credentials
from disttrack.transport.meeting import Address, Meeting, Notice
from disttrack.transport.rendezvous import Claim
from disttrack.writer.announcing import Announcement
from disttrack.writer.node import Node
from disttrack.writer.succession import Succession
from tests.road.site import wait_until

PLACE = "file:test"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def agent(directory: Path, root: Path, stack: ExitStack) -> Node:
    directory.mkdir()
    claim = Claim(directory, "parent:b:1:1")
    assert claim.take()
    node = Node(directory, "parent:b:1:1", claim)
    node.meeting = Meeting(PLACE, root)
    stack.callback(node.close)
    return node


def lost_writer(root: Path, stack: ExitStack) -> Notice:
    """Announces a writer that will never answer."""
    _, _, credentials = new_credentials("n")
    address = Address(
        endpoints=("tcp://127.0.0.1:9",), credentials=credentials, nonce="n", node="gone", host="gone", pid=1
    )
    notice = Notice(launch="l", nonce="n", term=1, runs={"run": "abc"}, writer=address)
    meeting = Meeting(PLACE, root)
    meeting.say(notice)
    wait_until(lambda: meeting.stands, "it stands", 10)
    meeting.close(5)
    return notice


def run_directory(root: Path) -> Path:
    log = root / "demo" / "abc" / "log"
    log.mkdir(parents=True)
    (log / "000001.dtl").touch()
    return log.parent


def test_of_agents_that_begin_at_once_exactly_one_follows(tmp_path: Path, stack: ExitStack) -> None:
    root = tmp_path / "root"
    former = lost_writer(root, stack)
    nodes = [agent(tmp_path / f"n{number}", root, stack) for number in range(3)]
    successions = [Succession(node) for node in nodes]
    wait_until(lambda: all(node.meeting is not None and node.meeting.found == former for node in nodes), "all know", 10)
    directory = run_directory(root)
    for succession in successions:
        succession.begin([directory])
    assert all(succession.pending for succession in successions)
    won: list[Announcement] = []

    def all_know_who_won() -> bool:
        won.extend(filter(None, (succession.won(linked=False) for succession in successions)))
        return not any(succession.pending for succession in successions)

    wait_until(all_know_who_won, "each of them knows", 30)
    (writer,) = won
    assert (writer.term, writer.runs) == (2, former.runs)


def test_an_agent_that_cannot_reach_the_runs_or_knows_of_no_writer_does_not_begin(
    tmp_path: Path, stack: ExitStack
) -> None:
    root = tmp_path / "root"
    node = agent(tmp_path / "n", root, stack)
    succession = Succession(node)
    succession.begin([run_directory(root)])
    assert not succession.pending
    former = lost_writer(root, stack)
    wait_until(lambda: node.meeting is not None and node.meeting.found == former, "it knows", 10)
    succession.begin([])
    succession.begin([root / "demo" / "another"])
    assert not succession.pending


def test_an_agent_whose_writer_answers_again_gives_it_up(tmp_path: Path, stack: ExitStack) -> None:
    root = tmp_path / "root"
    former = lost_writer(root, stack)
    node = agent(tmp_path / "n", root, stack)
    wait_until(lambda: node.meeting is not None and node.meeting.found == former, "it knows", 10)
    succession = Succession(node)
    succession.begin([run_directory(root)])
    assert succession.won(linked=True) is None
    assert not succession.pending
