"""Messages: what is packed comes back, and what strangers send is refused without harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.records.types import Incarnation, Offset, RunId
from disttrack.transport.protocol import (
    Ack,
    Ask,
    Data,
    Hello,
    Message,
    Moved,
    Ping,
    Refusal,
    Unknown,
    Welcome,
    pack,
    unpack,
)
from disttrack.transport.status import Complaint, LinkStatus, MemberStatus, NodeStatus, Status
from tests.journal.joins import make_join

WHO = Incarnation(2**64 - 1)
MESSAGES: list[Message] = [
    Hello(version=1, nonce="n", join=make_join()),
    Welcome(
        incarnation=WHO,
        nonce="n",
        run_id=RunId("r"),
        name="é",
        group=None,
        attempt=3,
        role="rank",
        offset=Offset(2**40),
    ),
    Refusal(reason="because"),
    Moved(incarnation=WHO, to=RunId("r")),
    Data(WHO, 2**40, True, False, b"bytes"),
    Data(WHO, 0, False, True, b""),
    Ack(WHO, 2**40),
    Ping(WHO),
    Unknown(WHO),
    Ask(),
    Status(
        protocol=2,
        part="agent",
        launch_key="parent:b:1:2",
        host="node1",
        pid=7,
        time_us=1_700_000_000_000_000,
        age_s=1.5,
        meeting="tcp://node0:29500/job",
        meeting_answers=True,
        members=(
            MemberStatus(
                rank=0, role="rank", run_id=RunId("r"), host="node1", pid=8, over=False, heard_s=None, stored=2**40
            ),
        ),
        nodes=(NodeStatus(host="node1", heard_s=0.5),),
        link=LinkStatus(linked=False, since_s=3.0, endpoint="tcp://10.0.0.1:5", host="node0", why="because"),
        complaints=(Complaint(text="é", ago_s=2.0),),
    ),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert unpack(pack(message)) == message


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_what_is_no_message_is_a_value_error_and_nothing_else(frames: list[bytes]) -> None:
    try:
        unpack(frames)
    except ValueError:
        pass


@given(st.sampled_from(MESSAGES), st.data())
def test_a_cut_or_flipped_message_is_another_one_or_a_value_error(message: Message, data: st.DataObject) -> None:
    head, *rest = pack(message)
    at = data.draw(st.integers(0, len(head) - 1))
    bit = data.draw(st.integers(0, 7))
    for broken in (head[:at], head[:at] + bytes([head[at] ^ 1 << bit]) + head[at + 1 :]):
        try:
            unpack([broken, *rest])
        except ValueError:
            pass
