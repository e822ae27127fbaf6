"""An agent whose writer would not have it: it stays whole, and can say why it is not linked."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from disttrack.transport.curve import new_credentials
from disttrack.transport.meeting import Address, Meeting, Notice
from disttrack.transport.protocol import NodeHello, NodeWelcome, Refusal
from disttrack.transport.receiver import Receiver
from disttrack.transport.rendezvous import Claim
from disttrack.transport.status import LinkStatus
from disttrack.writer.announcing import Announcement
from disttrack.writer.node import Node, Part
from disttrack.writer.relay import Relay
from tests.road.site import wait_until

PLACE = "file:test"


class Writer:
    """A writer on another node, as far as an agent sees it."""

    def __init__(self, directory: Path, root: Path, stack: ExitStack) -> None:
        self.receiver = Receiver(directory / "writer")
        stack.callback(self.receiver.close)
        secret, client, credentials = new_credentials("n")
        (endpoint,) = self.receiver.listen(["127.0.0.1"], secret, client)
        self.address = Address(
            endpoints=(endpoint,), credentials=credentials, nonce="n", node="other", host="other", pid=1
        )
        self.meeting = Meeting(PLACE, root)
        stack.callback(self.meeting.close, 5)

    def announce(self) -> None:
        self.meeting.say(Notice(launch="l", nonce="n", term=1, writer=self.address))
        wait_until(lambda: self.meeting.stands, "it stands", 10)

    def answer(self, *answers: Refusal | NodeWelcome) -> bool:
        """Answer the Hellos of nodes that arrive within a moment; say whether there were any."""
        self.receiver.wait(0.05)
        hellos = [peer for peer, message in self.receiver.messages() if isinstance(message, NodeHello)]
        for peer in hellos:
            for answer in answers:
                self.receiver.send(peer, answer)
        return bool(hellos)


class Agent:
    """A node's process that is an agent."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        runtime = Path(os.environ["DISTTRACK_RUNTIME_DIR"])
        claim = Claim(runtime, "parent:b:1:1")
        assert claim.take()
        self.node = Node(runtime, "parent:b:1:1", claim)
        self.node.meeting = Meeting(PLACE, root)
        stack.callback(self.node.close)
        self.relay = Relay(self.node, self._become_writer, self._choose_again)
        stack.callback(self.relay.close)

    def _become_writer(self, announcement: Announcement) -> Part:
        raise AssertionError("it has no reason to")

    def _choose_again(self) -> Part:
        raise AssertionError("its writer has not gone")

    def link(self) -> LinkStatus:
        """Work once, and return how it stands with the link."""
        self.node.receiver.wait(0.01)
        self.relay.work()
        link = self.relay.status().link
        assert link is not None
        return link


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_an_agent_says_what_is_in_the_way_until_it_is_linked(tmp_path: Path, stack: ExitStack) -> None:
    root = tmp_path / "root"
    writer, agent = Writer(tmp_path, root, stack), Agent(root, stack)
    wait_until(lambda: agent.link().why == "no writer is announced where the nodes meet", "the place answers", 10)
    writer.announce()
    wait_until(lambda: agent.link().endpoint == writer.address.endpoints[0], "the writer is found", 10)
    assert agent.link().why == "the writer does not answer"
    wait_until(lambda: writer.answer(NodeWelcome(nonce="n")) or agent.link().linked, "it is linked", 15)
    wait_until(lambda: agent.link().linked, "it is linked", 15)
    assert (agent.link().host, agent.link().why) == ("other", None)


def test_an_agent_that_is_refused_again_and_again_stays_whole_and_says_so(tmp_path: Path, stack: ExitStack) -> None:
    root = tmp_path / "root"
    writer, agent = Writer(tmp_path, root, stack), Agent(root, stack)
    writer.announce()
    times = 0
    while times < 5:  # more than one answer at once: the first closes the connection that the second came over
        agent.link()
        times += writer.answer(*[Refusal(reason="use one version of disttrack")] * 20)
    wait_until(lambda: "use one version" in str(agent.link().why), "it says so", 10)
    assert not agent.link().linked
