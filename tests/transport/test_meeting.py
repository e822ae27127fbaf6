"""Where nodes meet: one notice stands, the right one replaces it, and what stands there is never believed blindly."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  # torch.distributed has no __all__

from disttrack.transport.curve import Credentials
from disttrack.transport.meeting import PREFIX, SEAT, Address, Meeting, Notice
from disttrack.transport.store_server import StoreServer
from tests.road.site import wait_until

FOUND_S = 20.0


@pytest.fixture(scope="module")
def store() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=15))


@pytest.fixture(params=["store", "file", "seat"])
def place(request: pytest.FixtureRequest, store: TCPStore) -> Iterator[str]:
    """What a Join calls the place: a key of its own in a store, or a file, or a store of the writer's own node."""
    name = request.node.name
    if request.param == "seat":
        server = StoreServer(0, PREFIX + name)
        yield f"{SEAT}127.0.0.1:{server.port}/{name}"
        server.close()
        return
    yield f"tcp://127.0.0.1:{store.port}/{name}" if request.param == "store" else f"file:{name}"


class Nodes:
    """The meetings of several nodes."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self._root, self._stack = root, stack

    def meeting(self, place: str, root: Path | None = None) -> Meeting:
        meeting = Meeting(place, root or self._root)
        self._stack.callback(meeting.close, 5)
        return meeting


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path / "root", stack)


def notice(launch: str = "l", nonce: str = "n0", *, listens: bool = True, **fields: object) -> Notice:
    writer = Address(
        endpoints=("tcp://10.0.0.1:5",) if listens else (),
        credentials=Credentials(server_key="k", client_secret="s", job_key_id=None),
        nonce=nonce,
        node=f"node of {nonce}",
        host="node0",
        pid=1,
    )
    made = {"launch": launch, "nonce": nonce, "term": 1, "writer": writer} | fields
    return Notice(**made)  # type: ignore[arg-type]


def stands(meeting: Meeting, said: Notice) -> None:
    meeting.say(said)
    wait_until(lambda: meeting.stands, f"{said.nonce} stands", FOUND_S)


def finds(meeting: Meeting, expected: Notice) -> None:
    wait_until(lambda: meeting.found == expected, f"{expected.nonce} is found", FOUND_S)


def test_what_one_node_says_the_others_find(nodes: Nodes, place: str) -> None:
    one, other = nodes.meeting(place), nodes.meeting(place)
    wait_until(lambda: other.reached, "the place answers", FOUND_S)
    assert other.found is None
    stands(one, notice(runs={"key": "id"}))
    finds(other, notice(runs={"key": "id"}))


def test_of_several_that_claim_at_once_one_stands(nodes: Nodes, place: str) -> None:
    meetings = [nodes.meeting(place) for _ in range(4)]
    wait_until(lambda: all(meeting.reached for meeting in meetings), "the place answers", FOUND_S)
    go = threading.Barrier(4)

    def claim(number: int) -> None:
        go.wait()
        meetings[number].say(notice(launch=f"l{number}", nonce=f"n{number}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(
        lambda: (
            len({meeting.found.nonce if meeting.found else "" for meeting in meetings} - {""}) == 1
            and all(meeting.found for meeting in meetings)
            and sum(meeting.stands for meeting in meetings) == 1
        ),
        "all know the same one",
        FOUND_S,
    )


def test_the_next_writer_replaces_the_last_and_not_the_other_way_round(nodes: Nodes, place: str) -> None:
    one, other = nodes.meeting(place), nodes.meeting(place)
    stands(one, notice())
    stands(other, notice(nonce="n1", term=2))
    finds(one, notice(nonce="n1", term=2))
    assert not one.stands


def test_a_writer_that_goes_leaves_its_run_ids(nodes: Nodes, place: str) -> None:
    one, other = nodes.meeting(place), nodes.meeting(place)
    stands(one, notice(runs={"key": "id"}))
    gone = notice(runs={"key": "id"}, writer=None)
    one.say(gone)
    one.close(FOUND_S)
    finds(other, gone)


def test_of_two_launches_that_find_themselves_to_be_one_the_one_that_met_more_often_goes_on(
    nodes: Nodes, place: str
) -> None:
    young, old = nodes.meeting(place), nodes.meeting(place)
    stands(young, notice(launch="young"))
    stands(old, notice(launch="old", nonce="n1", rounds=2))
    finds(young, notice(launch="old", nonce="n1", rounds=2))


def test_a_knock_reaches_a_writer_that_listens_to_its_own_host_only(nodes: Nodes, store: TCPStore) -> None:
    place = f"tcp://127.0.0.1:{store.port}/knock"
    writer, other = nodes.meeting(place), nodes.meeting(place)
    stands(writer, notice(listens=False))
    finds(other, notice(listens=False))
    assert not writer.knocked
    other.knock()
    wait_until(lambda: writer.knocked, "the knock is heard", FOUND_S)


def test_what_is_no_notice_is_replaced(nodes: Nodes, tmp_path: Path) -> None:
    meeting = nodes.meeting("file:x")
    stands(meeting, notice())
    meeting.close(FOUND_S)
    (path,) = (tmp_path / "root" / ".launches").glob("*.json")
    for nonsense in (b"", b"{", b'{"launch": 1}', b"\xff" * 100):
        path.write_bytes(nonsense)
        stands(nodes.meeting("file:x"), notice())


def test_where_the_store_is_gone_the_shared_root_still_tells(nodes: Nodes) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=15))
    place = f"tcp://127.0.0.1:{store.port}/x"
    writer = nodes.meeting(place)
    stands(writer, notice())
    wait_until(lambda: bool(list((nodes._root / ".launches").glob("*.json"))), "the file is there", FOUND_S)  # pyright: ignore[reportPrivateUsage]
    del store
    late = nodes.meeting(place)
    finds(late, notice())
    assert not late.reached  # so nobody claims on its word alone


def test_a_place_that_never_answers_holds_nobody_up(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    meeting = nodes.meeting("tcp://127.0.0.1:1/x", tmp_path / "a file")
    meeting.say(notice())
    meeting.close(FOUND_S)
    assert (meeting.reached, meeting.found, meeting.stands) == (False, None, False)


def test_a_file_of_a_launch_is_readable_by_its_owner_alone(nodes: Nodes, tmp_path: Path) -> None:
    stands(nodes.meeting("file:x"), notice())
    directory = tmp_path / "root" / ".launches"
    assert directory.stat().st_mode & 0o077 == 0
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o077 == 0
