"""How a writer makes itself known to the other nodes of its launch, and learns that another one is the writer."""

from __future__ import annotations

import os

from disttrack.environments.host import address_towards, hostname
from disttrack.records.types import Join
from disttrack.transport.curve import ClientKey, Credentials, new_credentials
from disttrack.transport.meeting import Address, Meeting, Notice
from disttrack.writer.node import Node

__all__ = ["Announcement"]

ANYWHERE = ("192.0.2.1", 9)  # documentation's own network (RFC 5737): what leads there is the default route


class Announcement:
    """One writer life's notice at the places where its launch meets. Without such a place, nothing."""

    def __init__(self, node: Node, *, listen: bool, succeed: bool = False) -> None:
        """listen: for other nodes at once, not when one knocks. succeed: in place of a writer whose node is gone."""
        self._node = node
        self._succeed = succeed
        self._listen = listen
        self._keys: tuple[bytes, ClientKey, Credentials] | None = None
        self._endpoints: tuple[str, ...] = ()
        self._launch, self._term = node.launch_key, 1
        self._runs: dict[str, str] = {}
        self._gone = False
        self.renew()

    @property
    def stands(self) -> bool:
        """Say whether the other nodes can read it."""
        return self._node.meeting is not None and self._node.meeting.stands

    @property
    def runs(self) -> dict[str, str]:
        """The run ids that earlier writers of this launch gave, by run key, and ours."""
        return self._runs

    def remember(self, runs: dict[str, str]) -> None:
        """Say which run ids we gave; they outlive us there."""
        self._runs = {**self._runs, **runs}
        self.renew()

    def deposed(self) -> bool:
        """Say whether another node's writer is the launch's, and we are not."""
        meeting = self._node.meeting
        found = meeting.found if meeting is not None else None
        if meeting is None or meeting.mine is None or found is None or found.writer is None:
            return False
        return not self._is_ours(found) and not meeting.mine.may_replace(found)

    def _is_ours(self, found: Notice) -> bool:
        """Say whether it is our own, or that of one before us on this node, whose claim we hold now."""
        return found.writer is None or found.writer.node == self._node.id

    def renew(self) -> None:
        """Say it again, if something changed: the place, what we know, whether somebody knocked."""
        meeting = self._node.meeting
        if meeting is None:
            return
        found = meeting.found
        if found is not None and found.nonce != self._node.nonce and (self._is_ours(found) or self._succeed):
            if found.launch != self._launch or found.term >= self._term:
                self._launch, self._term = found.launch, found.term + 1
                self._runs = {**found.runs, **self._runs}
            self._succeed = False
        if self._listen or meeting.knocked:
            self._open(meeting)
        meeting.say(
            Notice(
                launch=self._launch,
                nonce=self._node.nonce,
                term=self._term,
                rounds=self._node.rounds,
                runs=self._runs,
                writer=None if self._gone else self._address(),
            )
        )

    def _address(self) -> Address:
        if self._keys is None:
            self._keys = new_credentials(self._node.nonce)
        return Address(
            endpoints=self._endpoints,
            credentials=self._keys[2],
            nonce=self._node.nonce,
            node=self._node.id,
            host=hostname(),
            pid=os.getpid(),
        )

    def _open(self, meeting: Meeting) -> None:
        """Listen where the other nodes can reach us, once."""
        if self._endpoints:
            return
        self._address()
        assert self._keys is not None
        hosts = _hosts(meeting.name, only_here=not self._listen)
        if not hosts:
            self._node.complain("no address of this node leads to the others: their ranks' records stay with them")
            return
        secret, client, _ = self._keys
        self._endpoints = tuple(self._node.receiver.listen(hosts, secret, client))

    def expect(self, join: Join) -> None:
        """Listen for other nodes if a rank of ours says that there are some."""
        self._listen |= (join.nodes or 1) > 1

    def withdraw(self) -> None:
        """Say that this writer has gone; the run ids stay."""
        self._gone = True
        self.renew()

    @property
    def term(self) -> int:
        """How many writers this launch has had, this one included."""
        return self._term

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where other nodes can connect."""
        return self._endpoints

    @property
    def listens(self) -> bool:
        """Say whether other nodes can connect."""
        return bool(self._endpoints)

    def retract(self) -> None:
        """Give it up: another node's writer is the launch's."""
        self._node.receiver.deafen()
        if self._node.meeting is not None:
            self._node.meeting.hush()


def _hosts(meeting: str, *, only_here: bool) -> list[str]:
    """Return the addresses to listen at, best first: the one on the way to where the launch meets.

    Where that stays on this host (its own name may lead to loopback), the one that leads out; only_here: and that one,
    since the others may be containers of this host.
    """
    scheme, _, rest = meeting.partition("://")
    towards = None
    if scheme in ("tcp", "seat"):
        host, _, port = rest.partition("/")[0].rpartition(":")
        towards = address_towards(host, int(port))
    if towards is not None and not _is_loopback(towards):
        return [towards]
    out = address_towards(*ANYWHERE) or address_towards(hostname(), ANYWHERE[1])
    hosts = [out] if out is not None and not _is_loopback(out) else []
    return [*hosts, towards] if only_here and towards is not None else hosts


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
